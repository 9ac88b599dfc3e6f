using System.Net;
using System.Net.Sockets;

namespace Hub.TestKit.Faults;

/// <summary>
/// A bad network on real sockets: listens on loopback and hands every connection on to a Hub's gRPC address, with faults per connection and
/// direction that a test switches while it runs.
/// </summary>
public sealed class FaultProxy : IAsyncDisposable
{
    /// <summary>Connections at once; more wait in the listener's queue.</summary>
    private const int ConnectionsMax = 1_000;

    /// <summary>A slow path must not look fast because the kernel swallowed what was sent.</summary>
    private const int SocketBufferBytes = 8 * 1024;

    private readonly TcpListener _listener = new(IPAddress.Loopback, 0);
    private readonly CancellationTokenSource _stopping = new();
    private readonly SemaphoreSlim _places = new(ConnectionsMax);
    private readonly Lock _gate = new();
    private readonly List<ProxiedConnection> _connections = [];
    private readonly List<Task> _running = [];
    private readonly TimeProvider _time;
    private readonly Task _accepting;
    private TaskCompletionSource _arrived = new(TaskCreationOptions.RunContinuationsAsynchronously);

    private FaultProxy(Uri target, TimeProvider time)
    {
        _time = time;
        Target = target;
        ComesFrom = target.IsLoopback ? IPAddress.Loopback : IPAddress.Any;
        _listener.Start();
        Url = new Uri($"http://{_listener.LocalEndpoint}");
        _accepting = AcceptAsync();
    }

    /// <summary>What a node dials.</summary>
    public Uri Url { get; }

    /// <summary>Where the next connections lead: a Hub that starts again has another port.</summary>
    public Uri Target { get; set; }

    /// <summary>The address the next connections reach the target from; any of 127.0.0.0/8 for a target on loopback.</summary>
    public IPAddress ComesFrom { get; set; }

    /// <summary>Prepares a connection before its first byte.</summary>
    public Action<ProxiedConnection>? Accepted { get; set; }

    public static FaultProxy Start(Uri target, TimeProvider? time = null) => new(target, time ?? TimeProvider.System);

    /// <summary>The connection with this number, counted from 0 in the order they were dialled.</summary>
    public async Task<ProxiedConnection> ConnectionAsync(int number)
    {
        while (true)
        {
            Task arrived;
            lock (_gate)
            {
                if (_connections.Count > number)
                {
                    return _connections[number];
                }

                arrived = _arrived.Task;
            }

            await arrived.Within();
        }
    }

    /// <summary>Connections dialled so far.</summary>
    public int Count
    {
        get
        {
            lock (_gate)
            {
                return _connections.Count;
            }
        }
    }

    public async ValueTask DisposeAsync()
    {
        await _stopping.CancelAsync();
        _listener.Dispose();
        await _accepting.Within();
        await Task.WhenAll(_running).Within();
        _places.Dispose();
        _stopping.Dispose();
    }

    private async Task AcceptAsync()
    {
        try
        {
            while (true)
            {
                await _places.WaitAsync(_stopping.Token);
                var node = await _listener.AcceptSocketAsync(_stopping.Token);
                _running.Add(ServeAsync(node, ComesFrom)); // Only this loop adds; disposal reads when it has ended.
            }
        }
        catch (Exception e) when (e is OperationCanceledException or SocketException or ObjectDisposedException)
        {
            // The proxy is disposed.
        }
    }

    private async Task ServeAsync(Socket node, IPAddress from)
    {
        using (node)
        using (var hub = new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp))
        {
            try
            {
                foreach (var socket in (ReadOnlySpan<Socket>)[node, hub])
                {
                    (socket.NoDelay, socket.ReceiveBufferSize, socket.SendBufferSize) = (true, SocketBufferBytes, SocketBufferBytes);
                }

                hub.Bind(new IPEndPoint(from, 0));
                await hub.ConnectAsync(Target.Host, Target.Port, _stopping.Token);
                var connection = new ProxiedConnection(node, hub, _time);
                Accepted?.Invoke(connection);
                Arrived(connection);
                await connection.RunAsync(_stopping.Token);
            }
            catch (Exception e) when (e is SocketException or OperationCanceledException)
            {
                // The Hub is away: the node sees its connection end.
            }
            finally
            {
                _places.Release();
            }
        }
    }

    private void Arrived(ProxiedConnection connection)
    {
        TaskCompletionSource arrived;
        lock (_gate)
        {
            _connections.Add(connection);
            arrived = _arrived;
            _arrived = new(TaskCreationOptions.RunContinuationsAsynchronously);
        }

        arrived.SetResult();
    }
}

/// <summary>A node's connection through the proxy.</summary>
public sealed class ProxiedConnection
{
    private readonly Socket _node;
    private readonly Socket _hub;
    private readonly TaskCompletionSource _ended = new(TaskCreationOptions.RunContinuationsAsynchronously);

    internal ProxiedConnection(Socket node, Socket hub, TimeProvider time)
    {
        (_node, _hub) = (node, hub);
        var (nodeSide, hubSide) = (new NetworkStream(node), new NetworkStream(hub));
        Up = new FaultyPath(nodeSide, hubSide, hasPreface: true, time);
        Down = new FaultyPath(hubSide, nodeSide, hasPreface: false, time);
        (Up.Opposite, Down.Opposite) = (Down, Up);
    }

    /// <summary>From the node to the Hub.</summary>
    public FaultyPath Up { get; }

    /// <summary>From the Hub to the node.</summary>
    public FaultyPath Down { get; }

    /// <summary>Ends when both sockets are closed.</summary>
    public Task Ended => _ended.Task;

    /// <summary>The same fault both ways.</summary>
    public void Fail(PathFault fault) => (Up.Fault, Down.Fault) = (fault, fault);

    internal async Task RunAsync(CancellationToken stopping)
    {
        using var ending = CancellationTokenSource.CreateLinkedTokenSource(stopping);
        using var up = Up;
        using var down = Down;
        var reading = Task.WhenAll(Up.ReadAsync(ending.Token), Down.ReadAsync(ending.Token));
        var writing = new[] { Up.WriteAsync(ending.Token), Down.WriteAsync(ending.Token) };
        var reset = await await Task.WhenAny(writing);
        if (reset)
        {
            // A linger time of zero makes the close a reset.
            (_node.LingerState, _hub.LingerState) = (new LingerOption(true, 0), new LingerOption(true, 0));
        }

        _node.Close();
        _hub.Close();
        await ending.CancelAsync();
        await reading;
        await Task.WhenAll(writing);
        _ended.SetResult();
    }
}
