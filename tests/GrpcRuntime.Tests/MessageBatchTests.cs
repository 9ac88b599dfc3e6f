using Grpc.AspNetCore.Server;
using Grpc.Core;
using GrpcRuntime.Tests.V1;
using Hub.TestKit;

namespace Hub.GrpcRuntime.Tests;

public sealed class MessageBatchTests
{
    [Theory]
    [InlineData(null)]
    [InlineData("gzip")]
    public async Task Batch_OnAStream_ArrivesAsItsMessages(string? compression)
    {
        EchoResponse[] messages = [.. Enumerable.Range(0, 100).Select(i => new EchoResponse { Text = new string('x', 100 * i), Count = i })];
        var batch = new MessageBatch<EchoResponse>(messages);
        var script = new EchoScript
        {
            ServerStream = async (_, responses, context) =>
            {
                await responses.WriteAsync(new EchoResponse { Text = "before" });
                await responses.WriteBatchAsync(batch, context.CancellationToken);
                await responses.WriteAsync(new EchoResponse { Text = "after" });
            },
        };
        await using var server = await EchoServer.StartAsync(script, options => options.ResponseCompressionAlgorithm = compression);

        for (var stream = 0; stream < 2; stream++)
        {
            using var call = server.Client.ServerStream(new EchoRequest());
            var got = await call.ResponseStream.ReadAllAsync().ToListAsync().AsTask().Within();
            Assert.Equal([new() { Text = "before" }, .. messages, new() { Text = "after" }], got);
        }
    }

    [Fact]
    public async Task Batch_WithAMessageThatIsTooLarge_FailsTheCall()
    {
        var batch = new MessageBatch<EchoResponse>([new() { Text = "small" }, new() { Text = new string('x', 2_000) }]);
        var script = new EchoScript { ServerStream = (_, responses, context) => responses.WriteBatchAsync(batch, context.CancellationToken) };
        await using var server = await EchoServer.StartAsync(script, options => options.MaxSendMessageSize = 1_000);

        using var call = server.Client.ServerStream(new EchoRequest());

        var failure = await Assert.ThrowsAsync<RpcException>(() => call.ResponseStream.MoveNext().Within());
        Assert.Equal(StatusCode.ResourceExhausted, failure.StatusCode);
    }

    [Fact]
    public void Form_ForMany_IsMadeOnce()
    {
        var made = 0;
        var batch = new MessageBatch<string>(["a", "b"]);
        byte[] Encode(IReadOnlyList<string> messages) => [(byte)++made, (byte)messages.Count];

        var forms = Enumerable.Range(0, 3).Select(_ => batch.In(("form", 1), Encode).ToArray()).ToArray();

        Assert.All(forms, form => Assert.Equal([1, 2], form));
        Assert.Equal([2, 2], batch.In(("form", 2), Encode).ToArray());
    }
}
