using System.Threading.Channels;
using Grpc.Core;
using Grpc.Health.V1;
using ServingStatus = Grpc.Health.V1.HealthCheckResponse.Types.ServingStatus;

namespace Grpc.HealthCheck;

/// <summary>The health service of the protocol: services and whether they serve. The empty name stands for the server as a whole.</summary>
public class HealthServiceImpl : Health.V1.Health.HealthBase
{
    /// <summary>Most watchers at a time; further ones are told RESOURCE_EXHAUSTED.</summary>
    private const int WatchersMax = 1024;

    private readonly Lock _gate = new();
    private readonly Dictionary<string, ServingStatus> _statuses = new(StringComparer.Ordinal);
    private readonly List<Watcher> _watchers = [];

    /// <summary>Sets the status of a service and tells its watchers.</summary>
    public void SetStatus(string service, ServingStatus status)
    {
        ArgumentNullException.ThrowIfNull(service);
        lock (_gate)
        {
            _statuses[service] = status;
            Tell(service, status);
        }
    }

    /// <summary>Forgets a service; its watchers are told SERVICE_UNKNOWN.</summary>
    public void ClearStatus(string service)
    {
        ArgumentNullException.ThrowIfNull(service);
        lock (_gate)
        {
            if (_statuses.Remove(service))
            {
                Tell(service, ServingStatus.ServiceUnknown);
            }
        }
    }

    /// <summary>Forgets all services.</summary>
    public void ClearAll()
    {
        lock (_gate)
        {
            foreach (var service in _statuses.Keys)
            {
                Tell(service, ServingStatus.ServiceUnknown);
            }

            _statuses.Clear();
        }
    }

    /// <inheritdoc/>
    public override Task<HealthCheckResponse> Check(HealthCheckRequest request, ServerCallContext context)
    {
        ArgumentNullException.ThrowIfNull(request);
        lock (_gate)
        {
            return _statuses.TryGetValue(request.Service, out var status)
                ? Task.FromResult(new HealthCheckResponse { Status = status })
                : throw new RpcException(new Status(StatusCode.NotFound, "unknown service"));
        }
    }

    /// <inheritdoc/>
    public override Task<HealthListResponse> List(HealthListRequest request, ServerCallContext context)
    {
        var response = new HealthListResponse();
        lock (_gate)
        {
            foreach (var (service, status) in _statuses)
            {
                response.Statuses.Add(service, new HealthCheckResponse { Status = status });
            }
        }

        return Task.FromResult(response);
    }

    /// <inheritdoc/>
    public override async Task Watch(
        HealthCheckRequest request, IServerStreamWriter<HealthCheckResponse> responseStream, ServerCallContext context)
    {
        ArgumentNullException.ThrowIfNull(request);
        ArgumentNullException.ThrowIfNull(responseStream);
        ArgumentNullException.ThrowIfNull(context);
        var watcher = new Watcher(request.Service);
        lock (_gate)
        {
            if (_watchers.Count == WatchersMax)
            {
                throw new RpcException(new Status(StatusCode.ResourceExhausted, "too many watchers"));
            }

            watcher.Last = _statuses.GetValueOrDefault(request.Service, ServingStatus.ServiceUnknown);
            watcher.Changes.Writer.TryWrite(watcher.Last);
            _watchers.Add(watcher);
        }

        try
        {
            await foreach (var status in watcher.Changes.Reader.ReadAllAsync(context.CancellationToken).ConfigureAwait(false))
            {
                await responseStream.WriteAsync(new HealthCheckResponse { Status = status }).ConfigureAwait(false);
            }
        }
        finally
        {
            lock (_gate)
            {
                _watchers.Remove(watcher);
            }
        }
    }

    private void Tell(string service, ServingStatus status)
    {
        foreach (var watcher in _watchers)
        {
            if (watcher.Service == service && watcher.Last != status)
            {
                watcher.Last = status;
                watcher.Changes.Writer.TryWrite(status);
            }
        }
    }

    private sealed class Watcher(string service)
    {
        public string Service { get; } = service;

        /// <summary>Last status told, guarded by the gate: the protocol sends changes only.</summary>
        public ServingStatus Last { get; set; }

        // Only the latest status matters to a watcher that does not keep up.
        public Channel<ServingStatus> Changes { get; } =
            Channel.CreateBounded<ServingStatus>(new BoundedChannelOptions(1) { FullMode = BoundedChannelFullMode.DropOldest });
    }
}
