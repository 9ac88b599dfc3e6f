using Google.Protobuf;
using Hub.Contracts.V1;
using Hub.Errors;
using Hub.Identity;
using Hub.Storage;

namespace Hub.Records;

/// <summary>What a list of records is asked for; an empty text asks for all.</summary>
internal sealed record RecordFilter(string Status = "", string Agent = "", string Level = "", string ParentId = "")
{
    public static readonly RecordFilter None = new();
}

/// <summary>Reads records for lists and single views.</summary>
internal sealed class RecordPages(Store store)
{
    private const string OneSql = """
        select record_id, version, body from records
        where host_id = @hostId and team_id = @teamId and collection = @Name and record_id = @recordId and deleted_at is null
        """;

    /// <summary>A page of a host's records, the latest version first.</summary>
    public async Task<(IReadOnlyList<T> Items, string NextPageToken)> ListAsync<T>(
        HostAccess host, RecordCollection collection, RecordFilter filter, int pageSize, string pageToken, CancellationToken cancellation)
        where T : IMessage<T>
    {
        var size = PageToken.Size(pageSize);
        var (version, id) = PageToken.Read(pageToken, long.MaxValue);
        var rows = await store.QueryAsync<RecordRow>(
            TeamScope.Of(host.TeamId),
            PageSql(filter),
            new
            {
                hostId = host.HostId,
                teamId = host.TeamId,
                collection.Name,
                version,
                id,
                filter.Status,
                filter.Agent,
                filter.Level,
                filter.ParentId,
                limit = size + 1,
            },
            cancellation);
        return (
            [.. rows.Take(size).Select(row => (T)collection.Read(row.Body, row.Version))],
            rows.Count > size ? PageToken.Of(rows[size - 1].Version, rows[size - 1].RecordId) : "");
    }

    /// <exception cref="HubException">The host has no such record: <paramref name="absent"/>.</exception>
    public async Task<T> GetAsync<T>(
        HostAccess host, RecordCollection collection, string recordId, CancellationToken cancellation,
        ErrorReason absent = ErrorReason.RecordNotFound)
        where T : IMessage<T>
    {
        var row = await store.QuerySingleOrDefaultAsync<RecordRow>(
            TeamScope.Of(host.TeamId), OneSql, Key(host, collection, recordId), cancellation);
        return (T)Read(row, collection, recordId, absent);
    }

    /// <summary>As <see cref="GetAsync"/>, for a record that the transaction goes on to change.</summary>
    public static T Get<T>(
        StoreTransaction tx, HostAccess host, RecordCollection collection, string recordId, ErrorReason absent = ErrorReason.RecordNotFound)
        where T : IMessage<T> =>
        (T)Read(tx.QuerySingleOrDefault<RecordRow>(OneSql, Key(host, collection, recordId)), collection, recordId, absent);

    private static object Key(HostAccess host, RecordCollection collection, string recordId) =>
        new { hostId = host.HostId, teamId = host.TeamId, collection.Name, recordId };

    private static IMessage Read(RecordRow? row, RecordCollection collection, string recordId, ErrorReason absent) => row is not null
        ? collection.Read(row.Body, row.Version)
        : throw new HubException(absent, $"The host has no such record of {collection.Name}.", ("record_id", recordId));

    /// <summary>
    /// Only what is asked for stands in the statement, so that the planner can take the index that fits; an index that holds no empty texts fits
    /// a statement that says so of itself.
    /// </summary>
    internal static string PageSql(RecordFilter filter) => $"""
        select record_id, version, body from records
        where host_id = @hostId and team_id = @teamId and collection = @Name and deleted_at is null and (version, record_id) < (@version, @id)
            {(filter.Status.Length > 0 ? "and status = @Status and status <> ''" : "")}
            {(filter.Agent.Length > 0 ? "and agent = @Agent and agent <> ''" : "")}
            {(filter.Level.Length > 0 ? "and level = @Level" : "")}
            {(filter.ParentId.Length > 0 ? "and parent_id = @ParentId and parent_id <> ''" : "")}
        order by version desc, record_id desc limit @limit
        """;

    private sealed record RecordRow(string RecordId, long Version, byte[] Body);
}
