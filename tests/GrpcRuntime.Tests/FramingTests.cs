using System.IO.Pipelines;
using Google.Protobuf;
using Grpc.Core;
using Grpc.Framing;
using GrpcRuntime.Tests.V1;
using Hub.TestKit;

namespace Hub.GrpcRuntime.Tests;

public sealed class FramingTests
{
    private static readonly Marshaller<EchoRequest> Marshaller = Marshallers.Create(
        (message, context) =>
        {
            context.SetPayloadLength(message.CalculateSize());
            message.WriteTo(context.GetBufferWriter());
            context.Complete();
        },
        context => EchoRequest.Parser.ParseFrom(context.PayloadAsReadOnlySequence()));

    [Fact]
    public async Task Reader_BytesOneByOne_FindsEveryMessage()
    {
        var pipe = new Pipe();
        var reader = new MessageReader(pipe.Reader, receiveBytesMax: null);
        byte[] bytes = [.. RawHttp2.Frame(new EchoRequest { Text = "a" }), .. RawHttp2.Frame(new EchoRequest()), .. RawHttp2.Frame(new EchoRequest { Count = 3 })];
        var writing = Task.Run(async () =>
        {
            foreach (var one in bytes)
            {
                await pipe.Writer.WriteAsync(new[] { one });
            }

            await pipe.Writer.CompleteAsync();
        });

        var messages = new List<EchoRequest>();
        while (await reader.ReadAsync(Marshaller, CancellationToken.None).AsTask().Within() is { } message)
        {
            messages.Add(message);
        }

        await writing.Within();
        Assert.Equal([new EchoRequest { Text = "a" }, new EchoRequest(), new EchoRequest { Count = 3 }], messages);
    }

    [Fact]
    public async Task Reader_SeveralMessagesAtOnce_GivesThemWithoutWaiting()
    {
        var pipe = new Pipe();
        var reader = new MessageReader(pipe.Reader, receiveBytesMax: null);
        await pipe.Writer.WriteAsync((byte[])[.. RawHttp2.Frame(new EchoRequest { Count = 1 }), .. RawHttp2.Frame(new EchoRequest { Count = 2 }), 0]);

        Assert.Equal(1, (await reader.ReadAsync(Marshaller, CancellationToken.None).AsTask().Within())?.Count);
        Assert.True(reader.TryRead(Marshaller, out var second));
        Assert.Equal(2, second?.Count);
        Assert.False(reader.TryRead(Marshaller, out _));
    }

    [Fact]
    public async Task Reader_RandomBytes_EndsWithAStatus()
    {
        const int Seed = 5;
        var random = new Random(Seed);
        for (var round = 0; round < 2000; round++)
        {
            var bytes = new byte[random.Next(0, 64)];
            random.NextBytes(bytes);
            if (bytes.Length > 3 && random.Next(2) == 0)
            {
                // Plausible headers, so that payloads are reached too.
                (bytes[0], bytes[1], bytes[2], bytes[3]) = ((byte)random.Next(2), 0, 0, 0);
            }

            var reader = new MessageReader(PipeReader.Create(new MemoryStream(bytes)), receiveBytesMax: 1024) { Encoding = "gzip" };
            try
            {
                while (await reader.ReadAsync(Marshaller, CancellationToken.None) is not null)
                {
                }
            }
            catch (RpcException exception)
            {
                Assert.True(
                    exception.StatusCode is StatusCode.Internal or StatusCode.ResourceExhausted, $"seed {Seed}, round {round}: {exception}");
            }
        }
    }

    [Fact]
    public async Task Writer_WhileTheTransportIsBusy_GathersMessages()
    {
        var pipe = new Pipe(new PipeOptions(pauseWriterThreshold: 1, resumeWriterThreshold: 1));
        var writer = new MessageWriter(sendBytesMax: null);
        writer.Start(pipe.Writer);

        for (var i = 1; i <= 3; i++)
        {
            Assert.True(writer.WriteAsync(Marshaller, new EchoRequest { Count = i }, default).IsCompletedSuccessfully);
        }

        var first = await pipe.Reader.ReadAsync().AsTask().Within();
        var frameBytes = RawHttp2.Frame(new EchoRequest { Count = 1 }).Length;
        Assert.Equal(frameBytes, first.Buffer.Length);
        pipe.Reader.AdvanceTo(first.Buffer.End);
        var rest = await pipe.Reader.ReadAsync().AsTask().Within();
        Assert.Equal(2 * frameBytes, rest.Buffer.Length);
        pipe.Reader.AdvanceTo(rest.Buffer.End);
    }

    [Fact]
    public async Task Writer_TooMuchUnsent_WaitsAndRefusesASecondWrite()
    {
        var pipe = new Pipe(new PipeOptions(pauseWriterThreshold: 1, resumeWriterThreshold: 1));
        var writer = new MessageWriter(sendBytesMax: null);
        writer.Start(pipe.Writer);
        var large = new EchoRequest { Payload = ByteString.CopyFrom(new byte[MessageWriter.UnsentBytesMax]) };

        var write = writer.WriteAsync(Marshaller, large, default);
        var second = writer.WriteAsync(Marshaller, large, default);

        Assert.False(write.IsCompleted);
        await Assert.ThrowsAsync<InvalidOperationException>(() => second);
        var read = await pipe.Reader.ReadAsync().AsTask().Within();
        pipe.Reader.AdvanceTo(read.Buffer.End);
        await write.Within();
    }

    [Fact]
    public async Task Writer_SerializerThatFails_LeavesNothingBehind()
    {
        var pipe = new Pipe();
        var writer = new MessageWriter(sendBytesMax: null);
        writer.Start(pipe.Writer);
        var failing = Marshallers.Create<EchoRequest>(
            (_, context) =>
            {
                context.GetBufferWriter().GetSpan(100)[..100].Fill(1);
                context.GetBufferWriter().Advance(100);
                throw new InvalidDataException();
            },
            _ => new EchoRequest());

        await Assert.ThrowsAsync<InvalidDataException>(() => writer.WriteAsync(failing, new EchoRequest(), default));
        await writer.WriteAsync(Marshaller, new EchoRequest { Text = "good" }, default).Within();

        var read = await pipe.Reader.ReadAsync().AsTask().Within();
        Assert.Equal(RawHttp2.Frame(new EchoRequest { Text = "good" }), System.Buffers.BuffersExtensions.ToArray(read.Buffer));
    }

    [Fact]
    public async Task Writer_Aborted_FailsWaitingAndLaterWrites()
    {
        var writer = new MessageWriter(sendBytesMax: null);
        var large = new EchoRequest { Payload = ByteString.CopyFrom(new byte[MessageWriter.UnsentBytesMax]) };

        var write = writer.WriteAsync(Marshaller, large, default);
        writer.Abort(new IOException("gone"));

        await Assert.ThrowsAsync<IOException>(() => write.Within());
        await Assert.ThrowsAsync<IOException>(() => writer.WriteAsync(Marshaller, large, default));
    }

    [Fact]
    public async Task Writer_LostTransport_IsFollowedByAnotherWithAllItTook()
    {
        var writer = new MessageWriter(sendBytesMax: null, replays: true);
        var lost = new Pipe();
        Assert.True(writer.Start(lost.Writer));
        await writer.WriteAsync(Marshaller, new EchoRequest { Count = 1 }, default).Within();
        await lost.Writer.CompleteAsync();
        await writer.WriteAsync(Marshaller, new EchoRequest { Count = 2 }, default).Within();
        await writer.DetachAsync().Within();

        var next = new Pipe();
        Assert.True(writer.Start(next.Writer));
        await writer.WriteAsync(Marshaller, new EchoRequest { Count = 3 }, default).Within();
        await next.Writer.FlushAsync();

        var read = await next.Reader.ReadAtLeastAsync(3 * RawHttp2.Frame(new EchoRequest { Count = 1 }).Length).AsTask().Within();
        byte[] expected = [.. Enumerable.Range(1, 3).SelectMany(i => RawHttp2.Frame(new EchoRequest { Count = i }))];
        Assert.Equal(expected, System.Buffers.BuffersExtensions.ToArray(read.Buffer));
    }

    [Fact]
    public async Task Writer_AfterTheAnswer_DoesNotStartOver()
    {
        var writer = new MessageWriter(sendBytesMax: null, replays: true);
        Assert.True(writer.Start(new Pipe().Writer));
        await writer.WriteAsync(Marshaller, new EchoRequest { Count = 1 }, default).Within();

        writer.StopReplay();
        await writer.DetachAsync().Within();

        Assert.False(writer.Start(new Pipe().Writer));
    }

    [Fact]
    public async Task Writer_MoreThanIsKept_DoesNotStartOver()
    {
        var pipe = new Pipe(new PipeOptions(pauseWriterThreshold: 0));
        var writer = new MessageWriter(sendBytesMax: null, replays: true);
        Assert.True(writer.Start(pipe.Writer));
        await writer.WriteAsync(Marshaller, new EchoRequest { Payload = ByteString.CopyFrom(new byte[MessageWriter.UnsentBytesMax]) }, default).Within();

        await writer.DetachAsync().Within();

        Assert.False(writer.Start(new Pipe().Writer));
    }
}
