namespace Hub.Identity;

/// <summary>Tokens of a session, as shown once.</summary>
internal sealed record IssuedSession(string AccessToken, string RefreshToken, long ExpiresAt);

/// <summary>A person as the Hub knows them.</summary>
internal sealed record UserRow(string UserId, string Email, string Name);

/// <summary>Where accounts and passwords live: in the Hub's own store, or at Supabase Auth. Teams and roles are the Hub's either way.</summary>
internal interface IIdentityProvider
{
    /// <returns>The team the user is in, and a session unless the e-mail address has to be confirmed first.</returns>
    public Task<(UserRow User, string TeamId, IssuedSession? Session)> SignUpAsync(Newcomer newcomer, string password, CancellationToken cancellation);

    public Task<(UserRow User, IssuedSession Session)> SignInAsync(string email, string password, CancellationToken cancellation);

    public Task<IssuedSession> RefreshAsync(string refreshToken, CancellationToken cancellation);

    /// <param name="accessToken">The token the user called with.</param>
    public Task SignOutAsync(Principal.User user, string accessToken, CancellationToken cancellation);

    public Task RequestResetAsync(string email, CancellationToken cancellation);

    public Task ResetAsync(string token, string password, CancellationToken cancellation);
}
