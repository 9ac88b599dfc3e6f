using Google.Protobuf;
using Google.Protobuf.Reflection;
using Grpc.Core;
using Grpc.Reflection.V1;
using Hub.TestKit;
using Microsoft.AspNetCore.Builder;
using Microsoft.Extensions.DependencyInjection;
using V1Alpha = Grpc.Reflection.V1Alpha;

namespace Hub.GrpcRuntime.Tests;

public sealed class ReflectionTests
{
    private const string EchoFile = "echo.proto";

    [Fact]
    public async Task Reflection_EveryServiceAndImport_IsServedByFileName()
    {
        await using var server = await StartAsync();
        using var call = new ServerReflection.ServerReflectionClient(server.Channel).ServerReflectionInfo();
        async Task<ServerReflectionResponse> AskAsync(ServerReflectionRequest request)
        {
            await call.RequestStream.WriteAsync(request).Within();
            Assert.True(await call.ResponseStream.MoveNext().Within());
            return call.ResponseStream.Current;
        }

        var services = (await AskAsync(new ServerReflectionRequest { ListServices = "*" })).ListServicesResponse.Service;
        var files = new Queue<string>();
        foreach (var service in services)
        {
            var answer = await AskAsync(new ServerReflectionRequest { FileContainingSymbol = service.Name });
            files.Enqueue(FileDescriptorProto.Parser.ParseFrom(answer.FileDescriptorResponse.FileDescriptorProto[0]).Name);
        }

        var seen = new HashSet<string>();
        while (files.TryDequeue(out var name))
        {
            if (seen.Add(name))
            {
                var answer = await AskAsync(new ServerReflectionRequest { FileByFilename = name });
                var file = FileDescriptorProto.Parser.ParseFrom(answer.FileDescriptorResponse.FileDescriptorProto[0]);
                Assert.Equal(name, file.Name);
                foreach (var import in file.Dependency)
                {
                    files.Enqueue(import);
                }
            }
        }

        await call.RequestStream.CompleteAsync().Within();
        Assert.False(await call.ResponseStream.MoveNext().Within());
        Assert.Contains("grpcruntime.tests.v1.EchoService", services.Select(service => service.Name));
        Assert.Contains("google/protobuf/timestamp.proto", seen);
        Assert.Contains(EchoFile, seen);
    }

    [Fact]
    public async Task Reflection_OneAnswer_HoldsTheFileAndAllItsImports()
    {
        await using var server = await StartAsync();
        using var call = new V1Alpha.ServerReflection.ServerReflectionClient(server.Channel).ServerReflectionInfo();

        await call.RequestStream.WriteAsync(new V1Alpha.ServerReflectionRequest { FileByFilename = EchoFile }).Within();
        Assert.True(await call.ResponseStream.MoveNext().Within());
        var files = call.ResponseStream.Current.FileDescriptorResponse.FileDescriptorProto
            .Select(file => FileDescriptorProto.Parser.ParseFrom(file).Name);

        Assert.Equal([EchoFile, "google/protobuf/timestamp.proto"], files);
    }

    [Fact]
    public async Task Reflection_UnknownNames_AreNotFound()
    {
        await using var server = await StartAsync();
        using var call = new ServerReflection.ServerReflectionClient(server.Channel).ServerReflectionInfo();
        foreach (var request in (ServerReflectionRequest[])
        [
            new() { FileByFilename = "nothing.proto" },
            new() { FileContainingSymbol = "no.Such" },
            new() { AllExtensionNumbersOfType = "no.Such" },
        ])
        {
            await call.RequestStream.WriteAsync(request).Within();
            Assert.True(await call.ResponseStream.MoveNext().Within());
            Assert.Equal((int)StatusCode.NotFound, call.ResponseStream.Current.ErrorResponse.ErrorCode);
            Assert.Equal(request.ToByteString(), call.ResponseStream.Current.OriginalRequest.ToByteString());
        }
    }

    private static Task<EchoServer> StartAsync() => EchoServer.StartAsync(
        services: services => services.AddGrpcReflection(), map: app => app.MapGrpcReflectionService());
}
