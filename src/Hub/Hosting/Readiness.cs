using System.Globalization;
using System.Net;
using System.Text.Json;
using System.Text.Json.Serialization;
using Hub.Storage;
using Microsoft.Extensions.Diagnostics.HealthChecks;

namespace Hub.Hosting;

/// <summary>Ready means that the store works.</summary>
internal sealed class StoreHealth(Store store, TimeProvider time) : IHealthCheck
{
    public const string FaultKey = "fault";
    public const string SinceKey = "since";

    /// <summary>A probe asks more often than every few seconds, and is not kept waiting by a store that hangs.</summary>
    private static readonly TimeSpan AnswerWithin = TimeSpan.FromSeconds(2);

    public async Task<HealthCheckResult> CheckHealthAsync(HealthCheckContext context, CancellationToken cancellationToken = default)
    {
        // What the Writers met counts first: a full disk can still be read.
        if (store.Condition.Outage is { } outage)
        {
            return NotReady(outage);
        }

        try
        {
            await ReadAsync(cancellationToken);
        }
        catch (StoreUnavailableException)
        {
            // Perhaps only a connection that rested in the pool has broken.
            try
            {
                await ReadAsync(cancellationToken);
            }
            catch (StoreUnavailableException e)
            {
                store.Condition.Failed(e);
            }
        }

        return store.Condition.Outage is { } found ? NotReady(found) : HealthCheckResult.Healthy();
    }

    private async Task ReadAsync(CancellationToken cancellation)
    {
        using var timeout = new CancellationTokenSource(AnswerWithin, time);
        using var either = CancellationTokenSource.CreateLinkedTokenSource(cancellation, timeout.Token);
        try
        {
            await store.QuerySingleAsync<long>(TeamScope.System, "select count(*) from teams", ct: either.Token);
        }
        catch (OperationCanceledException e) when (timeout.IsCancellationRequested && !cancellation.IsCancellationRequested)
        {
            throw new StoreUnavailableException(
                StoreFault.Away, $"The store did not answer within {AnswerWithin.TotalSeconds:0} s: see that its server or disk is not overloaded.", e);
        }
    }

    private static HealthCheckResult NotReady(StoreOutage outage) => HealthCheckResult.Unhealthy(
        outage.Reason,
        data: new Dictionary<string, object> { [FaultKey] = EnumText<StoreFault>.Of(outage.Fault), [SinceKey] = outage.Since });
}

/// <summary>The answer of /ready.</summary>
/// <param name="Status">ready or not_ready.</param>
internal sealed record Readiness(string Status, IReadOnlyList<ReadinessPart> Parts)
{
    private const string RetryAfterSeconds = "5";

    private static readonly JsonSerializerOptions Json = new(JsonSerializerDefaults.Web)
    {
        DefaultIgnoreCondition = JsonIgnoreCondition.WhenWritingNull,
        Encoder = System.Text.Encodings.Web.JavaScriptEncoder.UnsafeRelaxedJsonEscaping, // JSON alone, never part of a page.
    };

    public static Task WriteAsync(HttpContext context, HealthReport report)
    {
        // Paths and addresses are for the operator on this machine; the word alone says enough to an orchestrator elsewhere.
        var forOperator = context.Connection.RemoteIpAddress is { } remote && IPAddress.IsLoopback(remote);
        var isReady = report.Status == HealthStatus.Healthy;
        if (!isReady)
        {
            context.Response.Headers.RetryAfter = RetryAfterSeconds;
        }

        var parts = report.Entries.Select(part => new ReadinessPart(
            part.Key,
            part.Value.Status == HealthStatus.Healthy,
            part.Value.Data.GetValueOrDefault(StoreHealth.FaultKey) as string,
            part.Value.Data.GetValueOrDefault(StoreHealth.SinceKey) is DateTimeOffset since
                ? since.UtcDateTime.ToString("yyyy-MM-ddTHH:mm:ss.fffZ", CultureInfo.InvariantCulture)
                : null,
            forOperator ? part.Value.Description : null));
        return context.Response.WriteAsJsonAsync(new Readiness(isReady ? "ready" : "not_ready", [.. parts]), Json);
    }
}

/// <param name="Part">Which part of the Hub; only the store so far.</param>
/// <param name="Fault">Why it is not ready, in a word: AWAY, LOCKED, DISK_FULL, READ_ONLY, FAILING, REMOVED or CORRUPT.</param>
/// <param name="Since">When it was first found so.</param>
/// <param name="Reason">The same for people, with what to do; to callers on this machine only.</param>
internal sealed record ReadinessPart(string Part, bool Ready, string? Fault, string? Since, string? Reason);
