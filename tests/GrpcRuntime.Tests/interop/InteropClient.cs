using System.Collections.Concurrent;
using Google.Protobuf;
using Grpc.Core;
using Grpc.Net.Client;
using Grpc.Testing;
using Hub.TestKit;

namespace Hub.GrpcRuntime.Tests;

/// <summary>The client side of the public interoperability cases; a case that returns has passed.</summary>
internal sealed class InteropClient : IDisposable
{
    private const string EchoInitial = "x-grpc-test-echo-initial";
    private const string EchoTrailing = "x-grpc-test-echo-trailing-bin";
    private const int LargeRequestBytes = 271_828;
    private const int LargeResponseBytes = 314_159;

    private static readonly int[] RequestSizes = [27_182, 8, 1_828, 45_904];
    private static readonly int[] ResponseSizes = [31_415, 9, 2_653, 58_979];

    private readonly ConcurrentQueue<bool> _responseFlags = new();
    private readonly bool _peerSeesFlags;
    private readonly GrpcChannel _channel;
    private readonly GrpcChannel _tappedChannel;
    private readonly TestService.TestServiceClient _client;

    /// <param name="address">The server.</param>
    /// <param name="peerSeesFlags">Whether the server can tell compressed messages from others and refuses the wrong ones.</param>
    public InteropClient(string address, bool peerSeesFlags)
    {
        _peerSeesFlags = peerSeesFlags;
        _channel = GrpcChannel.ForAddress(address);
        _tappedChannel = GrpcChannel.ForAddress(
            address,
            new GrpcChannelOptions
            {
                HttpHandler = new TappingHandler(new SocketsHttpHandler { UseProxy = false }, _responseFlags),
                DisposeHttpClient = true,
            });
        _client = new TestService.TestServiceClient(_channel);
    }

    public Task RunAsync(string name) => name switch
    {
        "empty_unary" => EmptyUnaryAsync(),
        "large_unary" => LargeUnaryAsync(),
        "client_compressed_unary" => ClientCompressedUnaryAsync(),
        "client_compressed_streaming" => ClientCompressedStreamingAsync(),
        "server_compressed_unary" => ServerCompressedUnaryAsync(),
        "server_compressed_streaming" => ServerCompressedStreamingAsync(),
        "client_streaming" => ClientStreamingAsync(),
        "server_streaming" => ServerStreamingAsync(),
        "ping_pong" => PingPongAsync(),
        "empty_stream" => EmptyStreamAsync(),
        "custom_metadata" => CustomMetadataAsync(),
        "status_code_and_message" => StatusAsync("test status message"),
        "special_status_message" => StatusAsync("\t\ntest with whitespace\r\nand Unicode BMP \u263A and non-BMP \U0001F608\t\n"),
        "unimplemented_method" => UnimplementedMethodAsync(),
        "unimplemented_service" => UnimplementedServiceAsync(),
        "cancel_after_begin" => CancelAfterBeginAsync(),
        "cancel_after_first_response" => CancelAfterFirstResponseAsync(),
        "timeout_on_sleeping_server" => TimeoutOnSleepingServerAsync(),
        "concurrent_large_unary" => ConcurrentLargeUnaryAsync(),
        "rpc_soak" => RpcSoakAsync(),
        _ => throw new ArgumentOutOfRangeException(nameof(name), name, "There is no such case."),
    };

    public void Dispose()
    {
        _channel.Dispose();
        _tappedChannel.Dispose();
    }

    private static Payload Zeros(int bytes) => new() { Body = UnsafeByteOperations.UnsafeWrap(new byte[bytes]) };

    private static void AssertZeros(int bytes, Payload payload)
    {
        Assert.Equal(bytes, payload.Body.Length);
        Assert.False(payload.Body.Span.ContainsAnyExcept((byte)0));
    }

    private static Metadata Gzip() => new() { { "grpc-internal-encoding-request", "gzip" } };

    private static StreamingOutputCallRequest OutputRequest(int responseBytes, int requestBytes) =>
        new() { ResponseParameters = { new ResponseParameters { Size = responseBytes } }, Payload = Zeros(requestBytes) };

    private static async Task<Status> StatusOfAsync(Func<Task> call) =>
        (await Assert.ThrowsAsync<RpcException>(() => call().Within())).Status;

    private async Task EmptyUnaryAsync() => Assert.Equal(new Empty(), await _client.EmptyCallAsync(new Empty()).ResponseAsync.Within());

    private async Task LargeUnaryAsync()
    {
        var request = new SimpleRequest { ResponseSize = LargeResponseBytes, Payload = Zeros(LargeRequestBytes) };
        AssertZeros(LargeResponseBytes, (await _client.UnaryCallAsync(request).ResponseAsync.Within()).Payload);
    }

    private async Task ClientCompressedUnaryAsync()
    {
        SimpleRequest Request(bool compressed) => new()
        {
            ExpectCompressed = new BoolValue { Value = compressed },
            ResponseSize = LargeResponseBytes,
            Payload = Zeros(LargeRequestBytes),
        };
        var plain = new CallOptions(Gzip(), writeOptions: new WriteOptions(WriteFlags.NoCompress));
        if (_peerSeesFlags)
        {
            var status = await StatusOfAsync(() => _client.UnaryCallAsync(Request(compressed: true), plain).ResponseAsync);
            Assert.Equal(StatusCode.InvalidArgument, status.StatusCode);
        }

        AssertZeros(LargeResponseBytes, (await _client.UnaryCallAsync(Request(compressed: true), Gzip()).ResponseAsync.Within()).Payload);
        AssertZeros(LargeResponseBytes, (await _client.UnaryCallAsync(Request(compressed: false), plain).ResponseAsync.Within()).Payload);
    }

    private async Task ClientCompressedStreamingAsync()
    {
        static StreamingInputCallRequest Request(bool compressed, int bytes) =>
            new() { ExpectCompressed = new BoolValue { Value = compressed }, Payload = Zeros(bytes) };
        if (_peerSeesFlags)
        {
            using var refused = _client.StreamingInputCall(Gzip());
            refused.RequestStream.WriteOptions = new WriteOptions(WriteFlags.NoCompress);
            await refused.RequestStream.WriteAsync(Request(compressed: true, RequestSizes[0])).Within();
            await refused.RequestStream.CompleteAsync().Within();
            Assert.Equal(StatusCode.InvalidArgument, (await StatusOfAsync(() => refused.ResponseAsync)).StatusCode);
        }

        using var call = _client.StreamingInputCall(Gzip());
        await call.RequestStream.WriteAsync(Request(compressed: true, RequestSizes[0])).Within();
        call.RequestStream.WriteOptions = new WriteOptions(WriteFlags.NoCompress);
        await call.RequestStream.WriteAsync(Request(compressed: false, RequestSizes[3])).Within();
        await call.RequestStream.CompleteAsync().Within();
        Assert.Equal(RequestSizes[0] + RequestSizes[3], (await call.ResponseAsync.Within()).AggregatedPayloadSize);
    }

    private async Task ServerCompressedUnaryAsync()
    {
        var client = new TestService.TestServiceClient(_tappedChannel);
        foreach (var compressed in (bool[])[true, false])
        {
            var request = new SimpleRequest
            {
                ResponseCompressed = new BoolValue { Value = compressed },
                ResponseSize = LargeResponseBytes,
                Payload = Zeros(LargeRequestBytes),
            };
            AssertZeros(LargeResponseBytes, (await client.UnaryCallAsync(request).ResponseAsync.Within()).Payload);
            Assert.True(_responseFlags.TryDequeue(out var flag));
            Assert.Equal(compressed, flag);
        }
    }

    private async Task ServerCompressedStreamingAsync()
    {
        var request = new StreamingOutputCallRequest
        {
            ResponseParameters =
            {
                new ResponseParameters { Compressed = new BoolValue { Value = true }, Size = ResponseSizes[0] },
                new ResponseParameters { Compressed = new BoolValue { Value = false }, Size = 92_653 },
            },
        };
        using var call = new TestService.TestServiceClient(_tappedChannel).StreamingOutputCall(request);
        var payloads = await call.ResponseStream.ReadAllAsync().Select(response => response.Payload).ToListAsync().AsTask().Within();

        Assert.Equal(2, payloads.Count);
        AssertZeros(ResponseSizes[0], payloads[0]);
        AssertZeros(92_653, payloads[1]);
        Assert.Equal([true, false], _responseFlags);
    }

    private async Task ClientStreamingAsync()
    {
        using var call = _client.StreamingInputCall();
        foreach (var bytes in RequestSizes)
        {
            await call.RequestStream.WriteAsync(new StreamingInputCallRequest { Payload = Zeros(bytes) }).Within();
        }

        await call.RequestStream.CompleteAsync().Within();
        Assert.Equal(RequestSizes.Sum(), (await call.ResponseAsync.Within()).AggregatedPayloadSize);
    }

    private async Task ServerStreamingAsync()
    {
        var request = new StreamingOutputCallRequest { ResponseParameters = { ResponseSizes.Select(size => new ResponseParameters { Size = size }) } };
        using var call = _client.StreamingOutputCall(request);
        var payloads = await call.ResponseStream.ReadAllAsync().Select(response => response.Payload).ToListAsync().AsTask().Within();

        Assert.Equal(ResponseSizes.Length, payloads.Count);
        foreach (var (size, payload) in ResponseSizes.Zip(payloads))
        {
            AssertZeros(size, payload);
        }
    }

    private async Task PingPongAsync()
    {
        using var call = _client.FullDuplexCall();
        foreach (var (requestBytes, responseBytes) in RequestSizes.Zip(ResponseSizes))
        {
            await call.RequestStream.WriteAsync(OutputRequest(responseBytes, requestBytes)).Within();
            Assert.True(await call.ResponseStream.MoveNext().Within());
            AssertZeros(responseBytes, call.ResponseStream.Current.Payload);
        }

        await call.RequestStream.CompleteAsync().Within();
        Assert.False(await call.ResponseStream.MoveNext().Within());
        Assert.Equal(StatusCode.OK, call.GetStatus().StatusCode);
    }

    private async Task EmptyStreamAsync()
    {
        using var call = _client.FullDuplexCall();
        await call.RequestStream.CompleteAsync().Within();
        Assert.False(await call.ResponseStream.MoveNext().Within());
        Assert.Equal(StatusCode.OK, call.GetStatus().StatusCode);
    }

    private async Task CustomMetadataAsync()
    {
        const string Text = "test_initial_metadata_value";
        byte[] bytes = [0xab, 0xab, 0xab];
        Metadata metadata = new() { { EchoInitial, Text }, { EchoTrailing, bytes } };

        using var unary = _client.UnaryCallAsync(
            new SimpleRequest { ResponseSize = LargeResponseBytes, Payload = Zeros(LargeRequestBytes) }, metadata);
        await unary.ResponseAsync.Within();
        Assert.Equal(Text, (await unary.ResponseHeadersAsync.Within()).GetValue(EchoInitial));
        Assert.Equal(bytes, unary.GetTrailers().GetValueBytes(EchoTrailing));

        using var duplex = _client.FullDuplexCall(metadata);
        await duplex.RequestStream.WriteAsync(OutputRequest(LargeResponseBytes, LargeRequestBytes)).Within();
        await duplex.RequestStream.CompleteAsync().Within();
        Assert.True(await duplex.ResponseStream.MoveNext().Within());
        Assert.False(await duplex.ResponseStream.MoveNext().Within());
        Assert.Equal(Text, (await duplex.ResponseHeadersAsync.Within()).GetValue(EchoInitial));
        Assert.Equal(bytes, duplex.GetTrailers().GetValueBytes(EchoTrailing));
    }

    private async Task StatusAsync(string message)
    {
        var expected = new Status(StatusCode.Unknown, message);
        var echo = new EchoStatus { Code = (int)StatusCode.Unknown, Message = message };
        Assert.Equal(expected, await StatusOfAsync(() => _client.UnaryCallAsync(new SimpleRequest { ResponseStatus = echo }).ResponseAsync));

        using var duplex = _client.FullDuplexCall();
        await duplex.RequestStream.WriteAsync(new StreamingOutputCallRequest { ResponseStatus = echo }).Within();
        await duplex.RequestStream.CompleteAsync().Within();
        Assert.Equal(expected, await StatusOfAsync(() => duplex.ResponseStream.MoveNext()));
    }

    private async Task UnimplementedMethodAsync() =>
        Assert.Equal(
            StatusCode.Unimplemented,
            (await StatusOfAsync(() => _client.UnimplementedCallAsync(new Empty()).ResponseAsync)).StatusCode);

    private async Task UnimplementedServiceAsync() =>
        Assert.Equal(
            StatusCode.Unimplemented,
            (await StatusOfAsync(
                () => new UnimplementedService.UnimplementedServiceClient(_channel).UnimplementedCallAsync(new Empty()).ResponseAsync)).StatusCode);

    private async Task CancelAfterBeginAsync()
    {
        using var cancellation = new CancellationTokenSource();
        using var call = _client.StreamingInputCall(cancellationToken: cancellation.Token);
        await cancellation.CancelAsync();
        Assert.Equal(StatusCode.Cancelled, (await StatusOfAsync(() => call.ResponseAsync)).StatusCode);
    }

    private async Task CancelAfterFirstResponseAsync()
    {
        using var cancellation = new CancellationTokenSource();
        using var call = _client.FullDuplexCall(cancellationToken: cancellation.Token);
        await call.RequestStream.WriteAsync(OutputRequest(ResponseSizes[0], RequestSizes[0])).Within();
        Assert.True(await call.ResponseStream.MoveNext().Within());
        await cancellation.CancelAsync();
        Assert.Equal(StatusCode.Cancelled, (await StatusOfAsync(() => call.ResponseStream.MoveNext())).StatusCode);
    }

    private async Task TimeoutOnSleepingServerAsync()
    {
        // One millisecond is the case's own figure: the server, which answers nothing by itself, cannot end the call before.
        using var call = _client.FullDuplexCall(deadline: TimeProvider.System.GetUtcNow().UtcDateTime.AddMilliseconds(1));
        try
        {
            await call.RequestStream.WriteAsync(new StreamingOutputCallRequest { Payload = Zeros(RequestSizes[0]) }).Within();
        }
        catch (RpcException exception)
        {
            // The call may be over before the write; the case asks for the status of the call.
            Assert.Equal(StatusCode.DeadlineExceeded, exception.StatusCode);
        }

        Assert.Equal(StatusCode.DeadlineExceeded, (await StatusOfAsync(() => call.ResponseStream.MoveNext())).StatusCode);
    }

    private Task ConcurrentLargeUnaryAsync() => Task.WhenAll(Enumerable.Range(0, 50).Select(_ => LargeUnaryAsync()));

    private async Task RpcSoakAsync()
    {
        for (var i = 0; i < 200; i++)
        {
            await LargeUnaryAsync();
        }
    }
}
