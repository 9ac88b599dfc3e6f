using Dapper;

namespace Hub.Storage;

/// <summary>Where the two engines' SQL must differ, by name; a feature never asks which engine it runs on.</summary>
internal interface IDialect
{
    /// <summary>Stands for <c>{blob}</c> in migrations.</summary>
    public string BlobType { get; }

    /// <summary>Appended to a select whose rows the transaction goes on to change; empty on SQLite, where a writer is alone.</summary>
    public string ForUpdate { get; }

    /// <summary>Appended to a select that claims rows: those another writer holds are left to it.</summary>
    public string ForUpdateSkipLocked { get; }

    /// <summary>Appended to a select whose rows must not change before the commit.</summary>
    public string ForShare { get; }

    /// <summary>"<paramref name="column"/> is one of the list", the list being the parameter whose value <see cref="InValue"/> made.</summary>
    public string In(string column, string parameter);

    public object InValue<T>(IEnumerable<T> values);

    /// <summary>The queries that a call takes: the text of each, and the values.</summary>
    public IEnumerable<(string Sql, DynamicParameters Values)> QueriesOf(RowsCall call);

    /// <summary><see cref="ConstraintException"/> or <see cref="StoreUnavailableException"/> for a driver's exception; null if it is neither.</summary>
    public Exception? Translate(Exception thrown);
}
