using Grpc.Core;
using Hub.Contracts.V1;
using Hub.Errors;
using Hub.Orgs;
using Hub.Storage;

namespace Hub.Identity;

/// <summary>hub.v1.IdentityService: bounds, calls the provider, maps.</summary>
internal sealed class IdentityGrpcService(
    Access access, IIdentityProvider provider, AttemptLimit attempts, Teams teams, UserTokens tokens, TimeProvider time)
    : IdentityService.IdentityServiceBase
{
    private const string Bearer = "bearer";

    public override async Task<SignUpResponse> SignUp(SignUpRequest request, ServerCallContext context)
    {
        var email = EmailAddress.Normalised(request.Email);
        foreach (var (field, text) in (ReadOnlySpan<(string, string)>)
            [("name", request.Name), ("org_name", request.OrgName), ("team_name", request.TeamName)])
        {
            if (text.Length > Teams.NameLengthMax)
            {
                throw HubException.InvalidField(field, $"A name has at most {Teams.NameLengthMax} characters.");
            }
        }

        attempts.Take(AddressOf(context), email);
        var newcomer = new Newcomer(
            email, request.Name.Length > 0 ? request.Name : email, request.InviteToken, request.OrgName, request.TeamName);
        var (user, teamId, session) = await provider.SignUpAsync(newcomer, request.Password, context.CancellationToken);
        var team = (await teams.ListAsync(user.UserId, "", context.CancellationToken)).FirstOrDefault(mine => mine.Id == teamId);
        return new() { User = Show(user), Session = session is null ? null : Show(session), Team = team };
    }

    public override async Task<SignInResponse> SignIn(SignInRequest request, ServerCallContext context)
    {
        var email = EmailAddress.Normalised(request.Email);
        var address = AddressOf(context);
        attempts.Take(address, email);
        var (user, session) = await provider.SignInAsync(email, request.Password, context.CancellationToken);
        attempts.Succeeded(address, email);
        return new() { User = Show(user), Session = Show(session) };
    }

    public override async Task<RefreshSessionResponse> RefreshSession(RefreshSessionRequest request, ServerCallContext context) =>
        new() { Session = Show(await provider.RefreshAsync(request.RefreshToken, context.CancellationToken)) };

    public override async Task<SignOutResponse> SignOut(SignOutRequest request, ServerCallContext context)
    {
        var user = await access.UserAsync(context);
        await provider.SignOutAsync(user, Authenticator.TokenOf(context.RequestHeaders.GetValue("authorization")), context.CancellationToken);
        return new();
    }

    public override async Task<RequestPasswordResetResponse> RequestPasswordReset(RequestPasswordResetRequest request, ServerCallContext context)
    {
        var email = EmailAddress.Normalised(request.Email);
        attempts.Take(AddressOf(context), email);
        await provider.RequestResetAsync(email, context.CancellationToken);
        return new();
    }

    public override async Task<ResetPasswordResponse> ResetPassword(ResetPasswordRequest request, ServerCallContext context)
    {
        attempts.Take(AddressOf(context), "reset");
        await provider.ResetAsync(request.Token, request.Password, context.CancellationToken);
        return new();
    }

    public override async Task<GetMeResponse> GetMe(GetMeRequest request, ServerCallContext context)
    {
        var user = await access.UserAsync(context);
        return new()
        {
            User = new User { Id = user.UserId, Email = user.Email, Name = user.FullName },
            Teams = { await teams.ListAsync(user.UserId, "", context.CancellationToken) },
        };
    }

    public override Task<ListSigningKeysResponse> ListSigningKeys(ListSigningKeysRequest request, ServerCallContext context) =>
        Task.FromResult(new ListSigningKeysResponse { Keys = { tokens.PublicKey } });

    /// <summary>The caller's address without its port.</summary>
    private static string AddressOf(ServerCallContext context)
    {
        var port = context.Peer.LastIndexOf(':');
        return port < 0 ? context.Peer : context.Peer[..port];
    }

    private static User Show(UserRow user) => new() { Id = user.UserId, Email = user.Email, Name = user.Name };

    private Session Show(IssuedSession session) => new()
    {
        AccessToken = session.AccessToken,
        TokenType = Bearer,
        ExpiresIn = (int)Math.Max(0, (session.ExpiresAt - time.NowMs()) / 1_000),
        ExpiresAt = EpochMs.ToTimestamp(session.ExpiresAt),
        RefreshToken = session.RefreshToken,
    };
}
