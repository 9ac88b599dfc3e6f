using System.Net;

namespace Hub.Mail;

/// <summary>Where mail leaves: smtp://user:password@host:port.</summary>
internal sealed record SmtpServer(string Host, int Port, bool Tls, string From, NetworkCredential? Credentials)
{
    /// <summary>Message submission (RFC 6409).</summary>
    private const int PortDefault = 587;

    /// <summary>STARTTLS is demanded, but of a server on the same machine.</summary>
    public static SmtpServer Of(Uri url, string from)
    {
        var user = url.UserInfo.Split(':', 2);
        var credentials = url.UserInfo.Length == 0
            ? null
            : new NetworkCredential(Uri.UnescapeDataString(user[0]), user.Length == 2 ? Uri.UnescapeDataString(user[1]) : "");
        return new SmtpServer(url.Host, url.Port > 0 ? url.Port : PortDefault, !url.IsLoopback, from, credentials);
    }
}
