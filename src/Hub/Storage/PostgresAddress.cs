using Npgsql;

namespace Hub.Storage;

/// <summary>Reads what <c>DATABASE_URL</c> may hold: Npgsql's key=value text, or postgres://user:password@host:port/database?sslmode=…</summary>
internal static class PostgresAddress
{
    public static NpgsqlConnectionStringBuilder Parse(string text, bool requireTls)
    {
        var address = text.StartsWith("postgres://", StringComparison.Ordinal) || text.StartsWith("postgresql://", StringComparison.Ordinal)
            ? FromUrl(text)
            : FromPairs(text);
        if (string.IsNullOrEmpty(address.Host))
        {
            throw Refused("names no host");
        }
        if (requireTls)
        {
            if (!address.ShouldSerialize("SSL Mode"))
            {
                address.SslMode = SslMode.Require;
            }
            if (address.SslMode < SslMode.Require)
            {
                throw Refused($"asks for sslmode {address.SslMode}, but this backend is only spoken to over TLS: use require, verify-ca or verify-full");
            }
        }
        return address;
    }

    private static NpgsqlConnectionStringBuilder FromPairs(string text)
    {
        try
        {
            return new NpgsqlConnectionStringBuilder(text);
        }
        catch (Exception e) when (e is ArgumentException or FormatException)
        {
            throw Refused("is not of the form Host=…;Username=…;Database=… nor postgres://…");
        }
    }

    private static NpgsqlConnectionStringBuilder FromUrl(string text)
    {
        if (!Uri.TryCreate(text, UriKind.Absolute, out var url))
        {
            throw Refused("is not a valid postgres:// address; special characters in a password are written %XX");
        }
        var address = new NpgsqlConnectionStringBuilder { Host = url.Host.Trim('[', ']') };
        if (url.Port > 0)
        {
            address.Port = url.Port;
        }
        if (url.AbsolutePath.Length > 1)
        {
            address.Database = Uri.UnescapeDataString(url.AbsolutePath[1..]);
        }
        var user = url.UserInfo.Split(':', 2);
        if (user[0].Length > 0)
        {
            address.Username = Uri.UnescapeDataString(user[0]);
        }
        if (user.Length == 2)
        {
            address.Password = Uri.UnescapeDataString(user[1]);
        }
        foreach (var pair in url.Query.TrimStart('?').Split('&', StringSplitOptions.RemoveEmptyEntries))
        {
            var parts = pair.Split('=', 2);
            Set(address, parts[0], parts.Length == 2 ? Uri.UnescapeDataString(parts[1]) : "");
        }
        return address;
    }

    private static void Set(NpgsqlConnectionStringBuilder address, string key, string value)
    {
        try
        {
            switch (key)
            {
                case "sslmode":
                    address.SslMode = Enum.Parse<SslMode>(value.Replace("-", "", StringComparison.Ordinal), ignoreCase: true);
                    break;
                case "connect_timeout":
                    address["Timeout"] = value;
                    break;
                default:
                    // libpq writes application_name where Npgsql writes Application Name.
                    address[key.Replace('_', ' ')] = value;
                    break;
            }
        }
        catch (Exception e) when (e is ArgumentException or FormatException or OverflowException)
        {
            throw Refused($"has an unknown or invalid parameter '{key}'");
        }
    }

    // The text itself is never shown: it holds the password.
    private static StoreRefusedException Refused(string what) => new(StoreRefusal.BadConnectionString, $"The database connection string {what}.");
}
