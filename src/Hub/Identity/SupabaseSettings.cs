namespace Hub.Identity;

/// <summary>A Supabase project whose accounts are the Hub's.</summary>
/// <param name="AuthUrl">Address of its Auth service, which is its tokens' issuer: https://&lt;ref&gt;.supabase.co/auth/v1.</param>
/// <param name="AnonKey">The project's public key, which its gateway wants.</param>
/// <param name="JwtSecret">The shared secret of projects that sign with HS256.</param>
internal sealed record SupabaseSettings(string AuthUrl, string AnonKey, string? JwtSecret);
