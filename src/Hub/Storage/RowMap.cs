using System.Reflection;
using Dapper;

namespace Hub.Storage;

/// <summary>
/// Maps snake_case columns to the properties of rows. Dapper alone would demand that a positional record's constructor has exactly the
/// driver's types in the order of the columns, and the two drivers disagree (SQLite knows neither bool nor int); here each value is
/// converted to its property's type and a column that is not selected leaves the default.
/// </summary>
internal sealed class RowMap(Type row) : SqlMapper.ITypeMap
{
    private readonly DefaultTypeMap _inner = new(row);

    private readonly ConstructorInfo? _positional = PositionalConstructor(row);

    /// <summary>Process-wide in Dapper, hence idempotent.</summary>
    public static void Install()
    {
        DefaultTypeMap.MatchNamesWithUnderscores = true;
        SqlMapper.TypeMapProvider = static type => new RowMap(type);
    }

    public ConstructorInfo? FindExplicitConstructor() => _positional ?? _inner.FindExplicitConstructor();

    public ConstructorInfo? FindConstructor(string[] names, Type[] types) => _inner.FindConstructor(names, types);

    public SqlMapper.IMemberMap? GetConstructorParameter(ConstructorInfo constructor, string columnName) =>
        _inner.GetConstructorParameter(constructor, columnName);

    public SqlMapper.IMemberMap? GetMember(string columnName) => _inner.GetMember(columnName);

    private static ConstructorInfo? PositionalConstructor(Type row)
    {
        var constructors = row.GetConstructors();
        return constructors is [var only]
            && only.GetParameters() is { Length: > 0 } parameters
            && parameters.All(p => row.GetProperty(p.Name!) is { CanWrite: true } property && property.PropertyType == p.ParameterType)
                ? only
                : null;
    }
}
