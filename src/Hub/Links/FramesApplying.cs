using Hub.Hosting;

namespace Hub.Links;

/// <summary>
/// Frames of one link that are being applied, bounded in number and bytes, so that a slow store is felt by the node and not by the Hub's
/// memory. Only the link's reader waits for it.
/// </summary>
internal sealed class FramesApplying
{
    /// <summary>Enough to fill a group commit.</summary>
    public const int FramesMax = LinkOptions.WindowBatches;

    /// <summary>A window's worth; a frame that comes alone may always begin.</summary>
    public const int BytesMax = LinkOptions.WindowBytes;

    private readonly Lock _gate = new();
    private readonly WakeSignal _ended = new();
    private int _frames;
    private int _bytes;

    /// <summary>Returns once there is room for the frame, which has begun then.</summary>
    public async Task BeginAsync(int bytes, CancellationToken cancellation)
    {
        while (!TryBegin(bytes))
        {
            await _ended.WaitAsync(cancellation);
        }
    }

    public void End(int bytes)
    {
        lock (_gate)
        {
            _frames--;
            _bytes -= bytes;
        }

        _ended.Set();
    }

    /// <summary>Returns once every frame that has begun has ended.</summary>
    public async Task WaitUntilNoneAsync()
    {
        while (IsAny())
        {
            await _ended.WaitAsync(CancellationToken.None);
        }
    }

    private bool IsAny()
    {
        lock (_gate)
        {
            return _frames > 0;
        }
    }

    private bool TryBegin(int bytes)
    {
        lock (_gate)
        {
            if (_frames > 0 && (_frames >= FramesMax || _bytes + bytes > BytesMax))
            {
                return false;
            }

            _frames++;
            _bytes += bytes;
            return true;
        }
    }
}
