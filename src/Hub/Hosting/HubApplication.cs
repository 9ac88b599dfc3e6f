using System.Net;
using Hub.Approvals;
using Hub.Audit;
using Hub.Canvas;
using Hub.Capabilities;
using Hub.Chat;
using Hub.Commands;
using Hub.Contexts;
using Hub.Contracts.V1;
using Hub.Errors;
using Hub.Feedback;
using Hub.Hosts;
using Hub.Identity;
using Hub.Insights;
using Hub.Limits;
using Hub.Links;
using Hub.Mail;
using Hub.Orgs;
using Hub.Records;
using Hub.Relays;
using Hub.Runs;
using Hub.Storage;
using Hub.Tasks;
using Hub.Telemetry;
using Hub.Usage;
using Hub.Watch;
using Microsoft.AspNetCore.HttpOverrides;
using Microsoft.AspNetCore.Server.Kestrel.Core;
using Microsoft.Extensions.Diagnostics.HealthChecks;
using LinkOptions = Hub.Links.LinkOptions;

namespace Hub.Hosting;

/// <summary>Puts the Hub together: store, services, listeners. One per process, or one per test.</summary>
internal sealed class HubApplication : IAsyncDisposable
{
    /// <summary>Drain and last frames fit into this; then the rest is cut.</summary>
    private static readonly TimeSpan ShutdownWithin = TimeSpan.FromSeconds(15);

    /// <summary>How far grpc.health.v1 may lag behind /ready.</summary>
    private static readonly TimeSpan HealthPublishedEvery = TimeSpan.FromSeconds(5);

    /// <summary>What is left of a stream is 128 KiB at most: enough time for 1 KB/s.</summary>
    private static readonly TimeSpan StreamEndsWithin = TimeSpan.FromMinutes(3);

    /// <summary>
    /// All watches of a team, and as many calls besides as Kestrel allows of itself: a client that keeps to one connection, as most gRPC
    /// clients do, would wait with its next call until a watch ends.
    /// </summary>
    private const int StreamsPerConnectionMax = WatchCount.PerTeamMax + 100;

    private static readonly TimeSpan PingAfter = TimeSpan.FromSeconds(20);
    private static readonly TimeSpan PingTimeout = TimeSpan.FromSeconds(10);

    private readonly WebApplication _web;

    private HubApplication(WebApplication web) => _web = web;

    public IServiceProvider Services => _web.Services;

    /// <summary>Address of the HTTP/1.1 listener, with the port it got.</summary>
    public Uri HttpUrl { get; private set; } = null!;

    /// <summary>Address of the gRPC listener, with the port it got.</summary>
    public Uri GrpcUrl { get; private set; } = null!;

    /// <summary>Address of the admin listener, with the port it got.</summary>
    public Uri AdminUrl { get; private set; } = null!;

    /// <summary>Address of the TLS listener, with the port it got; null without a certificate.</summary>
    public Uri? TlsUrl { get; private set; }

    /// <summary>Opens the store and builds the application; nothing listens yet.</summary>
    /// <exception cref="StoreRefusedException">The store cannot be served as configured.</exception>
    /// <exception cref="StoreUnavailableException">The store cannot be reached.</exception>
    public static async Task<HubApplication> BuildAsync(
        HubSettings settings, WebApplicationBuilder builder, TimeProvider time, CancellationToken cancellation)
    {
        Directory.CreateDirectory(settings.DataDirectory);
        Listen(builder, settings);
        var opened = new TaskCompletionSource<Store>();
        AddServices(builder, settings, opened.Task, time);
        var web = builder.Build();
        try
        {
            // After Build, because the store logs where the application does; before anything asks for it.
            opened.SetResult(await Store.OpenAsync(settings.Store, time, web.Services.GetRequiredService<ILoggerFactory>(), cancellation));
            Map(web, settings);
            return new HubApplication(web);
        }
        catch
        {
            await web.DisposeAsync();
            throw;
        }
    }

    public async Task StartAsync(CancellationToken cancellation)
    {
        await _web.StartAsync(cancellation);
        var ports = _web.Services.GetRequiredService<ListenerPorts>();
        (HttpUrl, GrpcUrl, AdminUrl, TlsUrl) = (ports.Http(), ports.Grpc(), ports.Admin(), ports.Tls());
    }

    public Task WaitForShutdownAsync(CancellationToken cancellation) => _web.WaitForShutdownAsync(cancellation);

    public Task StopAsync(CancellationToken cancellation) => _web.StopAsync(cancellation);

    public ValueTask DisposeAsync() => _web.DisposeAsync();

    private static void Listen(WebApplicationBuilder builder, HubSettings settings)
    {
        var ports = new ListenerPorts();
        builder.Services.AddSingleton(ports);
        builder.WebHost.ConfigureKestrel(kestrel =>
        {
            kestrel.AddServerHeader = false;
            kestrel.Limits.Http2.MaxStreamsPerConnection = StreamsPerConnectionMax;
            kestrel.Limits.Http2.KeepAlivePingDelay = PingAfter;
            kestrel.Limits.Http2.KeepAlivePingTimeout = PingTimeout;
            ports.HttpOptions = Bind(kestrel, settings.HttpUrl, HttpProtocols.Http1);
            ports.GrpcOptions = Bind(kestrel, settings.GrpcUrl, HttpProtocols.Http2);
            ports.AdminOptions = Bind(kestrel, settings.AdminUrl, HttpProtocols.Http1, listen => listen.Use(next => connection =>
            {
                connection.Features.Set(AdminConnection.Mark);
                return next(connection);
            }));
            if (settings.Certificate is { } certificate)
            {
                ports.TlsOptions = Bind(kestrel, settings.TlsUrl, HttpProtocols.Http1AndHttp2, listen => listen.UseHttps(certificate));
            }
        });
    }

    private static ListenOptions Bind(KestrelServerOptions kestrel, Uri url, HttpProtocols protocols, Action<ListenOptions>? more = null)
    {
        ListenOptions bound = null!;
        var address = url.Host is "localhost" ? IPAddress.Loopback : IPAddress.Parse(url.Host.Trim('[', ']'));
        kestrel.Listen(address, url.Port, listen =>
        {
            listen.Protocols = protocols;
            more?.Invoke(listen);
            bound = listen;
        });
        return bound;
    }

    private static void AddServices(WebApplicationBuilder builder, HubSettings settings, Task<Store> store, TimeProvider time)
    {
        var services = builder.Services;
        services.Configure<HostOptions>(host => host.ShutdownTimeout = ShutdownWithin);
        services.AddSingleton(settings);
        services.AddSingleton(_ => store.IsCompletedSuccessfully ? store.Result : throw new InvalidOperationException("The store is not open yet."));
        services.AddSingleton(_ => settings.SigningKeyPem is { } pem
            ? UserTokens.FromPem(pem, time)
            : UserTokens.FromFile(settings.SigningKeyPath, time));
        services.AddSingleton(time);
        services.AddSingleton(settings.Store.Guards);
        services.AddSingleton(new Random());
        services.AddOptions<LinkOptions>().BindConfiguration(LinkOptions.Section).ValidateDataAnnotations().ValidateOnStart();

        services.AddSingleton(new RateLimits(settings.Rates, time));
        services.AddSingleton<Admission>();
        services.AddSingleton<Authenticator>();
        services.AddSingleton<Access>();
        services.AddSingleton<AttemptLimit>();
        services.AddSingleton<Passwords>();
        if (settings.Supabase is { } supabase)
        {
            services.AddSingleton(supabase);
            services.AddSingleton(new HttpClient());
            services.AddSingleton<SupabaseTokens>();
            services.AddSingleton<IIdentityProvider, SupabaseIdentity>();
        }
        else
        {
            services.AddSingleton<IIdentityProvider, LocalIdentity>();
        }

        services.AddSingleton<Outbox>();
        services.AddHostedService(provider => provider.GetRequiredService<Outbox>());
        services.AddSingleton<Teams>();
        services.AddSingleton<Members>();
        services.AddSingleton<Invites>();
        services.AddSingleton<ApiKeys>();
        services.AddSingleton<Onboarding>();
        services.AddSingleton<TeamSuspension>();
        services.AddSingleton<Accounts>();
        services.AddSingleton<Enrolment>();
        services.AddSingleton<HostDirectory>();
        services.AddSingleton<HostProperties>();
        services.AddSingleton<HostConfiguration>();
        services.AddSingleton<CredentialRotation>();
        services.AddSingleton<SecretBox>();
        services.AddSingleton<TeamCapabilities>();
        services.AddSingleton<TelemetryBoard>();
        services.AddSingleton<ApprovalPolicies>();
        services.AddSingleton<ApprovalDecisions>();
        services.AddSingleton<PublicAddress>();
        services.AddSingleton<RecordStore>();
        services.AddSingleton<RecordIntake>();
        services.AddSingleton<RecordPages>();
        services.AddSingleton<ConflictLedger>();
        services.AddSingleton<RunApprovals>();
        services.AddSingleton<RunDecisions>();
        services.AddSingleton<UsageLedger>();
        services.AddHostedService(provider => provider.GetRequiredService<RunApprovals>());
        services.AddSingleton<CanvasQueries>();
        services.AddSingleton<FeedbackBook>();
        services.AddSingleton<RelayClient>();
        services.AddSingleton<CommandCreation>();
        services.AddSingleton<ProgressBoard>();
        services.AddSingleton<LaneEntries>();
        services.AddSingleton<LinkRegistry>();
        services.AddSingleton<CloneQuarantine>();
        services.AddHostedService(provider => provider.GetRequiredService<CloneQuarantine>());
        services.AddSingleton<LinkInbound>();
        services.AddSingleton<LinkEnding>();
        services.AddSingleton<Handshake>();
        services.AddSingleton<EphemeralBoard>();
        services.AddSingleton<WatchTickets>();
        services.AddSingleton<WatchFeed>();
        services.AddSingleton<WatchCount>();
        services.AddSingleton<Presence>();
        services.AddSingleton<NodeCalls>();
        services.AddHostedService(provider => provider.GetRequiredService<Presence>());
        services.AddHostedService<LinkClock>();
        services.AddHostedService<CommandClock>();
        services.AddHostedService<Retention>();

        // One instance each: they hold no state of a call.
        services.AddSingleton<HealthGrpcService>();
        services.AddSingleton<IdentityGrpcService>();
        services.AddSingleton<OrgGrpcService>();
        services.AddSingleton<AuditGrpcService>();
        services.AddSingleton<HostGrpcService>();
        services.AddSingleton<HostPropertyGrpcService>();
        services.AddSingleton<HostConfigGrpcService>();
        services.AddSingleton<ConnectGrpcService>();
        services.AddSingleton<CapabilityGrpcService>();
        services.AddSingleton<TelemetryGrpcService>();
        services.AddSingleton<ApprovalGrpcService>();
        services.AddSingleton<WriteBackGrpcService>();
        services.AddSingleton<TaskGrpcService>();
        services.AddSingleton<ChatGrpcService>();
        services.AddSingleton<CanvasGrpcService>();
        services.AddSingleton<InsightGrpcService>();
        services.AddSingleton<RunGrpcService>();
        services.AddSingleton<UsageGrpcService>();
        services.AddSingleton<ContextGrpcService>();
        services.AddSingleton<FeedbackGrpcService>();
        services.AddSingleton<RelayGrpcService>();
        services.AddSingleton<CommandGrpcService>();
        services.AddSingleton<WatchGrpcService>();
        services.AddSingleton<LinkGrpcService>();
        services.AddSingleton<ErrorInterceptor>();

        services
            .AddGrpc(grpc =>
            {
                grpc.Interceptors.Add<ErrorInterceptor>();
                grpc.CompletionTimeout = StreamEndsWithin;
            })
            .AddServiceOptions<LinkGrpcService>(link =>
            {
                link.MaxReceiveMessageSize = LinkOptions.FrameBytesMax;
                link.CompletionTimeout = LinkOptions.SlowConsumerAfter;
            })
            .AddJsonTranscoding(rest =>
            {
                rest.Title = "Hub";
                rest.ErrorReasons = ErrorReasonReflection.Descriptor.EnumTypes[0];
                rest.OpenDescriptorSet = () => typeof(HostService).Assembly.GetManifestResourceStream("hub.binpb")!;
                foreach (var origin in settings.CorsOrigins)
                {
                    rest.CorsOrigins.Add(origin);
                }
            });
        services.AddGrpcHealthChecks();
        services.AddHealthChecks().AddCheck<StoreHealth>("store");
        services.Configure<HealthCheckPublisherOptions>(publisher => publisher.Period = HealthPublishedEvery);
        // One Error per probe while the store is out; the store says it itself.
        builder.Logging.AddFilter("Microsoft.Extensions.Diagnostics.HealthChecks", LogLevel.None);
        services.AddGrpcReflection();
        if (settings.TrustedProxies.Count > 0)
        {
            services.Configure<ForwardedHeadersOptions>(forwarded =>
            {
                forwarded.ForwardedHeaders = ForwardedHeaders.XForwardedFor | ForwardedHeaders.XForwardedProto;
                forwarded.KnownProxies.Clear();
                foreach (var proxy in settings.TrustedProxies)
                {
                    forwarded.KnownProxies.Add(proxy);
                }
            });
        }
    }

    private static void Map(WebApplication web, HubSettings settings)
    {
        if (settings.TrustedProxies.Count > 0)
        {
            web.UseForwardedHeaders();
        }

        web.UseMiddleware<AdminConnection>();
        web.UseTranscodingCors();
        web.UseTranscodingErrors();
        web.UseRouting(); // Named here, or it would run first of all and before preflights are answered.
        web.MapGrpcService<HealthGrpcService>();
        web.MapGrpcService<IdentityGrpcService>();
        web.MapGrpcService<OrgGrpcService>();
        web.MapGrpcService<AuditGrpcService>();
        web.MapGrpcService<HostGrpcService>();
        web.MapGrpcService<HostPropertyGrpcService>();
        web.MapGrpcService<HostConfigGrpcService>();
        web.MapGrpcService<ConnectGrpcService>();
        web.MapGrpcService<CapabilityGrpcService>();
        web.MapGrpcService<TelemetryGrpcService>();
        web.MapGrpcService<ApprovalGrpcService>();
        web.MapGrpcService<WriteBackGrpcService>();
        web.MapGrpcService<TaskGrpcService>();
        web.MapGrpcService<ChatGrpcService>();
        web.MapGrpcService<CanvasGrpcService>();
        web.MapGrpcService<InsightGrpcService>();
        web.MapGrpcService<RunGrpcService>();
        web.MapGrpcService<UsageGrpcService>();
        web.MapGrpcService<ContextGrpcService>();
        web.MapGrpcService<FeedbackGrpcService>();
        web.MapGrpcService<RelayGrpcService>();
        web.MapGrpcService<CommandGrpcService>();
        web.MapGrpcService<WatchGrpcService>();
        web.MapGrpcService<LinkGrpcService>();
        web.MapGrpcHealthChecksService();
        if (settings.Reflection)
        {
            web.MapGrpcReflectionService();
        }

        web.MapTranscodingDocumentation();
        TeamSuspension.Map(web);
        web.MapHealthChecks("/ready", new() { ResponseWriter = Readiness.WriteAsync });
        web.MapHealthChecks("/health", new() { Predicate = _ => false }); // The process answers; what it depends on is /ready.
    }
}
