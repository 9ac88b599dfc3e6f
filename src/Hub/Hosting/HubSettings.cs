using System.Globalization;
using System.Net;
using System.Net.Mail;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using Hub.Identity;
using Hub.Limits;
using Hub.Mail;
using Hub.Storage;
using Hub.Transcoding;

namespace Hub.Hosting;

/// <summary>All that is wrong with the settings, each naming its key.</summary>
internal sealed class SettingsException(IReadOnlyList<string> faults) : Exception(string.Join(Environment.NewLine, faults))
{
    public IReadOnlyList<string> Faults { get; } = faults;
}

/// <summary>Settings of the process, from environment variables and appsettings.json under the same names.</summary>
internal sealed record HubSettings
{
    public const string HttpUrlKey = "HUB_HTTP_URL";
    public const string GrpcUrlKey = "HUB_GRPC_URL";
    public const string AdminUrlKey = "HUB_ADMIN_URL";
    public const string TlsUrlKey = "HUB_TLS_URL";
    public const string TlsCertificateKey = "HUB_TLS_CERTIFICATE";
    public const string TlsPrivateKeyKey = "HUB_TLS_KEY";
    public const string TrustedProxyKey = "HUB_TRUSTED_PROXY";
    public const string DataDirectoryKey = "HUB_DATA_DIR";
    public const string DataBackendKey = "DATA_BACKEND";
    public const string DatabaseUrlKey = "DATABASE_URL";
    public const string DatabaseListenUrlKey = "DATABASE_LISTEN_URL";
    public const string DurabilityKey = "HUB_DURABILITY";
    public const string ReflectionKey = "HUB_REFLECTION";
    public const string CorsOriginsKey = "HUB_CORS_ORIGINS";
    public const string SigningKeyKey = "HUB_SIGNING_KEY";
    public const string PublicUrlKey = "HUB_PUBLIC_URL";
    public const string RelayUrlKey = "HUB_RELAY_URL";
    public const string RelayTokenKey = "HUB_RELAY_TOKEN";
    public const string HostRecordsPerSecondKey = "HUB_HOST_RECORDS_PER_SECOND";
    public const string HostBytesPerSecondKey = "HUB_HOST_BYTES_PER_SECOND";
    public const string TeamRecordsPerSecondKey = "HUB_TEAM_RECORDS_PER_SECOND";
    public const string TeamBytesPerSecondKey = "HUB_TEAM_BYTES_PER_SECOND";
    public const string HostRequestsPerMinuteKey = "HUB_HOST_REQUESTS_PER_MINUTE";
    public const string CallerRequestsPerMinuteKey = "HUB_CALLER_REQUESTS_PER_MINUTE";
    public const string TeamRequestsPerMinuteKey = "HUB_TEAM_REQUESTS_PER_MINUTE";
    public const string HostCommandsPerMinuteKey = "HUB_HOST_COMMANDS_PER_MINUTE";
    public const string TeamCommandsPerMinuteKey = "HUB_TEAM_COMMANDS_PER_MINUTE";
    public const string SecretsKeyKey = "HUB_SECRETS_KEY";
    public const string SignUpKey = "HUB_SIGNUP";
    public const string PlanKey = "HUB_PLAN";
    public const string SmtpUrlKey = "HUB_SMTP_URL";
    public const string MailFromKey = "HUB_MAIL_FROM";
    public const string AuthBackendKey = "AUTH_BACKEND";
    public const string SupabaseUrlKey = "SUPABASE_URL";
    public const string SupabaseAnonKeyKey = "SUPABASE_ANON_KEY";
    public const string SupabaseJwtSecretKey = "SUPABASE_JWT_SECRET";

    /// <summary>Beyond any use, and far from overflow.</summary>
    private const long RateMax = 1_000_000_000_000;

    private const string SigningKeyFile = "signing-key.pem";
    private const string DatabaseFile = "hub.db";
    private const string PlanDefault = "team";

    /// <summary>REST, SSE; HTTP/1.1.</summary>
    public required Uri HttpUrl { get; init; }

    /// <summary>gRPC; HTTP/2 without TLS.</summary>
    public required Uri GrpcUrl { get; init; }

    /// <summary>Metrics and health for operators; loopback only.</summary>
    public required Uri AdminUrl { get; init; }

    /// <summary>Both by ALPN, when a certificate is set.</summary>
    public required Uri TlsUrl { get; init; }

    public X509Certificate2? Certificate { get; init; }

    /// <summary>Addresses of the proxies that end TLS in front of the Hub.</summary>
    public required IReadOnlyList<IPAddress> TrustedProxies { get; init; }

    /// <summary>Folder of the embedded database and the signing key.</summary>
    public required string DataDirectory { get; init; }

    public required StoreOptions Store { get; init; }

    /// <summary>Whether gRPC reflection is served; on for loopback unless set.</summary>
    public bool Reflection { get; init; }

    /// <summary>Origins whose pages may read REST answers, exactly as browsers send them.</summary>
    public IReadOnlyList<string> CorsOrigins { get; init; } = [];

    /// <summary>PEM of the key that signs user tokens, where replicas share one; else a file in the data folder.</summary>
    public string? SigningKeyPem { get; init; }

    /// <summary>Address of the Hub as people and nodes reach it, for texts; unset stands for the HTTP listener's own.</summary>
    public Uri? PublicUrl { get; init; }

    /// <summary>Address of the service that sends mails and text messages and runs browsers for nodes; unset where there is none.</summary>
    public Uri? RelayUrl { get; init; }

    /// <summary>Bearer token the Hub shows to the relay.</summary>
    public string? RelayToken { get; init; }

    public RateSettings Rates { get; init; } = new();

    public SignUpPolicy SignUp { get; init; }

    /// <summary>Plan of new teams; says how long history is kept.</summary>
    public string Plan { get; init; } = PlanDefault;

    /// <summary>Null writes mail to the console.</summary>
    public SmtpServer? Smtp { get; init; }

    /// <summary>Null keeps accounts in the Hub's own store.</summary>
    public SupabaseSettings? Supabase { get; init; }

    /// <summary>Key that seals what the Hub has to read back; without it such things cannot be stored.</summary>
    public byte[]? SecretsKey { get; init; }

    public string SigningKeyPath => Path.Combine(DataDirectory, SigningKeyFile);

    /// <summary>Every setting with its default and meaning, for README and --help.</summary>
    public static IReadOnlyList<(string Key, string Default, string Meaning)> All { get; } =
    [
        (HttpUrlKey, "http://127.0.0.1:5080", "REST and server-sent events, HTTP/1.1"),
        (GrpcUrlKey, "http://127.0.0.1:5081", "gRPC, HTTP/2 without TLS"),
        (AdminUrlKey, "http://127.0.0.1:5082", "health and readiness for operators; loopback only"),
        (TlsUrlKey, "https://127.0.0.1:5443", "both over TLS, once a certificate is set"),
        (TlsCertificateKey, "", "PEM file of the certificate"),
        (TlsPrivateKeyKey, "", "PEM file of its private key"),
        (TrustedProxyKey, "", "addresses of the proxies that end TLS, separated by commas"),
        (DataDirectoryKey, "hub-data", "folder of the embedded database and the signing key"),
        (DataBackendKey, "sqlite", "sqlite, postgres or supabase"),
        (DatabaseUrlKey, "", "postgres://… or key=value; for postgres and supabase"),
        (DatabaseListenUrlKey, "", "the same past a pooler that cannot LISTEN"),
        (DurabilityKey, "strict", "relaxed serves although a commit may be lost with the machine"),
        (ReflectionKey, "on for loopback", "on or off: gRPC reflection"),
        (CorsOriginsKey, "", "origins whose pages may read REST answers, such as https://hub.example.com, separated by commas"),
        (SigningKeyKey, "", "PEM of the P-256 key that signs user tokens, for several replicas"),
        (SecretsKeyKey, "", "base64 of 32 random bytes that encrypt what has to be read back, such as capabilities"),
        (PublicUrlKey, "", "address of the Hub as people and nodes reach it, for links in texts; the HTTP listener's own if unset"),
        (RelayUrlKey, "", "address of the service that sends mails and text messages and runs browsers for nodes"),
        (RelayTokenKey, "", "bearer token the Hub shows to that service"),
        (HostRecordsPerSecondKey, "5000", "records a node may send on its link; beyond it the link is read more slowly; 0 for no limit, as below"),
        (HostBytesPerSecondKey, "8388608", "bytes a node may send on its link, the same way"),
        (TeamRecordsPerSecondKey, "50000", "records of all links of a team, the same way"),
        (TeamBytesPerSecondKey, "67108864", "bytes of all links of a team, the same way"),
        (HostRequestsPerMinuteKey, "1200", "calls with one host credential besides the link; beyond it they are refused; claims are not counted"),
        (CallerRequestsPerMinuteKey, "12000", "calls of one user or API key"),
        (TeamRequestsPerMinuteKey, "300000", "calls of a team's users, keys and hosts together"),
        (HostCommandsPerMinuteKey, "6000", "commands created for one host"),
        (TeamCommandsPerMinuteKey, "60000", "commands created in one team"),
        (SignUpKey, "first", "who may sign up: first (the first one, then by invite), invite or open"),
        (PlanKey, PlanDefault, "plan of new teams: free keeps history for 30 days, pro for 90, team for ever"),
        (SmtpUrlKey, "", "smtp://user:password@host:587 for mail, with STARTTLS off loopback; mail goes to the console if unset"),
        (MailFromKey, "", "sender of mail; needed with a mail server"),
        (AuthBackendKey, "local", "local or supabase: where accounts and passwords live"),
        (SupabaseUrlKey, "", "https://….supabase.co; for supabase accounts"),
        (SupabaseAnonKeyKey, "", "the project's anon key; for supabase accounts"),
        (SupabaseJwtSecretKey, "", "the project's JWT secret, where it signs with HS256"),
    ];

    /// <exception cref="SettingsException">One or more settings are wrong; all are reported together.</exception>
    public static HubSettings Read(IConfiguration configuration)
    {
        var faults = new List<string>();
        string Text(string key) => configuration[key] is { Length: > 0 } given ? given.Trim() : DefaultOf(key);

        var http = Url(HttpUrlKey, Text(HttpUrlKey), "http", faults);
        var grpc = Url(GrpcUrlKey, Text(GrpcUrlKey), "http", faults);
        var admin = Url(AdminUrlKey, Text(AdminUrlKey), "http", faults);
        var tls = Url(TlsUrlKey, Text(TlsUrlKey), "https", faults);
        if (!admin.IsLoopback)
        {
            faults.Add($"{AdminUrlKey}: the admin listener is for loopback only; use http://127.0.0.1:<port>.");
        }

        var proxies = Proxies(Text(TrustedProxyKey), faults);
        var certificate = Certificates(Text(TlsCertificateKey), Text(TlsPrivateKeyKey), faults);
        foreach (var (key, url) in (ReadOnlySpan<(string, Uri)>)[(HttpUrlKey, http), (GrpcUrlKey, grpc)])
        {
            if (!url.IsLoopback && proxies.Count == 0)
            {
                faults.Add(
                    $"{key}: plain text off loopback would show credentials to the network. Set {TlsCertificateKey} and use {TlsUrlKey}, "
                    + $"or name the proxies that end TLS in {TrustedProxyKey}.");
            }
        }

        if (configuration[TlsUrlKey] is { Length: > 0 } && Text(TlsCertificateKey).Length == 0)
        {
            faults.Add($"{TlsUrlKey}: nothing is served there without a certificate; set {TlsCertificateKey}.");
        }

        var directory = Path.GetFullPath(Text(DataDirectoryKey));
        var store = StoreOf(Text(DataBackendKey), Text(DatabaseUrlKey), Text(DatabaseListenUrlKey), directory, faults) with
        {
            RelaxedDurability = OneOf(DurabilityKey, Text(DurabilityKey), ["strict", "relaxed"], faults) == "relaxed",
        };
        var reflection = Text(ReflectionKey) == DefaultOf(ReflectionKey)
            ? grpc.IsLoopback
            : OneOf(ReflectionKey, Text(ReflectionKey), ["on", "off"], faults) == "on";
        var origins = Origins(Text(CorsOriginsKey), faults);
        var signingKey = SigningKey(Text(SigningKeyKey), faults);
        var publicUrl = AddressOf(PublicUrlKey, Text(PublicUrlKey), faults);
        var relayUrl = AddressOf(RelayUrlKey, Text(RelayUrlKey), faults);
        var secretsKey = SecretsKeyOf(Text(SecretsKeyKey), faults);
        long Rate(string key) => RateOf(key, Text(key), faults);
        var rates = new RateSettings
        {
            HostRecordsPerSecond = Rate(HostRecordsPerSecondKey),
            HostBytesPerSecond = Rate(HostBytesPerSecondKey),
            TeamRecordsPerSecond = Rate(TeamRecordsPerSecondKey),
            TeamBytesPerSecond = Rate(TeamBytesPerSecondKey),
            HostRequestsPerMinute = Rate(HostRequestsPerMinuteKey),
            CallerRequestsPerMinute = Rate(CallerRequestsPerMinuteKey),
            TeamRequestsPerMinute = Rate(TeamRequestsPerMinuteKey),
            HostCommandsPerMinute = Rate(HostCommandsPerMinuteKey),
            TeamCommandsPerMinute = Rate(TeamCommandsPerMinuteKey),
        };
        var signUp = OneOf(SignUpKey, Text(SignUpKey), ["first", "invite", "open"], faults);
        var plan = OneOf(PlanKey, Text(PlanKey), ["free", "pro", "team"], faults);
        var smtp = SmtpOf(Text(SmtpUrlKey), Text(MailFromKey), faults);
        var supabase = OneOf(AuthBackendKey, Text(AuthBackendKey), ["local", "supabase"], faults) == "supabase"
            ? SupabaseOf(Text(SupabaseUrlKey), Text(SupabaseAnonKeyKey), Text(SupabaseJwtSecretKey), faults)
            : null;
        return faults.Count > 0
            ? throw new SettingsException(faults)
            : new HubSettings
            {
                HttpUrl = http,
                GrpcUrl = grpc,
                AdminUrl = admin,
                TlsUrl = tls,
                Certificate = certificate,
                TrustedProxies = proxies,
                DataDirectory = directory,
                Store = store,
                Reflection = reflection,
                CorsOrigins = origins,
                SigningKeyPem = signingKey,
                PublicUrl = publicUrl,
                RelayUrl = relayUrl,
                RelayToken = Text(RelayTokenKey) is { Length: > 0 } relayToken ? relayToken : null,
                Rates = rates,
                SignUp = Enum.Parse<SignUpPolicy>(signUp!, ignoreCase: true),
                Plan = plan!,
                Smtp = smtp,
                Supabase = supabase,
                SecretsKey = secretsKey,
            };
    }

    private static string DefaultOf(string key) => All.Single(setting => setting.Key == key).Default;

    private static Uri Url(string key, string text, string scheme, List<string> faults)
    {
        if (Uri.TryCreate(text, UriKind.Absolute, out var url) && url.Scheme == scheme && url.AbsolutePath == "/"
            && (url.IsLoopback || IPAddress.TryParse(url.Host.Trim('[', ']'), out _)))
        {
            return url;
        }

        faults.Add($"{key}: '{text}' is no address to listen on; write {scheme}://<ip>:<port>, such as {DefaultOf(key)}.");
        return new Uri(DefaultOf(key));
    }

    private static byte[]? SecretsKeyOf(string text, List<string> faults)
    {
        if (text.Length == 0)
        {
            return null;
        }

        var key = new byte[Identity.SecretBox.KeyBytes + 1];
        if (Convert.TryFromBase64String(text, key, out var length) && length == Identity.SecretBox.KeyBytes)
        {
            return key[..length];
        }

        faults.Add($"{SecretsKeyKey}: this is not base64 of {Identity.SecretBox.KeyBytes} bytes; make one with: openssl rand -base64 {Identity.SecretBox.KeyBytes}");
        return null;
    }

    private static Uri? AddressOf(string key, string text, List<string> faults)
    {
        if (text.Length == 0)
        {
            return null;
        }

        if (Uri.TryCreate(text, UriKind.Absolute, out var url) && url.Scheme is "http" or "https"
            && url is { Query: "", Fragment: "", UserInfo: "" })
        {
            return url;
        }

        faults.Add($"{key}: '{text}' is no address; write https://<name>, without a query.");
        return null;
    }

    private static SmtpServer? SmtpOf(string text, string from, List<string> faults)
    {
        if (text.Length == 0)
        {
            return null;
        }

        if (!Uri.TryCreate(text, UriKind.Absolute, out var url) || url.Scheme != "smtp" || url.Host.Length == 0)
        {
            faults.Add($"{SmtpUrlKey}: no address of a mail server; write smtp://user:password@host:587."); // The text may hold a password.
            return null;
        }

        if (!MailAddress.TryCreate(from, out _))
        {
            faults.Add($"{MailFromKey}: '{from}' is no e-mail address; {SmtpUrlKey} needs a sender.");
        }

        return SmtpServer.Of(url, from);
    }

    private static SupabaseSettings? SupabaseOf(string text, string anonKey, string secret, List<string> faults)
    {
        if (!Uri.TryCreate(text, UriKind.Absolute, out var url) || url.Scheme is not ("http" or "https") || (url.Scheme == "http" && !url.IsLoopback))
        {
            faults.Add($"{SupabaseUrlKey}: '{text}' is no address; {AuthBackendKey}=supabase needs one such as https://abc.supabase.co.");
            return null;
        }

        if (anonKey.Length == 0)
        {
            faults.Add($"{SupabaseAnonKeyKey}: {AuthBackendKey}=supabase needs it.");
        }

        return new SupabaseSettings($"{url.AbsoluteUri.TrimEnd('/')}/auth/v1", anonKey, secret.Length == 0 ? null : secret);
    }

    private static string[] Origins(string text, List<string> faults)
    {
        var origins = text.Split(',', StringSplitOptions.RemoveEmptyEntries | StringSplitOptions.TrimEntries);
        faults.AddRange(origins.Where(origin => !JsonTranscodingOptions.IsOrigin(origin)).Select(origin =>
            $"{CorsOriginsKey}: '{origin}' is no origin; write scheme://host or scheme://host:port in lower case, without a path."));
        return origins;
    }

    private static List<IPAddress> Proxies(string text, List<string> faults)
    {
        var proxies = new List<IPAddress>();
        foreach (var item in text.Split(',', StringSplitOptions.RemoveEmptyEntries | StringSplitOptions.TrimEntries))
        {
            if (IPAddress.TryParse(item, out var address))
            {
                proxies.Add(address);
            }
            else
            {
                faults.Add($"{TrustedProxyKey}: '{item}' is no IP address.");
            }
        }

        return proxies;
    }

    private static X509Certificate2? Certificates(string certificate, string key, List<string> faults)
    {
        if (certificate.Length == 0 && key.Length == 0)
        {
            return null;
        }

        try
        {
            return X509Certificate2.CreateFromPemFile(certificate, key.Length == 0 ? null : key);
        }
        catch (Exception e) when (e is CryptographicException or IOException or ArgumentException or UnauthorizedAccessException)
        {
            faults.Add($"{TlsCertificateKey}, {TlsPrivateKeyKey}: no certificate with its private key can be read ({e.Message}).");
            return null;
        }
    }

    private static StoreOptions StoreOf(string backend, string url, string listenUrl, string directory, List<string> faults)
    {
        const string importHint = "Firebase RTDB holds no durable queue. Export it and import the JSON into sqlite or postgres instead.";
        if (backend == "rtdb")
        {
            faults.Add($"{DataBackendKey}: rtdb is not served. {importHint}");
            return new StoreOptions();
        }

        if (OneOf(DataBackendKey, backend, ["sqlite", "postgres", "supabase"], faults) is "sqlite" or null)
        {
            return new StoreOptions { Backend = StoreBackend.Sqlite, SqlitePath = Path.Combine(directory, DatabaseFile) };
        }

        if (url.Length == 0)
        {
            faults.Add($"{DatabaseUrlKey}: {DataBackendKey}={backend} needs it, such as postgres://user:password@host:5432/hub.");
        }

        return new StoreOptions
        {
            Backend = backend == "postgres" ? StoreBackend.Postgres : StoreBackend.Supabase,
            ConnectionString = url,
            ListenConnectionString = listenUrl.Length == 0 ? null : listenUrl,
        };
    }

    private static long RateOf(string key, string text, List<string> faults)
    {
        if (long.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out var rate) && rate <= RateMax)
        {
            return rate;
        }

        faults.Add($"{key}: '{text}' is no rate; write a whole number from 0 (no limit) to {RateMax}.");
        return 0;
    }

    private static string? OneOf(string key, string text, IReadOnlyList<string> words, List<string> faults)
    {
        if (words.Contains(text))
        {
            return text;
        }

        faults.Add($"{key}: '{text}' is none of {string.Join(", ", words)}.");
        return null;
    }

    private static string? SigningKey(string pem, List<string> faults)
    {
        if (pem.Length == 0)
        {
            return null;
        }

        try
        {
            using var tokens = UserTokens.FromPem(pem, TimeProvider.System);
            return pem;
        }
        catch (CryptographicException e)
        {
            faults.Add($"{SigningKeyKey}: no P-256 private key in PEM ({e.Message}).");
            return null;
        }
    }
}
