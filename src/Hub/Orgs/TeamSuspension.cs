using Hub.Audit;
using Hub.Contracts.V1;
using Hub.Links;
using Hub.Storage;

namespace Hub.Orgs;

/// <summary>
/// Suspends a team and lets it go on: the operator's act, on the admin listener. Nothing is removed; its links end, its nodes and keys and
/// people are told TEAM_SUSPENDED until it is resumed.
/// </summary>
internal sealed class TeamSuspension(Store store, LinkRegistry links)
{
    private const int ReasonLengthMax = 500;

    public static void Map(IEndpointRouteBuilder endpoints)
    {
        // JSON bodies only: a page in the operator's browser cannot send one here without a preflight, which nobody answers.
        endpoints.MapPost(
            "/admin/teams/{teamId}/suspend",
            async (string teamId, SuspendRequest request, TeamSuspension suspension, CancellationToken cancellation) =>
                request.Reason.Length > ReasonLengthMax ? Results.BadRequest()
                : await suspension.SuspendAsync(teamId, request.Reason, cancellation) ? Results.NoContent()
                : Results.NotFound());
        endpoints.MapPost(
            "/admin/teams/{teamId}/resume",
            async (string teamId, ResumeRequest _, TeamSuspension suspension, CancellationToken cancellation) =>
                await suspension.ResumeAsync(teamId, cancellation) ? Results.NoContent() : Results.NotFound());
    }

    /// <returns>Whether there is such a team that was not suspended.</returns>
    public async Task<bool> SuspendAsync(string teamId, string reason, CancellationToken cancellation)
    {
        if (!IsTeamId(teamId))
        {
            return false;
        }

        var (suspended, hostIds) = await store.WriteAsync(
            teamId,
            tx =>
            {
                if (tx.Execute(
                    "update teams set suspended_at = @NowMs, suspended_reason = @reason where team_id = @teamId and suspended_at is null",
                    new { tx.NowMs, reason, teamId }) == 0)
                {
                    return (false, (IReadOnlyList<string>)[]);
                }

                // Fenced in the same transaction: nothing of a link commits after it, on any replica.
                var live = tx.Query<string>(
                    "select host_id from links where team_id = @teamId and state = @live order by host_id", new { teamId, live = LinkState.Live });
                foreach (var hostId in live)
                {
                    tx.RaiseEpoch(hostId);
                }

                tx.Execute(
                    "update links set state = @ended, ended_at = @NowMs where team_id = @teamId and state = @live",
                    new { ended = LinkState.Ended, live = LinkState.Live, tx.NowMs, teamId });
                AuditLog.Append(tx, teamId, Actor.Operator, AuditAction.TeamSuspended, teamId, detail: reason);
                return (true, live);
            },
            cancellation);
        foreach (var hostId in hostIds)
        {
            links.End(hostId, GoodbyeReason.TeamSuspended, "The team was suspended.");
        }

        return suspended;
    }

    /// <returns>Whether there is such a team that was suspended.</returns>
    public async Task<bool> ResumeAsync(string teamId, CancellationToken cancellation) => IsTeamId(teamId) && await store.WriteAsync(
        teamId,
        tx =>
        {
            var resumed = tx.Execute(
                "update teams set suspended_at = null, suspended_reason = '' where team_id = @teamId and suspended_at is not null",
                new { teamId }) == 1;
            if (resumed)
            {
                AuditLog.Append(tx, teamId, Actor.Operator, AuditAction.TeamResumed, teamId);
            }

            return resumed;
        },
        cancellation);

    private static bool IsTeamId(string teamId) => teamId.Length > 0 && !teamId.Contains(',', StringComparison.Ordinal);

    private sealed record SuspendRequest(string Reason = "");

    private sealed record ResumeRequest;
}
