using Hub.Contracts.V1;
using Hub.Hosting;
using Hub.Storage;

namespace Hub.Orgs;

/// <summary>How far a newcomer is: organisation, team, host, first heartbeat, each with the exact next thing to do.</summary>
internal sealed class Onboarding(Store store, PublicAddress address)
{
    private const string Curl = "curl -sS -H \"authorization: Bearer $TOKEN\"";
    private const string Json = "-H 'content-type: application/json'";

    /// <param name="team">Null before there is one.</param>
    public async Task<GetOnboardingResponse> ShowAsync(Org? org, Team? team, CancellationToken cancellation)
    {
        var hosts = team is null ? new HostsRow(0, 0) : await store.ReadAsync(
            TeamScope.Of(team.Id),
            reader => reader.QuerySingleAsync<HostsRow>(
                """
                select count(*) as hosts, count(last_seen_at) as seen from hosts where team_id = @teamId and deleted_at is null
                """,
                new { teamId = team.Id }),
            cancellation);
        var api = $"{address.Url}/api";
        OnboardingStep[] steps =
        [
            Step("org", org is not null, $"{api}/orgs",
                "Create an organisation: it holds your teams.", $"The organisation {org?.Name} is there.",
                $"{Curl} {Json} -d '{{\"name\":\"My organisation\"}}' {api}/orgs"),
            Step("team", team is not null, $"{api}/teams",
                "Create a team: it holds your hosts and your people.", $"The team {team?.Name} is there.",
                $"{Curl} {Json} -d '{{\"orgId\":\"{org?.Id ?? "<org id>"}\",\"name\":\"My team\"}}' {api}/teams"),
            Step("host", hosts.Hosts > 0, $"{api}/connect/bootstrap",
                "Connect a host: the answer has a join token and the lines to run on the machine.", $"The team has {hosts.Hosts} host(s).",
                $"{Curl} {Json} -d '{{\"teamId\":\"{team?.Id ?? "<team id>"}\"}}' {api}/connect/init"),
            Step("heartbeat", hosts.Seen > 0, $"{api}/hosts?teamId={team?.Id ?? "<team id>"}",
                "Start the node on the machine and wait for its first heartbeat.", "A host has said that it is there.",
                $"{Curl} '{api}/hosts?teamId={team?.Id ?? "<team id>"}'"),
        ];
        return new() { Done = steps.All(step => step.Done), Steps = { steps } };
    }

    private static OnboardingStep Step(string id, bool done, string url, string toDo, string wasDone, string command) => new()
    {
        Id = id,
        Done = done,
        Text = done ? wasDone : toDo,
        Command = done ? "" : command,
        Url = url,
    };

    private sealed record HostsRow(long Hosts, long Seen);
}
