using System.Globalization;
using Hub.Contracts.V1;
using Hub.Errors;
using Hub.Identity;

namespace Hub.Limits;

/// <summary>
/// Rates per host, caller and team (stream-protocol.md §6). Calls beyond a rate are refused with limit, use and reset; a link beyond it is read
/// more slowly, since a refused record would only be sent again.
/// </summary>
internal sealed class RateLimits(RateSettings settings, TimeProvider time)
{
    private static readonly TimeSpan Second = TimeSpan.FromSeconds(1);
    private static readonly TimeSpan Minute = TimeSpan.FromMinutes(1);

    private readonly RateMeter _hostRecords = new(settings.HostRecordsPerSecond, Second, time);
    private readonly RateMeter _hostBytes = new(settings.HostBytesPerSecond, Second, time);
    private readonly RateMeter _teamRecords = new(settings.TeamRecordsPerSecond, Second, time);
    private readonly RateMeter _teamBytes = new(settings.TeamBytesPerSecond, Second, time);
    private readonly RateMeter _hostRequests = new(settings.HostRequestsPerMinute, Minute, time);
    private readonly RateMeter _callerRequests = new(settings.CallerRequestsPerMinute, Minute, time);
    private readonly RateMeter _teamRequests = new(settings.TeamRequestsPerMinute, Minute, time);
    private readonly RateMeter _hostCommands = new(settings.HostCommandsPerMinute, Minute, time);
    private readonly RateMeter _teamCommands = new(settings.TeamCommandsPerMinute, Minute, time);

    /// <summary>A frame came on a link.</summary>
    /// <returns>How long the link is not read now.</returns>
    public TimeSpan Received(string teamId, string hostId, int records, int bytes)
    {
        var wait = _hostRecords.Spend(hostId, records);
        wait = Longer(wait, _hostBytes.Spend(hostId, bytes));
        wait = Longer(wait, _teamRecords.Spend(teamId, records));
        return Longer(wait, _teamBytes.Spend(teamId, bytes));
    }

    /// <summary>A call of a known caller. What a node calls counts for its team too.</summary>
    /// <exception cref="HubException">RATE_LIMITED.</exception>
    public void Called(Principal caller)
    {
        switch (caller)
        {
            case Principal.Node node:
                Take(_hostRequests, node.HostId, "host_requests_per_minute");
                CalledIn(node.TeamId);
                break;
            case Principal.User user:
                Take(_callerRequests, user.UserId, "caller_requests_per_minute");
                break;
            case Principal.ApiKey key:
                Take(_callerRequests, key.ApiKeyId, "caller_requests_per_minute");
                break;
        }
    }

    /// <summary>A call that is about a team.</summary>
    /// <exception cref="HubException">RATE_LIMITED.</exception>
    public void CalledIn(string teamId) => Take(_teamRequests, teamId, "team_requests_per_minute");

    /// <summary>A command is about to be created.</summary>
    /// <exception cref="HubException">RATE_LIMITED.</exception>
    public void CommandCreated(string teamId, string hostId)
    {
        Take(_hostCommands, hostId, "host_commands_per_minute");
        Take(_teamCommands, teamId, "team_commands_per_minute");
    }

    private static void Take(RateMeter meter, string key, string rate)
    {
        if (meter.TryTake(key) is { } excess)
        {
            throw new HubException(
                ErrorReason.RateLimited,
                $"Too many calls: {excess.Limit} per minute ({rate}). Try again later.",
                ("rate", rate),
                ("limit", Text(excess.Limit)),
                ("use", Text(excess.Use)),
                ("reset", Text((long)Math.Ceiling(excess.Reset.TotalSeconds))))
            { RetryAfter = excess.RetryAfter };
        }
    }

    private static string Text(long number) => number.ToString(CultureInfo.InvariantCulture);

    private static TimeSpan Longer(TimeSpan a, TimeSpan b) => a > b ? a : b;
}
