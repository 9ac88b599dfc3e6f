using Google.Protobuf.WellKnownTypes;
using Grpc.Core;
using Hub.Audit;
using Hub.Contracts.V1;
using Hub.Errors;
using Hub.Identity;
using Hub.Storage;
using Hub.Text;

namespace Hub.Hosts;

/// <summary>hub.v1.HostService: authorises, calls, maps.</summary>
internal sealed class HostGrpcService(
    Access access, Enrolment enrolment, HostDirectory directory, CredentialRotation rotation, Presence presence, TimeProvider time)
    : HostService.HostServiceBase
{
    private const int HeartbeatItemsMax = 500;

    public override async Task<CreateJoinTokenResponse> CreateJoinToken(CreateJoinTokenRequest request, ServerCallContext context)
    {
        var (teamId, caller) = await access.TeamOrHostAsync(context, request.TeamId, request.HostId, TeamRole.Member);
        var hostId = request.HostId.Length > 0 ? request.HostId : null;
        var token = await enrolment.IssueJoinTokenAsync(teamId, hostId, Actor.Of(caller), context.CancellationToken);
        return new() { RegisterToken = token.ToJoinToken() };
    }

    public override async Task<ClaimHostResponse> ClaimHost(ClaimHostRequest request, ServerCallContext context)
    {
        var node = new NodeDescription(request.Name.Length > 0 ? request.Name : request.HostName, request.HostType, request.Capabilities);
        var enrolled = await enrolment.ClaimAsync(request.JoinToken, node, context.CancellationToken);
        await presence.HeardByRestAsync(enrolled.TeamId, enrolled.HostId, isHeartbeat: false, heartbeat: null);
        var host = await directory.GetAsync(enrolled.TeamId, enrolled.HostId, context.CancellationToken);
        return new() { Host = host, Credential = enrolled.ToCredential() };
    }

    public override async Task<EnrollHostResponse> EnrollHost(EnrollHostRequest request, ServerCallContext context)
    {
        var team = await access.TeamAsync(context, teamId: "", TeamRole.Member);
        var node = new NodeDescription(request.Name, request.HostType, request.Capabilities);
        var enrolled = await enrolment.EnrollAsync(
            team.TeamId, node, request.IdempotencyKey, Actor.Of(team.Caller), context.CancellationToken);
        var host = await directory.GetAsync(enrolled.TeamId, enrolled.HostId, context.CancellationToken);
        return new() { Host = host, Credential = enrolled.ToCredential() };
    }

    public override async Task<ListHostsResponse> ListHosts(ListHostsRequest request, ServerCallContext context)
    {
        var team = await access.TeamAsync(context, request.TeamId, TeamRole.Viewer);
        var (hosts, next) = await directory.ListAsync(
            team.TeamId, request.HasConverged ? request.Converged : null, request.PageSize, request.PageToken, context.CancellationToken);
        return new() { Hosts = { hosts }, NextPageToken = next };
    }

    public override async Task<GetHostResponse> GetHost(GetHostRequest request, ServerCallContext context)
    {
        var host = await access.HostAsync(context, request.HostId, TeamRole.Viewer, node: true);
        return new() { Host = await directory.GetAsync(host.TeamId, host.HostId, context.CancellationToken) };
    }

    public override async Task<UpdateHostResponse> UpdateHost(UpdateHostRequest request, ServerCallContext context)
    {
        var host = await access.HostAsync(context, request.HostId, TeamRole.Member);
        var clean = CleanText.Of(request);
        if (clean.HasName && clean.Name.Length is 0 or > Enrolment.NameLengthMax)
        {
            throw HubException.InvalidField("name", $"A name has 1 to {Enrolment.NameLengthMax} characters.");
        }

        if (clean.Labels is not null)
        {
            HostProperties.RequireLabels(clean.Labels);
        }

        await directory.UpdateAsync(host, clean.HasName ? clean.Name : null, clean.Labels, context.CancellationToken);
        return new() { Host = await directory.GetAsync(host.TeamId, host.HostId, context.CancellationToken) };
    }

    public override async Task<GetHostPresenceResponse> GetHostPresence(GetHostPresenceRequest request, ServerCallContext context)
    {
        var own = await access.HostAsync(context, request.HostId, TeamRole.Viewer, node: true);
        var host = await directory.GetAsync(own.TeamId, own.HostId, context.CancellationToken);
        return new()
        {
            HostId = host.Id,
            Status = host.Status,
            State = host.State,
            StateReason = host.StateReason,
            StateSince = host.StateSince,
            LastSeenAt = host.LastSeenAt,
            LastHeartbeatAt = host.LastHeartbeatAt,
            Agents = { host.Agents },
        };
    }

    public override async Task<ListHostActivityResponse> ListHostActivity(ListHostActivityRequest request, ServerCallContext context)
    {
        var host = await access.HostAsync(context, request.HostId, TeamRole.Viewer, node: true);
        var (activities, next) = await directory.ActivityAsync(host, request.PageSize, request.PageToken, context.CancellationToken);
        return new() { Activities = { activities }, NextPageToken = next };
    }

    public override async Task<ExplainHostResponse> ExplainHost(ExplainHostRequest request, ServerCallContext context)
    {
        var own = await access.HostAsync(context, request.HostId, TeamRole.Viewer, node: true);
        var host = await directory.GetAsync(own.TeamId, own.HostId, context.CancellationToken);
        return new() { Why = HostExplanations.Of(host), Notes = { HostExplanations.Notes(host) } };
    }

    public override async Task<HeartbeatResponse> Heartbeat(HeartbeatRequest request, ServerCallContext context)
    {
        if (request.Agents.Count > HeartbeatItemsMax || request.ActiveTasks.Count > HeartbeatItemsMax
            || request.SlowTasks.Count > HeartbeatItemsMax)
        {
            throw HubException.InvalidField("agents", $"A heartbeat lists at most {HeartbeatItemsMax} agents and tasks.");
        }

        var host = await access.HostAsync(context, request.HostId, TeamRole.Member, node: true);
        if (host.IsNode)
        {
            await presence.HeardByRestAsync(host.TeamId, host.HostId, isHeartbeat: true, DocumentOf(request));
            if (presence.Known(host.HostId) is { } known)
            {
                return AnswerOf(host.HostId, HostRow.StatusWord(known.State), EpochMs.ToTimestamp(known.HeartbeatAt));
            }
        }

        var shown = await directory.GetAsync(host.TeamId, host.HostId, context.CancellationToken);
        return AnswerOf(shown.Id, shown.Status, shown.LastHeartbeatAt ?? time.GetUtcNow().ToTimestamp());

        static HeartbeatResponse AnswerOf(string id, string status, Timestamp heartbeatAt) =>
            new() { Ok = true, Host = new HeartbeatHost { Id = id, Status = status, LastHeartbeatAt = heartbeatAt } };
    }

    public override async Task<RevokeHostCredentialResponse> RevokeHostCredential(RevokeHostCredentialRequest request, ServerCallContext context)
    {
        var host = await access.HostAsync(context, request.HostId, TeamRole.Admin);
        var token = await directory.RevokeAsync(host, context.CancellationToken);
        return new()
        {
            Host = await directory.GetAsync(host.TeamId, host.HostId, context.CancellationToken),
            RegisterToken = token.ToJoinToken(),
        };
    }

    public override async Task<RotateHostCredentialResponse> RotateHostCredential(RotateHostCredentialRequest request, ServerCallContext context)
    {
        var host = await access.HostAsync(context, request.HostId, TeamRole.Admin);
        return new() { CredentialId = await rotation.StartAsync(host, context.CancellationToken) };
    }

    public override async Task<ReleaseHostResponse> ReleaseHost(ReleaseHostRequest request, ServerCallContext context)
    {
        var host = await access.HostAsync(context, request.HostId, TeamRole.Admin);
        await directory.ReleaseAsync(host, context.CancellationToken);
        return new() { Host = await directory.GetAsync(host.TeamId, host.HostId, context.CancellationToken) };
    }

    public override async Task<DeleteHostResponse> DeleteHost(DeleteHostRequest request, ServerCallContext context)
    {
        var host = await access.HostAsync(context, request.HostId, TeamRole.Admin);
        await directory.DeleteAsync(host, context.CancellationToken);
        return new();
    }

    /// <summary>
    /// What a heartbeat says of its node, or null for a probe: a command line's reconnect sends contractVersion 1 and empty lists, which
    /// must not wipe the roster.
    /// </summary>
    private static string? DocumentOf(HeartbeatRequest request)
    {
        if (request.Agents.Count == 0 && request.ActiveTasks.Count == 0 && request.ContractVersion?.KindCase != Value.KindOneofCase.StringValue)
        {
            return null;
        }

        var document = new Struct
        {
            Fields =
            {
                ["agents"] = ListOf(request.Agents),
                ["activeTasks"] = ListOf(request.ActiveTasks),
                ["slowTasks"] = ListOf(request.SlowTasks),
            },
        };
        foreach (var (name, part) in (ReadOnlySpan<(string, Struct?)>)
            [("metrics", request.Metrics), ("requestCounts", request.RequestCounts), ("source", request.Source)])
        {
            if (part is not null)
            {
                document.Fields[name] = Value.ForStruct(part);
            }
        }

        return StoredJson.Write(document);
    }

    private static Value ListOf(IEnumerable<Struct> items) => Value.ForList([.. items.Select(Value.ForStruct)]);
}
