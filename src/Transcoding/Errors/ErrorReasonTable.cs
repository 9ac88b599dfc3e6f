using System.Collections.Frozen;
using Google.Protobuf.Reflection;
using Hub.Options.V1;
using Hub.Transcoding.Json;

namespace Hub.Transcoding.Errors;

/// <summary>HTTP statuses of errors: by reason where the contract knows it, else by gRPC status.</summary>
internal sealed class ErrorReasonTable(EnumDescriptor? reasons)
{
    private readonly FrozenDictionary<string, int> _statuses = (reasons?.Values ?? [])
        .Select(value => (Reason: EnumNames.Short(value), Status: value.GetOptions()?.GetExtension(RestExtensions.ErrorStatus)))
        .Where(entry => entry.Status is { Http: > 0 })
        .ToFrozenDictionary(entry => entry.Reason, entry => entry.Status!.Http);

    public int HttpStatus(Grpc.Core.StatusCode code, string? reason) =>
        reason is not null && _statuses.TryGetValue(reason, out var status) ? status : StatusCodes.ToHttp(code);
}
