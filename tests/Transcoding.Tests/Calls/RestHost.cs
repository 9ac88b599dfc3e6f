using System.Collections.Concurrent;
using System.Net;
using System.Net.Sockets;
using System.Text;
using Grpc.Core;
using Grpc.Core.Interceptors;
using Hub.Transcoding.Tests.Protos;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Hosting;
using Microsoft.AspNetCore.Hosting.Server;
using Microsoft.AspNetCore.Hosting.Server.Features;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Routing;
using Microsoft.AspNetCore.Server.Kestrel.Core;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Logging;

namespace Hub.Transcoding.Tests.Calls;

/// <summary>The three test surfaces on a real Kestrel, with what a test wants to look at afterwards.</summary>
public sealed class RestHost : IAsyncDisposable
{
    public static readonly TimeSpan Patience = TimeSpan.FromSeconds(20);

    public const string AllowedOrigin = "https://hub.example.com";

    private readonly WebApplication _app;

    private RestHost(WebApplication app, RequestDelegate pipeline, IReadOnlyList<string> addresses, FleetBackend backend, HeldTimer time, LogCollector log)
    {
        _app = app;
        Pipeline = pipeline;
        Backend = backend;
        Time = time;
        Log = log;
        Address = new Uri(addresses[0]);
        GrpcAddress = new Uri(addresses[1]);
        Client = new HttpClient { BaseAddress = Address, Timeout = Patience };
    }

    public HttpClient Client { get; }

    /// <summary>All that answers a request, without the server in front of it.</summary>
    public RequestDelegate Pipeline { get; }

    public IServiceScopeFactory Scopes => _app.Services.GetRequiredService<IServiceScopeFactory>();

    public Uri Address { get; }

    public Uri GrpcAddress { get; }

    public FleetBackend Backend { get; }

    public HeldTimer Time { get; }

    public LogCollector Log { get; }

    public static async Task<RestHost> StartAsync(string? origin = AllowedOrigin)
    {
        var builder = WebApplication.CreateEmptyBuilder(new WebApplicationOptions());
        var backend = new FleetBackend();
        var time = new HeldTimer();
        var log = new LogCollector();
        builder.WebHost.UseKestrelCore().ConfigureKestrel(kestrel =>
        {
            kestrel.Listen(IPAddress.Loopback, 0, listen => listen.Protocols = HttpProtocols.Http1);
            kestrel.Listen(IPAddress.Loopback, 0, listen => listen.Protocols = HttpProtocols.Http2);
        });
        builder.Logging.AddProvider(log);
        builder.Services.AddRouting();
        builder.Services.AddSingleton(backend).AddSingleton<TimeProvider>(time);
        builder.Services.AddGrpc(grpc => grpc.Interceptors.Add<CountingInterceptor>()).AddJsonTranscoding(rest =>
        {
            if (origin is not null)
            {
                rest.CorsOrigins.Add(origin);
            }

            rest.ErrorReasons = ConversationServiceReflection.Descriptor.EnumTypes.Single(type => type.Name == "ErrorReason");
            rest.TypeRegistry = Google.Protobuf.Reflection.TypeRegistry.FromFiles(FleetServiceReflection.Descriptor, JsonCasesReflection.Descriptor, Google.Protobuf.WellKnownTypes.DurationReflection.Descriptor);
        });

        var app = builder.Build();
        var pipeline = default(RequestDelegate);
        app.Use(next => pipeline = next);
        app.UseTranscodingCors();
        app.UseTranscodingErrors();
        app.UseRouting();
        app.MapGrpcService<FleetServer>();
        app.MapGrpcService<AgentServer>();
        app.MapGrpcService<ConversationServer>();
        app.MapGrpcService<MessagingServer>();
        app.MapGrpcService<RuleServer>();
        app.MapGet("/api/broken", _ => throw new InvalidOperationException("secret of the server"));
        app.MapFallback("/api/unknown", () => "a page").WithMetadata(new HttpMethodMetadata(["GET"]));
        await app.StartAsync();
        var addresses = app.Services.GetRequiredService<IServer>().Features.Get<IServerAddressesFeature>()!.Addresses;
        return new RestHost(app, pipeline!, [.. addresses], backend, time, log);
    }

    /// <summary>Sends bytes as they are and returns everything until the server closes.</summary>
    public async Task<string> SendRawAsync(string head, byte[]? body = null)
    {
        using var client = new TcpClient();
        await client.ConnectAsync(IPAddress.Loopback, Address.Port).WaitAsync(Patience);
        var stream = client.GetStream();
        await stream.WriteAsync(Encoding.ASCII.GetBytes(head.ReplaceLineEndings("\r\n")));
        await stream.WriteAsync(body ?? []);
        using var reader = new StreamReader(stream, Encoding.UTF8);
        return await reader.ReadToEndAsync().WaitAsync(Patience);
    }

    public async ValueTask DisposeAsync()
    {
        Client.Dispose();
        await _app.DisposeAsync();
    }
}

/// <summary>What the services remember, and how tests steer their streams.</summary>
public sealed class FleetBackend
{
    private int _intercepted;

    public int Intercepted => _intercepted;

    public WatchRequest? Watched { get; set; }

    /// <summary>Completed by the test to let a stream go on.</summary>
    public TaskCompletionSource Continue { get; } = new(TaskCreationOptions.RunContinuationsAsynchronously);

    /// <summary>Completed by a stream whose client has gone.</summary>
    public TaskCompletionSource Cancelled { get; } = new(TaskCreationOptions.RunContinuationsAsynchronously);

    public void CountIntercepted() => Interlocked.Increment(ref _intercepted);
}

/// <summary>Timers fire when a test says so, and never by themselves.</summary>
public sealed class HeldTimer : TimeProvider
{
    private readonly ConcurrentDictionary<Timer, bool> _timers = new();
    private readonly ConcurrentDictionary<TimeSpan, TaskCompletionSource> _created = new();

    /// <summary>Completes when a timer of that due time exists.</summary>
    public Task CreatedAsync(TimeSpan due) => Created(due).Task;

    public void Fire()
    {
        foreach (var timer in _timers.Keys)
        {
            timer.Run();
        }
    }

    public override ITimer CreateTimer(TimerCallback callback, object? state, TimeSpan dueTime, TimeSpan period)
    {
        var timer = new Timer(this, () => callback(state));
        _timers[timer] = true;
        Created(dueTime).TrySetResult();
        return timer;
    }

    private TaskCompletionSource Created(TimeSpan due) =>
        _created.GetOrAdd(due, static _ => new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously));

    private sealed class Timer(HeldTimer owner, Action run) : ITimer
    {
        public void Run() => run();

        public bool Change(TimeSpan dueTime, TimeSpan period) => true;

        public void Dispose() => owner._timers.TryRemove(this, out _);

        public ValueTask DisposeAsync()
        {
            Dispose();
            return ValueTask.CompletedTask;
        }
    }
}

/// <summary>Keeps what was logged at Error.</summary>
public sealed class LogCollector : ILoggerProvider
{
    private readonly ConcurrentQueue<string> _errors = [];

    public IReadOnlyCollection<string> Errors => _errors;

    public ILogger CreateLogger(string categoryName) => new Logger(_errors);

    public void Dispose()
    {
    }

    private sealed class Logger(ConcurrentQueue<string> errors) : ILogger
    {
        public IDisposable? BeginScope<TState>(TState state)
            where TState : notnull => null;

        public bool IsEnabled(LogLevel logLevel) => logLevel >= LogLevel.Error;

        public void Log<TState>(LogLevel logLevel, EventId eventId, TState state, Exception? exception, Func<TState, Exception?, string> formatter)
        {
            if (IsEnabled(logLevel))
            {
                errors.Enqueue($"{eventId.Name}: {formatter(state, exception)}");
            }
        }
    }
}

public sealed class CountingInterceptor(FleetBackend backend) : Interceptor
{
    public override Task<TResponse> UnaryServerHandler<TRequest, TResponse>(
        TRequest request, ServerCallContext context, UnaryServerMethod<TRequest, TResponse> continuation)
    {
        backend.CountIntercepted();
        return continuation(request, context);
    }

    public override Task ServerStreamingServerHandler<TRequest, TResponse>(
        TRequest request, IServerStreamWriter<TResponse> responseStream, ServerCallContext context, ServerStreamingServerMethod<TRequest, TResponse> continuation)
    {
        backend.CountIntercepted();
        return continuation(request, responseStream, context);
    }
}
