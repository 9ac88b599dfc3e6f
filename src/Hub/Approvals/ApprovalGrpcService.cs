using Grpc.Core;
using Hub.Contracts.V1;
using Hub.Identity;
using Hub.Text;

namespace Hub.Approvals;

/// <summary>hub.v1.ApprovalService: authorises, calls, maps.</summary>
internal sealed class ApprovalGrpcService(Access access, ApprovalPolicies policies, ApprovalDecisions decisions)
    : ApprovalService.ApprovalServiceBase
{
    public override async Task<ListApprovalsResponse> ListApprovals(ListApprovalsRequest request, ServerCallContext context)
    {
        var team = await access.TeamAsync(context, request.TeamId, TeamRole.Viewer);
        var (approvals, next) = await decisions.ListAsync(
            team.TeamId, hostId: null, request.PageSize, request.PageToken, context.CancellationToken);
        return new() { Approvals = { approvals }, NextPageToken = next };
    }

    public override async Task<DecideApprovalResponse> DecideApproval(DecideApprovalRequest request, ServerCallContext context)
    {
        await access.CallerAsync(context); // Who nobody knows learns nothing of what a decision looks like.
        var command = await decisions.DecideAsync(
            context, request.ApprovalId, ApprovalDecisions.IsApproval(request.Decision), request.Note);
        return new() { Command = command.ToCommand() };
    }

    public override async Task<ListHostApprovalsResponse> ListHostApprovals(ListHostApprovalsRequest request, ServerCallContext context)
    {
        var host = await access.HostAsync(context, request.HostId, TeamRole.Viewer);
        var (approvals, next) = await decisions.ListAsync(
            host.TeamId, host.HostId, request.PageSize, request.PageToken, context.CancellationToken);
        return new() { Approvals = { approvals }, NextPageToken = next };
    }

    public override async Task<DecideHostApprovalResponse> DecideHostApproval(DecideHostApprovalRequest request, ServerCallContext context)
    {
        await access.HostAsync(context, request.HostId, TeamRole.Member);
        var commands = await decisions.DecideByTaskAsync(
            context, request.HostId, request.TaskId, ApprovalDecisions.IsApproval(request.Decision), request.Note);
        return new() { Commands = { commands.Select(command => command.ToCommand()) } };
    }

    public override async Task<ListApprovalPoliciesResponse> ListApprovalPolicies(ListApprovalPoliciesRequest request, ServerCallContext context)
    {
        var team = await access.TeamAsync(context, request.TeamId, TeamRole.Viewer);
        return new() { Policies = { await policies.ListAsync(team.TeamId, context.CancellationToken) } };
    }

    public override async Task<PutApprovalPolicyResponse> PutApprovalPolicy(PutApprovalPolicyRequest request, ServerCallContext context)
    {
        var team = await access.TeamAsync(context, request.TeamId, TeamRole.Admin);
        return new() { Policy = await policies.PutAsync(team, CleanText.Of(request), context.CancellationToken) };
    }

    public override async Task<DeleteApprovalPolicyResponse> DeleteApprovalPolicy(DeleteApprovalPolicyRequest request, ServerCallContext context)
    {
        var team = await access.TeamAsync(context, request.TeamId, TeamRole.Admin);
        await policies.DeleteAsync(team, request.PolicyId, context.CancellationToken);
        return new();
    }
}
