using Google.Protobuf;
using Google.Protobuf.Reflection;
using Grpc.Core;
using Grpc.Reflection.V1;

namespace Grpc.Reflection;

/// <summary>Answers grpc.reflection.v1: which services there are, and the files that describe them, imports included.</summary>
public class ReflectionServiceImpl : ServerReflection.ServerReflectionBase
{
    private readonly string[] _services;
    private readonly SymbolRegistry _symbols;

    /// <summary>Makes the service over the services it tells of.</summary>
    public ReflectionServiceImpl(IEnumerable<ServiceDescriptor> services)
    {
        ServiceDescriptor[] all = [.. services];
        _services = [.. all.Select(service => service.FullName).Distinct().Order(StringComparer.Ordinal)];
        _symbols = SymbolRegistry.FromFiles(all.Select(service => service.File));
    }

    /// <inheritdoc/>
    public override async Task ServerReflectionInfo(
        IAsyncStreamReader<ServerReflectionRequest> requestStream,
        IServerStreamWriter<ServerReflectionResponse> responseStream,
        ServerCallContext context)
    {
        ArgumentNullException.ThrowIfNull(requestStream);
        ArgumentNullException.ThrowIfNull(responseStream);
        while (await requestStream.MoveNext().ConfigureAwait(false))
        {
            await responseStream.WriteAsync(Answer(requestStream.Current)).ConfigureAwait(false);
        }
    }

    internal ServerReflectionResponse Answer(ServerReflectionRequest request)
    {
        var response = request.MessageRequestCase switch
        {
            ServerReflectionRequest.MessageRequestOneofCase.ListServices => ListServices(),
            ServerReflectionRequest.MessageRequestOneofCase.FileByFilename =>
                Files(_symbols.FileByName(request.FileByFilename), "File not found."),
            ServerReflectionRequest.MessageRequestOneofCase.FileContainingSymbol =>
                Files(_symbols.FileContainingSymbol(request.FileContainingSymbol), "Symbol not found."),
            ServerReflectionRequest.MessageRequestOneofCase.FileContainingExtension =>
                Files(
                    _symbols.FileContainingExtension(
                        request.FileContainingExtension.ContainingType, request.FileContainingExtension.ExtensionNumber),
                    "Extension not found."),
            ServerReflectionRequest.MessageRequestOneofCase.AllExtensionNumbersOfType =>
                ExtensionNumbers(request.AllExtensionNumbersOfType),
            _ => Error(StatusCode.Unimplemented, "Request type not supported by server reflection."),
        };
        response.ValidHost = request.Host;
        response.OriginalRequest = request;
        return response;
    }

    private static ServerReflectionResponse Error(StatusCode code, string message) =>
        new() { ErrorResponse = new ErrorResponse { ErrorCode = (int)code, ErrorMessage = message } };

    private static ServerReflectionResponse Files(FileDescriptor? file, string missing)
    {
        if (file is null)
        {
            return Error(StatusCode.NotFound, missing);
        }

        // The file comes first, then its imports, so that a client can build descriptors from one answer.
        var files = new FileDescriptorResponse();
        var seen = new HashSet<string>(StringComparer.Ordinal);
        void AddWithImports(FileDescriptor next)
        {
            if (seen.Add(next.Name))
            {
                files.FileDescriptorProto.Add(next.SerializedData);
                foreach (var import in next.Dependencies)
                {
                    AddWithImports(import);
                }
            }
        }

        AddWithImports(file);
        return new ServerReflectionResponse { FileDescriptorResponse = files };
    }

    private ServerReflectionResponse ListServices()
    {
        var list = new ListServiceResponse();
        list.Service.AddRange(_services.Select(name => new ServiceResponse { Name = name }));
        return new ServerReflectionResponse { ListServicesResponse = list };
    }

    private ServerReflectionResponse ExtensionNumbers(string type)
    {
        if (_symbols.ExtensionNumbersOf(type) is not { } numbers)
        {
            return Error(StatusCode.NotFound, "Type not found.");
        }

        var response = new ExtensionNumberResponse { BaseTypeName = type };
        response.ExtensionNumber.AddRange(numbers);
        return new ServerReflectionResponse { AllExtensionNumbersResponse = response };
    }
}

/// <summary>Answers grpc.reflection.v1alpha, which older clients ask. Its messages are those of v1, byte for byte.</summary>
internal sealed class ReflectionServiceV1Alpha(ReflectionServiceImpl reflection) : V1Alpha.ServerReflection.ServerReflectionBase
{
    public override async Task ServerReflectionInfo(
        IAsyncStreamReader<V1Alpha.ServerReflectionRequest> requestStream,
        IServerStreamWriter<V1Alpha.ServerReflectionResponse> responseStream,
        ServerCallContext context)
    {
        while (await requestStream.MoveNext().ConfigureAwait(false))
        {
            var request = ServerReflectionRequest.Parser.ParseFrom(requestStream.Current.ToByteString());
            var response = reflection.Answer(request).ToByteString();
            await responseStream.WriteAsync(V1Alpha.ServerReflectionResponse.Parser.ParseFrom(response)).ConfigureAwait(false);
        }
    }
}
