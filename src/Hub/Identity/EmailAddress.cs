using System.Net.Mail;
using Hub.Errors;

namespace Hub.Identity;

/// <summary>E-mail addresses as the Hub stores and compares them.</summary>
internal static class EmailAddress
{
    public const int LengthMax = 254;

    /// <summary>Trimmed, in Unicode's composed form and in lower case: people do not write their own address the same way twice.</summary>
    /// <exception cref="HubException">INVALID_FIELD.</exception>
    public static string Normalised(string text)
    {
        var address = text.Trim();
        if (address.Length is 0 or > LengthMax || address.Any(char.IsControl) || address.Contains(' ', StringComparison.Ordinal)
            || !MailAddress.TryCreate(address, out var parsed) || parsed.Address != address)
        {
            throw HubException.InvalidField("email", "Send an e-mail address, such as you@example.com.");
        }

        return address.Normalize().ToLowerInvariant();
    }
}
