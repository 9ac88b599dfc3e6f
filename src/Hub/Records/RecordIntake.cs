using Google.Protobuf;
using Hub.Contracts.V1;
using Hub.Errors;
using Hub.Identity;
using Hub.Storage;
using Hub.Text;

namespace Hub.Records;

/// <summary>
/// Takes the records of nodes without a link. They send what they have again and again: what is stored already costs one read and no write,
/// and an item that can never be stored is set aside while its answer stays a success (stream-protocol.md §3).
/// </summary>
internal sealed class RecordIntake(Store store, RecordStore records, TimeProvider time)
{
    /// <summary>Most items of one request; the contract's own windows are 200.</summary>
    public const int ItemsMax = 1_000;

    private const string KnownSql = """
        select record_id, body_hash from records where host_id = @hostId and collection = @Name and deleted_at is null
        """;

    /// <param name="field">The request's field, for the refusal of too many items.</param>
    /// <param name="versionOf">Version of an item; null for the collection's own.</param>
    /// <returns>
    /// How many were taken, unchanged ones included, what was set aside, and the ids of those the cloud had changed as well.
    /// </returns>
    /// <exception cref="HubException">INVALID_FIELD.</exception>
    public async Task<(int Taken, IReadOnlyList<RejectedItem> Rejected, IReadOnlyList<string> Conflicts)> TakeAsync<T>(
        HostAccess host, RecordCollection collection, IReadOnlyCollection<T> items, string field, CancellationToken cancellation,
        Func<T, long>? versionOf = null)
        where T : class, IMessage<T>
    {
        if (items.Count > ItemsMax)
        {
            throw HubException.InvalidField(field, $"Send at most {ItemsMax} items at once.");
        }

        var now = time.NowMs() * 1000;
        var rejected = new List<RejectedItem>();
        var changes = new List<RecordChange>(items.Count);
        foreach (var item in items)
        {
            var clean = CleanText.Of(item);
            var recordId = collection.IdOf(clean);
            if (collection.Fault(recordId, clean) is { } fault)
            {
                rejected.Add(RejectedOf(recordId, fault));
            }
            else
            {
                var version = versionOf is null ? collection.VersionOf(clean, now) : versionOf(clean);
                changes.Add(new RecordChange(host.TeamId, host.HostId, collection, recordId, clean, version, null, RecordOrigin.Node));
            }
        }

        var taken = changes.Count;
        var changed = await ChangedAsync(host, collection, changes, cancellation);
        var conflicts = new List<string>();
        var refused = changed.Count == 0 ? [] : await WriteAsync(host, changed, conflicts, cancellation);
        rejected.AddRange(refused);
        return (taken - refused.Count, rejected, conflicts);
    }

    /// <summary>What differs from what is stored. Another writer may come between this and the write, which judges again.</summary>
    private async Task<IReadOnlyList<RecordChange>> ChangedAsync(
        HostAccess host, RecordCollection collection, List<RecordChange> changes, CancellationToken cancellation)
    {
        if (changes.Count == 0)
        {
            return [];
        }

        var stored = await store.QueryAsync<KnownRow>(
            TeamScope.Of(host.TeamId),
            $"{KnownSql} and {store.Dialect.In("record_id", "ids")}",
            new { hostId = host.HostId, collection.Name, ids = store.Dialect.InValue(changes.Select(change => change.RecordId).Distinct()) },
            cancellation);
        var known = stored.ToDictionary(row => row.RecordId, row => row.BodyHash, StringComparer.Ordinal);

        // Only what is not stored is judged by its age, and nodes mostly send what is.
        var keptSince = changes.TrueForAll(change => known.ContainsKey(change.RecordId))
            ? null
            : await RecordRetention.KeptSinceAsync(store, host.TeamId, time.NowMs(), cancellation);
        return changes.FindAll(change =>
            known.TryGetValue(change.RecordId, out var hash)
                ? hash != RecordStore.HashOf(collection.Write(change.Body!, change.RecordId))
                : !RecordRetention.IsOver(change, keptSince));
    }

    /// <summary>Halves what the store refuses until the culprit stands alone.</summary>
    private async Task<IReadOnlyList<RejectedItem>> WriteAsync(
        HostAccess host, IReadOnlyList<RecordChange> changes, List<string> conflicts, CancellationToken cancellation)
    {
        try
        {
            conflicts.AddRange(await store.WriteAsync(
                host.TeamId,
                tx => records.Apply(tx, changes)
                    .Zip(changes)
                    .Where(pair => pair.First.ConflictId is not null)
                    .Select(pair => pair.Second.RecordId)
                    .ToArray(),
                cancellation));
            return [];
        }
        catch (ConstraintException e) when (changes.Count == 1)
        {
            return [RejectedOf(changes[0].RecordId, new HubException(ErrorReason.RecordInvalid, $"The store does not take this record: {e.Constraint}."))];
        }
        catch (ConstraintException)
        {
            var half = changes.Count / 2;
            var first = await WriteAsync(host, [.. changes.Take(half)], conflicts, cancellation);
            return [.. first, .. await WriteAsync(host, [.. changes.Skip(half)], conflicts, cancellation)];
        }
    }

    private static RejectedItem RejectedOf(string recordId, HubException fault) => new()
    {
        Id = recordId.Length <= RecordCollection.ShortTextMax ? recordId : recordId[..RecordCollection.ShortTextMax],
        Reason = EnumText<ErrorReason>.Of(fault.Reason),
        Detail = fault.Message,
    };

    private sealed record KnownRow(string RecordId, string BodyHash);
}
