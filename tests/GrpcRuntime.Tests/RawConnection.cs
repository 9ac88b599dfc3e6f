using System.Buffers.Binary;
using System.Net.Sockets;
using System.Text;
using Hub.TestKit;

namespace Hub.GrpcRuntime.Tests;

internal enum FrameType : byte
{
    Data = 0,
    Headers = 1,
    RstStream = 3,
    Settings = 4,
    Ping = 6,
    GoAway = 7,
    WindowUpdate = 8,
    Continuation = 9,
}

/// <summary>One HTTP/2 frame as it was read.</summary>
internal sealed record Http2Frame(FrameType Type, byte Flags, int StreamId, byte[] Payload)
{
    public bool EndsStream => (Flags & RawConnection.EndStream) != 0 && Type is FrameType.Data or FrameType.Headers;

    /// <summary>Error code of a reset or a GOAWAY (RFC 9113, section 7).</summary>
    public int ErrorCode => BinaryPrimitives.ReadInt32BigEndian(Payload.AsSpan(Type == FrameType.GoAway ? 4 : 0));

    /// <summary>The grpc-status in a header block; null if there is none. Kestrel writes it as plain text when told to keep no table.</summary>
    public string? GrpcStatus
    {
        get
        {
            var at = Payload.AsSpan().IndexOf("grpc-status"u8);
            if (at < 0)
            {
                return null;
            }

            var value = Payload.AsSpan(at + "grpc-status".Length);
            return Encoding.ASCII.GetString(value.Slice(1, value[0]));
        }
    }
}

/// <summary>
/// An HTTP/2 connection written and read frame by frame, for what a proper client never does. Nothing is sent or answered by itself except
/// the preface.
/// </summary>
internal sealed class RawConnection : IAsyncDisposable
{
    public const byte EndStream = 1;
    public const byte Ack = 1;
    public const byte EndHeaders = 4;

    public const ushort HeaderTableSize = 1;
    public const ushort InitialWindowSize = 4;

    private const int FrameHeaderBytes = 9;

    private readonly NetworkStream _stream;

    private RawConnection(Socket socket)
    {
        socket.NoDelay = true;
        _stream = new NetworkStream(socket, ownsSocket: true);
    }

    /// <summary>Connects and sends preface and settings; the header table is switched off so that headers can be read as text.</summary>
    public static async Task<RawConnection> OpenAsync(string address, params (ushort Id, uint Value)[] settings)
    {
        var uri = new Uri(address);
        var socket = new Socket(SocketType.Stream, ProtocolType.Tcp);
        await socket.ConnectAsync(uri.Host, uri.Port);
        var connection = new RawConnection(socket);
        await connection._stream.WriteAsync("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"u8.ToArray());
        await connection.SendSettingsAsync([(HeaderTableSize, 0), .. settings]);
        return connection;
    }

    /// <summary>Takes a connection as the server: reads the preface and sends settings.</summary>
    public static async Task<RawConnection> AcceptAsync(Socket listener)
    {
        var connection = new RawConnection(await listener.AcceptAsync().Within());
        await connection._stream.ReadExactlyAsync(new byte["PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".Length]).AsTask().Within();
        await connection.SendSettingsAsync();
        await connection.SendAsync(FrameType.Settings, Ack, 0, []);
        return connection;
    }

    public static byte[] Frame(FrameType type, byte flags, int streamId, ReadOnlySpan<byte> payload)
    {
        var frame = new byte[FrameHeaderBytes + payload.Length];
        BinaryPrimitives.WriteInt32BigEndian(frame, payload.Length << 8);
        (frame[3], frame[4]) = ((byte)type, flags);
        BinaryPrimitives.WriteInt32BigEndian(frame.AsSpan(5), streamId);
        payload.CopyTo(frame.AsSpan(FrameHeaderBytes));
        return frame;
    }

    /// <summary>A header block of plain literals: no table, no Huffman code.</summary>
    public static byte[] HeaderBlock(params (string Name, string Value)[] headers)
    {
        var block = new MemoryStream();
        void Write(string text)
        {
            // Latin1: what a test puts into a header leaves byte by byte.
            var bytes = Encoding.Latin1.GetBytes(text);
            var left = bytes.Length;
            if (left < 127)
            {
                block.WriteByte((byte)left);
            }
            else
            {
                block.WriteByte(127);
                for (left -= 127; left >= 128; left >>= 7)
                {
                    block.WriteByte((byte)(left | 128));
                }

                block.WriteByte((byte)left);
            }

            block.Write(bytes);
        }

        foreach (var (name, value) in headers)
        {
            block.WriteByte(0);
            Write(name);
            Write(value);
        }

        return block.ToArray();
    }

    public static (string Name, string Value)[] CallHeaders(string path, params (string Name, string Value)[] more) =>
    [
        (":method", "POST"), (":scheme", "http"), (":path", path), (":authority", "localhost"),
        ("content-type", "application/grpc"), ("te", "trailers"), .. more,
    ];

    public Task SendSettingsAsync(params (ushort Id, uint Value)[] settings)
    {
        var payload = new byte[settings.Length * 6];
        for (var i = 0; i < settings.Length; i++)
        {
            BinaryPrimitives.WriteUInt16BigEndian(payload.AsSpan(i * 6), settings[i].Id);
            BinaryPrimitives.WriteUInt32BigEndian(payload.AsSpan((i * 6) + 2), settings[i].Value);
        }

        return SendAsync(FrameType.Settings, 0, 0, payload);
    }

    /// <summary>Starts a call; the request follows as DATA.</summary>
    public Task StartCallAsync(int streamId, string path, params (string Name, string Value)[] more) =>
        SendAsync(FrameType.Headers, EndHeaders, streamId, HeaderBlock(CallHeaders(path, more)));

    public Task ResetAsync(int streamId, int errorCode)
    {
        var payload = new byte[4];
        BinaryPrimitives.WriteInt32BigEndian(payload, errorCode);
        return SendAsync(FrameType.RstStream, 0, streamId, payload);
    }

    public Task GrantAsync(int streamId, int bytes)
    {
        var payload = new byte[4];
        BinaryPrimitives.WriteInt32BigEndian(payload, bytes);
        return SendAsync(FrameType.WindowUpdate, 0, streamId, payload);
    }

    /// <summary>Says which calls are still taken; no error.</summary>
    public Task GoAwayAsync(int lastStreamId)
    {
        var payload = new byte[8];
        BinaryPrimitives.WriteInt32BigEndian(payload, lastStreamId);
        return SendAsync(FrameType.GoAway, 0, 0, payload);
    }

    public Task SendAsync(FrameType type, byte flags, int streamId, byte[] payload) => SendAsync(Frame(type, flags, streamId, payload));

    public async Task SendAsync(byte[] bytes, CancellationToken cancellationToken = default) =>
        await _stream.WriteAsync(bytes, cancellationToken);

    /// <summary>Reads the next frame; null at the end of the connection.</summary>
    public async Task<Http2Frame?> ReadAsync()
    {
        var header = new byte[FrameHeaderBytes];
        try
        {
            await _stream.ReadExactlyAsync(header).AsTask().Within();
            var payload = new byte[BinaryPrimitives.ReadInt32BigEndian(header) >>> 8];
            await _stream.ReadExactlyAsync(payload).AsTask().Within();
            return new Http2Frame(
                (FrameType)header[3], header[4], BinaryPrimitives.ReadInt32BigEndian(header.AsSpan(5)) & int.MaxValue, payload);
        }
        catch (Exception exception) when (exception is EndOfStreamException or IOException)
        {
            return null;
        }
    }

    /// <summary>Reads on to a frame that fits; null if the connection ends first.</summary>
    public async Task<Http2Frame?> ReadToAsync(Func<Http2Frame, bool> fits)
    {
        while (await ReadAsync() is { } frame)
        {
            if (fits(frame))
            {
                return frame;
            }
        }

        return null;
    }

    /// <summary>The status a call ends with; null if it ends by a reset or with the connection.</summary>
    public async Task<string?> ReadStatusAsync(int streamId)
    {
        var last = await ReadToAsync(frame => frame.StreamId == streamId && (frame.Type == FrameType.RstStream || frame.EndsStream));
        return last?.Type == FrameType.Headers ? last.GrpcStatus : null;
    }

    public async ValueTask DisposeAsync() => await _stream.DisposeAsync();
}
