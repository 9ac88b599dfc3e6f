using Google.Protobuf;

namespace Grpc.Core
{
    /// <summary>Rich errors: <see cref="Google.Rpc.Status"/> in the trailer grpc-status-details-bin.</summary>
    public static class RpcStatusExtensions
    {
        internal const string DetailsTrailer = "grpc-status-details-bin";

        /// <summary>An exception with code, text and details of the status.</summary>
        public static RpcException ToRpcException(this Google.Rpc.Status status)
        {
            ArgumentNullException.ThrowIfNull(status);
            return status.ToRpcException((StatusCode)status.Code, status.Message);
        }

        /// <summary>An exception with the details of the status but its own code and text.</summary>
        public static RpcException ToRpcException(this Google.Rpc.Status status, StatusCode statusCode, string message)
        {
            var trailers = new Metadata();
            trailers.SetRpcStatus(status);
            return new RpcException(new Status(statusCode, message), trailers);
        }

        /// <summary>The details that came with an exception, or null.</summary>
        /// <param name="exception">The exception.</param>
        /// <param name="ignoreParseError">Whether details that cannot be read count as none.</param>
        public static Google.Rpc.Status? GetRpcStatus(this RpcException exception, bool ignoreParseError = false)
        {
            ArgumentNullException.ThrowIfNull(exception);
            return exception.Trailers.GetRpcStatus(ignoreParseError);
        }

        /// <summary>The details in trailers, or null.</summary>
        /// <param name="metadata">The trailers.</param>
        /// <param name="ignoreParseError">Whether details that cannot be read count as none.</param>
        public static Google.Rpc.Status? GetRpcStatus(this Metadata metadata, bool ignoreParseError = false)
        {
            ArgumentNullException.ThrowIfNull(metadata);
            if (metadata.Get(DetailsTrailer) is not { } entry)
            {
                return null;
            }

            try
            {
                return Google.Rpc.Status.Parser.ParseFrom(entry.ValueBytes);
            }
            catch (InvalidProtocolBufferException) when (ignoreParseError)
            {
                return null;
            }
        }

        /// <summary>Puts the details into trailers, replacing those that are there.</summary>
        public static void SetRpcStatus(this Metadata metadata, Google.Rpc.Status status)
        {
            ArgumentNullException.ThrowIfNull(metadata);
            ArgumentNullException.ThrowIfNull(status);
            while (metadata.Get(DetailsTrailer) is { } old)
            {
                metadata.Remove(old);
            }

            metadata.Add(DetailsTrailer, status.ToByteArray());
        }
    }
}

namespace Google.Rpc
{
    public partial class Status
    {
        /// <summary>The first detail of that type, or null.</summary>
        /// <typeparam name="T">The detail, such as <see cref="ErrorInfo"/>.</typeparam>
        public T? GetDetail<T>()
            where T : class, IMessage<T>, new()
        {
            foreach (var any in Details)
            {
                if (any.TryUnpack<T>(out var detail))
                {
                    return detail;
                }
            }

            return null;
        }
    }
}
