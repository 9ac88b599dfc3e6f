using Grpc.Core;
using Hub.Contracts.V1;
using Hub.Errors;
using Hub.Identity;
using Hub.Records;
using Hub.Text;

namespace Hub.Feedback;

/// <summary>hub.v1.FeedbackService.</summary>
internal sealed class FeedbackGrpcService(Access access, FeedbackBook book) : FeedbackService.FeedbackServiceBase
{
    private const int MessageMax = 16_384;
    private const int DetailsBytesMax = 16 * 1024;
    private const int RatingMax = 5;
    private const string KindDefault = "other";

    public override async Task<CreateFeedbackResponse> CreateFeedback(CreateFeedbackRequest request, ServerCallContext context)
    {
        var (team, hostId) = await WriterAsync(context, request);
        var key = IdempotencyKeys.Of(request.IdempotencyKey, context);
        var clean = CleanText.Of(request).Clone();
        clean.IdempotencyKey = "";
        Require(clean.Message.Length is > 0 and <= MessageMax, "message", $"Feedback has 1 to {MessageMax} characters.");
        Require(!clean.HasRating || clean.Rating is >= 1 and <= RatingMax, "rating", $"A rating is 1 to {RatingMax}.");
        Require((clean.Details?.CalculateSize() ?? 0) <= DetailsBytesMax, "details", $"Details have at most {DetailsBytesMax} bytes.");
        Require(
            new[] { clean.Kind, clean.SubjectKind, clean.SubjectId }.All(text => text.Length <= RecordCollection.ShortTextMax), "kind",
            $"kind, subject_kind and subject_id have at most {RecordCollection.ShortTextMax} characters.");
        var draft = new FeedbackItem
        {
            HostId = hostId,
            Kind = clean.Kind.Length > 0 ? clean.Kind : KindDefault,
            Message = clean.Message,
            SubjectKind = clean.SubjectKind,
            SubjectId = clean.SubjectId,
            Details = clean.Details is null ? null : IdempotencyKeys.Sorted(clean.Details),
            Author = team.Caller.Name,
        };
        if (clean.HasRating)
        {
            draft.Rating = clean.Rating;
        }

        // Over the draft: its keys are sorted, and who repeats a call may name the team or leave it out.
        var fingerprint = IdempotencyKeys.Fingerprint(context.Method, hostId, draft);
        var (item, created) = await book.AddAsync(team, draft, key, fingerprint, context.CancellationToken);
        return new() { Feedback = item, Created = created };
    }

    public override async Task<ListFeedbackResponse> ListFeedback(ListFeedbackRequest request, ServerCallContext context)
    {
        var team = await access.TeamAsync(context, request.TeamId, TeamRole.Viewer);
        var (items, next) = await book.ListAsync(team, request, context.CancellationToken);
        return new() { Feedback = { items }, NextPageToken = next };
    }

    public override async Task<GetFeedbackResponse> GetFeedback(GetFeedbackRequest request, ServerCallContext context)
    {
        var team = await access.TeamAsync(context, request.TeamId, TeamRole.Viewer);
        return new() { Feedback = await book.GetAsync(team, request.FeedbackId, context.CancellationToken) };
    }

    public override async Task<UpdateFeedbackResponse> UpdateFeedback(UpdateFeedbackRequest request, ServerCallContext context)
    {
        var team = await access.TeamAsync(context, request.TeamId, TeamRole.Member);
        Require(request.Status != FeedbackStatus.Unspecified, "status", "status is OPEN or CLOSED.");
        return new()
        {
            Feedback = await book.SetStatusAsync(team, request.FeedbackId, request.Status, request.ExpectedVersion, context.CancellationToken),
        };
    }

    /// <summary>The team that keeps it and the host it is about: a node speaks about itself only.</summary>
    private async Task<(TeamAccess Team, string HostId)> WriterAsync(ServerCallContext context, CreateFeedbackRequest request)
    {
        var caller = await access.CallerAsync(context);
        if (caller is Principal.Node node && (request.HostId.Length == 0 || request.HostId == node.HostId))
        {
            return (new TeamAccess(node.TeamId, caller), node.HostId);
        }

        return (await access.TeamOrHostAsync(context, request.TeamId, request.HostId, TeamRole.Viewer), request.HostId);
    }

    private static void Require(bool holds, string field, string message)
    {
        if (!holds)
        {
            throw HubException.InvalidField(field, message);
        }
    }
}
