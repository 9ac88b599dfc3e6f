using System.Net;
using System.Net.Sockets;

namespace Hub.Benchmarks.Faults;

/// <summary>Hands TCP connections on and counts what a node sends; all connections can be cut at once.</summary>
internal sealed class CountingProxy : IAsyncDisposable
{
    private readonly TcpListener _listener = new(IPAddress.Loopback, 0);
    private readonly Lock _gate = new();
    private readonly HashSet<Socket> _sockets = [];
    private readonly List<Task> _running = [];
    private readonly IPEndPoint _target;
    private readonly Task _accepting;
    private long _sent;

    public CountingProxy(Uri target)
    {
        _target = new IPEndPoint(IPAddress.Parse(target.Host), target.Port);
        _listener.Start();
        Url = new Uri($"http://{_listener.LocalEndpoint}");
        _accepting = AcceptAsync();
    }

    public Uri Url { get; }

    /// <summary>Bytes from nodes to the Hub, framing included.</summary>
    public long Sent => Interlocked.Read(ref _sent);

    public void Cut()
    {
        lock (_gate)
        {
            foreach (var socket in _sockets)
            {
                socket.Dispose();
            }

            _sockets.Clear();
        }
    }

    public async ValueTask DisposeAsync()
    {
        _listener.Dispose();
        await _accepting;
        Cut();
        await Task.WhenAll(_running);
    }

    private async Task AcceptAsync()
    {
        try
        {
            while (true)
            {
                var node = await _listener.AcceptSocketAsync();
                var hub = new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp) { NoDelay = true };
                node.NoDelay = true;
                await hub.ConnectAsync(_target);
                lock (_gate)
                {
                    _sockets.Add(node);
                    _sockets.Add(hub);
                }

                _running.Add(CarryAsync(node, hub, isCounted: true));
                _running.Add(CarryAsync(hub, node, isCounted: false));
            }
        }
        catch (Exception e) when (e is SocketException or ObjectDisposedException)
        {
            // Disposed.
        }
    }

    private async Task CarryAsync(Socket from, Socket to, bool isCounted)
    {
        var buffer = new byte[64 * 1024];
        try
        {
            while (await from.ReceiveAsync(buffer) is > 0 and var count)
            {
                if (isCounted)
                {
                    Interlocked.Add(ref _sent, count);
                }

                for (var at = 0; at < count;)
                {
                    at += await to.SendAsync(buffer.AsMemory(at, count - at));
                }
            }

            to.Shutdown(SocketShutdown.Send);
        }
        catch (Exception e) when (e is SocketException or ObjectDisposedException)
        {
            // Cut, or one side is gone.
        }
    }
}
