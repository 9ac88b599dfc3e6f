using Google.Protobuf.Reflection;
using Google.Protobuf.WellKnownTypes;
using Google.Rpc;
using Grpc.Core;
using Hub.Contracts.V1;
using Hub.Options.V1;
using Hub.Storage;

namespace Hub.Errors;

/// <summary>Reads from error_reason.proto which status a reason has, and writes refusals as google.rpc.Status.</summary>
internal static class ErrorStatuses
{
    /// <summary>Domain of every ErrorInfo the Hub sends.</summary>
    public const string Domain = "hub";

    private static readonly Dictionary<ErrorReason, StatusCode> Codes = ErrorReasonReflection.Descriptor.EnumTypes
        .Single(type => type.ClrType == typeof(ErrorReason)).Values
        .ToDictionary(value => (ErrorReason)value.Number, CodeOf);

    public static StatusCode CodeOf(ErrorReason reason) => Codes[reason];

    public static RpcException ToRpcException(HubException refusal)
    {
        var info = new ErrorInfo { Domain = Domain, Reason = EnumText<ErrorReason>.Of(refusal.Reason) };
        foreach (var (key, value) in refusal.Metadata)
        {
            info.Metadata[key] = value;
        }

        var status = new Google.Rpc.Status { Code = (int)CodeOf(refusal.Reason), Message = refusal.Message, Details = { Any.Pack(info) } };
        if (refusal.RetryAfter is { } wait)
        {
            status.Details.Add(Any.Pack(new RetryInfo { RetryDelay = Duration.FromTimeSpan(wait) }));
        }

        return status.ToRpcException();
    }

    private static StatusCode CodeOf(EnumValueDescriptor value) =>
        value.GetOptions()?.GetExtension(RestExtensions.ErrorStatus) is { } status
            ? (StatusCode)status.Grpc
            : throw new InvalidOperationException($"{value.Name} has no error_status option.");
}
