using System.Text.Json;
using Google.Protobuf;
using Google.Protobuf.WellKnownTypes;
using Google.Rpc;
using Grpc.Core;
using Microsoft.AspNetCore.Builder;
using Microsoft.Extensions.DependencyInjection;

namespace Hub.GrpcRuntime.Tests;

/// <summary>Programs of other makers against our server.</summary>
public sealed class InteropTests
{
    private const string Service = "grpcruntime.tests.v1.EchoService";

    private static readonly Google.Rpc.Status Rich = new()
    {
        Code = (int)Code.FailedPrecondition,
        Message = "not yet",
        Details = { Any.Pack(new ErrorInfo { Reason = "TOO_EARLY", Domain = "tests" }) },
    };

    [Fact]
    public async Task JavaScriptClient_AllKindsOfCalls_SeesWhatTheServerDid()
    {
        var script = new EchoScript
        {
            Unary = async (request, context) =>
            {
                switch (request.Text)
                {
                    case "wait":
                        await EchoScript.UntilCancelledAsync(context.CancellationToken);
                        break;
                    case "fail":
                        throw Rich.ToRpcException();
                }

                var own = new Metadata();
                foreach (var entry in context.RequestHeaders.Where(entry => entry.Key.StartsWith("x-", StringComparison.Ordinal)))
                {
                    own.Add(entry);
                    context.ResponseTrailers.Add(entry);
                }

                await context.WriteResponseHeadersAsync(own);
                return EchoScript.Echo(request);
            },
        };
        await using var server = await EchoServer.StartAsync(script, options => options.ResponseCompressionAlgorithm = "gzip");

        var output = await NodeTools.RunNodeAsync(
            Path.Combine(NodeTools.TestFolder, "interop", "echo-client.js"),
            new Uri(server.Address).Authority,
            Path.Combine(NodeTools.TestFolder, "echo.proto"));
        using var json = JsonDocument.Parse(output);

        void Expect(string name, string expected) =>
            Assert.Equal($"{name}: {expected}", $"{name}: {json.RootElement.GetProperty(name).GetRawText()}");

        Expect(
            "unary",
            """{"code":0,"text":"hello","headerText":["value"],"headerBytes":[[0,1,254,255]],"trailerBytes":[[0,1,254,255]]}""");
        Expect("serverStream", """{"code":0,"count":1000,"last":999}""");
        Expect("clientStream", """{"count":1000}""");
        Expect("duplex", """{"code":0,"inOrder":true}""");
        Expect("deadline", """{"code":4}""");
        Expect("cancel", """{"code":1}""");
        Assert.Equal(
            Rich.ToByteArray(),
            json.RootElement.GetProperty("error").GetProperty("statusDetails")[0].GetBytesFromBase64());
        Assert.Equal((int)StatusCode.FailedPrecondition, json.RootElement.GetProperty("error").GetProperty("code").GetInt32());
        Assert.Equal("not yet", json.RootElement.GetProperty("error").GetProperty("details").GetString());
        Expect("tooLarge", """{"code":8}""");
        Expect("gzip", """{"code":0,"length":100000}""");
        Expect("unimplemented", """{"code":12}""");
        Assert.True(server.Log.Errors.Count == 0, string.Join('\n', server.Log.Errors));
    }

    [Theory]
    [InlineData("grpc-v1")]
    [InlineData("grpc-v1alpha")]
    public async Task BufCurl_ThroughReflection_ListsServicesAndMethods(string reflection)
    {
        await using var server = await StartReflectedAsync();

        var services = await CurlAsync(null, "--reflect-protocol", reflection, "--list-services", server.Address);
        var methods = await CurlAsync(null, "--reflect-protocol", reflection, "--list-methods", server.Address);

        Assert.Contains(Service, services, StringComparison.Ordinal);
        Assert.Contains("grpc.health.v1.Health", services, StringComparison.Ordinal);
        Assert.Contains($"{Service}/Duplex", methods, StringComparison.Ordinal);
    }

    [Fact]
    public async Task BufCurl_ThroughReflection_MakesCalls()
    {
        await using var server = await StartReflectedAsync();

        var unary = await CurlAsync(
            null, "-d", """{"text":"hello","sent_at":"2030-01-01T00:00:00Z"}""", $"{server.Address}/{Service}/Unary");
        var stream = await CurlAsync(null, "-d", """{"text":"s","count":3}""", $"{server.Address}/{Service}/ServerStream");
        var duplex = await CurlAsync("""{"text":"a"}{"text":"b"}""", "-d", "@-", $"{server.Address}/{Service}/Duplex");

        Assert.Contains("\"hello\"", unary, StringComparison.Ordinal);
        Assert.Equal(3, stream.Split("\"text\"").Length - 1);
        Assert.Contains("\"a\"", duplex, StringComparison.Ordinal);
        Assert.Contains("\"b\"", duplex, StringComparison.Ordinal);
    }

    private static Task<EchoServer> StartReflectedAsync() => EchoServer.StartAsync(
        services: services =>
        {
            services.AddGrpcReflection();
            services.AddGrpcHealthChecks();
        },
        map: app =>
        {
            app.MapGrpcReflectionService();
            app.MapGrpcHealthChecksService();
        });

    private static Task<string> CurlAsync(string? input, params string[] arguments) =>
        NodeTools.RunBufAsync(input, ["curl", "--protocol", "grpc", "--http2-prior-knowledge", .. arguments]);
}
