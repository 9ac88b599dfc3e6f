using Hub.Contracts.V1;
using Hub.Hosting;
using Hub.Hosts;
using Hub.Storage;

namespace Hub.Orgs;

/// <summary>How far a newcomer is: organisation, team, host, first heartbeat, each with the exact next thing to do.</summary>
internal sealed class Onboarding(HostDirectory directory, PublicAddress address)
{
    private const string Curl = "curl -sS -H \"authorization: Bearer $TOKEN\"";
    private const string Json = "-H 'content-type: application/json'";

    /// <param name="team">Null before there is one.</param>
    public async Task<GetOnboardingResponse> ShowAsync(Org? org, Team? team, CancellationToken cancellation)
    {
        var hosts = team is null
            ? []
            : (await directory.ListAsync(team.Id, converged: null, PageToken.SizeMax, pageToken: "", cancellation)).Hosts;
        var api = $"{address.Url}/api";
        OnboardingStep[] steps =
        [
            Step("org", org is not null, $"{api}/orgs",
                "Create an organisation: it holds your teams.", $"The organisation {org?.Name} is there.",
                $"{Curl} {Json} -d '{{\"name\":\"My organisation\"}}' {api}/orgs"),
            Step("team", team is not null, $"{api}/teams",
                "Create a team: it holds your hosts and your people.", $"The team {team?.Name} is there.",
                $"{Curl} {Json} -d '{{\"orgId\":\"{org?.Id ?? "<org id>"}\",\"name\":\"My team\"}}' {api}/teams"),
            Step("host", hosts.Count > 0, $"{api}/connect/bootstrap",
                "Connect a host: the answer has a join token and the lines to run on the machine.", "The team has a host.",
                $"{Curl} {Json} -d '{{\"teamId\":\"{team?.Id ?? "<team id>"}\"}}' {api}/connect/init"),
            Step("heartbeat", hosts.Any(host => host.LastHeartbeatAt is not null), $"{api}/hosts?teamId={team?.Id ?? "<team id>"}",
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
}
