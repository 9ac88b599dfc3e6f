using Google.Protobuf;
using Google.Protobuf.Collections;
using Hub.Contracts.V1;
using Hub.Errors;
using Hub.Identity;
using Hub.Storage;

namespace Hub.Usage;

/// <summary>
/// What was used on which day, by agent and by model. Nodes send sums over their rolling 30 days, so a day's lines are what grew from one
/// snapshot to the next; they are derived in the transaction that stores the snapshot, hence once. Where use of more than 30 days ago leaves
/// the sums at the same time the growth is understated, never overstated.
/// </summary>
internal sealed class UsageLedger(Store store)
{
    private const double MicrosPerUsd = 1_000_000;

    /// <summary>More than anybody spends: what a node says beyond it is cut, so that sums cannot overflow.</summary>
    private const double UsdMax = 1e9;

    private const string AddSql = """
        insert into usage_ledger (team_id, host_id, day, agent, model, cost_micros, input_tokens, output_tokens, event_count)
        values (@teamId, @hostId, @day, @agent, @model, @CostMicros, @InputTokens, @OutputTokens, @EventCount)
        on conflict (host_id, day, agent, model) do update set cost_micros = usage_ledger.cost_micros + excluded.cost_micros,
            input_tokens = usage_ledger.input_tokens + excluded.input_tokens,
            output_tokens = usage_ledger.output_tokens + excluded.output_tokens,
            event_count = usage_ledger.event_count + excluded.event_count
        """;

    /// <summary>Adds what grew from one snapshot of a host to the next.</summary>
    public static void Add(StoreTransaction tx, string teamId, string hostId, IMessage? before, IMessage now)
    {
        var day = DateTimeOffset.FromUnixTimeMilliseconds(tx.NowMs).ToString("yyyy-MM-dd", System.Globalization.CultureInfo.InvariantCulture);
        var (was, snapshot) = ((UsageSnapshot?)before, (UsageSnapshot)now);
        Grown(was?.ByAgent, snapshot.ByAgent, totals => totals.Agent, (agent, grown) => Put(agent, "", grown));
        Grown(was?.ByModel, snapshot.ByModel, totals => totals.Model, (model, grown) => Put("", model, grown));

        void Put(string agent, string model, Amounts grown) =>
            tx.Execute(AddSql, new { teamId, hostId, day, agent, model, grown.CostMicros, grown.InputTokens, grown.OutputTokens, grown.EventCount });
    }

    /// <summary>A page of a host's lines, the latest day first.</summary>
    public async Task<ListUsageLedgerResponse> ListAsync(HostAccess host, ListUsageLedgerRequest request, CancellationToken cancellation)
    {
        var size = PageToken.Size(request.PageSize);
        var (afterDay, afterKey) = PageToken.Read(request.PageToken, "~"); // Sorts after every day.
        var split = afterKey.IndexOf('\n', StringComparison.Ordinal);
        if (request.PageToken.Length > 0 && split < 0)
        {
            throw new HubException(ErrorReason.PageTokenInvalid, "The page token is not of this list; start again without one.");
        }

        var rows = await store.QueryAsync<Row>(
            TeamScope.Of(host.TeamId),
            $"""
            select day, agent, model, cost_micros, input_tokens, output_tokens, event_count from usage_ledger
            where host_id = @hostId and team_id = @teamId and day >= @Since and (day, agent, model) < (@afterDay, @afterAgent, @afterModel)
                {(request.Agent.Length > 0 ? "and agent = @Agent" : "")} {(request.Model.Length > 0 ? "and model = @Model" : "")}
            order by day desc, agent desc, model desc limit @limit
            """,
            new
            {
                hostId = host.HostId,
                teamId = host.TeamId,
                request.Since,
                request.Agent,
                request.Model,
                afterDay,
                afterAgent = split < 0 ? "" : afterKey[..split],
                afterModel = split < 0 ? "" : afterKey[(split + 1)..],
                limit = size + 1,
            },
            cancellation);
        return new()
        {
            Lines = { rows.Take(size).Select(row => row.ToLine()) },
            NextPageToken = rows.Count > size ? PageToken.Of(rows[size - 1].Day, $"{rows[size - 1].Agent}\n{rows[size - 1].Model}") : "",
        };
    }

    private static void Grown(
        RepeatedField<UsageTotals>? before, RepeatedField<UsageTotals> now, Func<UsageTotals, string> keyOf, Action<string, Amounts> put)
    {
        var was = (before ?? []).GroupBy(keyOf, StringComparer.Ordinal).ToDictionary(group => group.Key, Amounts.Of, StringComparer.Ordinal);
        foreach (var group in now.GroupBy(keyOf, StringComparer.Ordinal))
        {
            var grown = Amounts.Of(group).Since(was.GetValueOrDefault(group.Key));
            if (grown != default)
            {
                put(group.Key, grown);
            }
        }
    }

    private readonly record struct Amounts(long CostMicros, long InputTokens, long OutputTokens, long EventCount)
    {
        private const long CountMax = 1L << 53;

        public static Amounts Of(IEnumerable<UsageTotals> totals) => totals.Aggregate(default(Amounts), (sum, item) => new Amounts(
            sum.CostMicros + (double.IsNaN(item.TotalCostUsd) ? 0 : (long)Math.Round(Math.Clamp(item.TotalCostUsd, 0, UsdMax) * MicrosPerUsd)),
            sum.InputTokens + Math.Clamp(item.TotalInputTokens, 0, CountMax),
            sum.OutputTokens + Math.Clamp(item.TotalOutputTokens, 0, CountMax),
            sum.EventCount + Math.Clamp(item.EventCount, 0, CountMax)));

        public Amounts Since(Amounts before) => new(
            Math.Max(0, CostMicros - before.CostMicros),
            Math.Max(0, InputTokens - before.InputTokens),
            Math.Max(0, OutputTokens - before.OutputTokens),
            Math.Max(0, EventCount - before.EventCount));
    }

    private sealed record Row
    {
        public required string Day { get; init; }
        public required string Agent { get; init; }
        public required string Model { get; init; }
        public long CostMicros { get; init; }
        public long InputTokens { get; init; }
        public long OutputTokens { get; init; }
        public long EventCount { get; init; }

        public UsageLine ToLine() => new()
        {
            Day = Day,
            Agent = Agent,
            Model = Model,
            CostUsd = CostMicros / MicrosPerUsd,
            InputTokens = InputTokens,
            OutputTokens = OutputTokens,
            EventCount = EventCount,
        };
    }
}
