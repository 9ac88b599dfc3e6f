namespace Grpc.Core.Interceptors;

/// <summary>What a client interceptor may look at and change.</summary>
/// <typeparam name="TRequest">Request message.</typeparam>
/// <typeparam name="TResponse">Response message.</typeparam>
/// <param name="method">The method called.</param>
/// <param name="host">The host called by name; null for the channel's.</param>
/// <param name="options">The options of the call.</param>
public struct ClientInterceptorContext<TRequest, TResponse>(Method<TRequest, TResponse> method, string? host, CallOptions options)
    where TRequest : class
    where TResponse : class
{
    /// <summary>The method called.</summary>
    public readonly Method<TRequest, TResponse> Method { get; } = method;

    /// <summary>The host called by name; null for the channel's.</summary>
    public readonly string? Host { get; } = host;

    /// <summary>The options of the call.</summary>
    public readonly CallOptions Options { get; } = options;
}
