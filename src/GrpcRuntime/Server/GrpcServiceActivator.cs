using System.Diagnostics.CodeAnalysis;
using Microsoft.Extensions.DependencyInjection;

namespace Grpc.AspNetCore.Server;

/// <summary>Makes the instance of a service that handles one call.</summary>
/// <typeparam name="TGrpcService">The service.</typeparam>
public interface IGrpcServiceActivator<TGrpcService>
    where TGrpcService : class
{
    /// <summary>Makes an instance, or takes it from the services.</summary>
    public GrpcActivatorHandle<TGrpcService> Create(IServiceProvider serviceProvider);

    /// <summary>Disposes an instance that was made.</summary>
    public ValueTask ReleaseAsync(GrpcActivatorHandle<TGrpcService> service);
}

/// <summary>An instance for the time of one call.</summary>
/// <typeparam name="T">The service.</typeparam>
/// <param name="instance">The instance.</param>
/// <param name="created">Whether it was made for this call.</param>
/// <param name="state">Anything the activator wants back on release.</param>
[SuppressMessage("Performance", "CA1815", Justification = "Handles are never compared.")]
public readonly struct GrpcActivatorHandle<T>(T instance, bool created, object? state)
{
    /// <summary>The instance.</summary>
    public T Instance { get; } = instance;

    /// <summary>Whether it was made for this call.</summary>
    public bool Created { get; } = created;

    /// <summary>Anything the activator wants back on release.</summary>
    public object? State { get; } = state;
}

internal sealed class DefaultGrpcServiceActivator<TGrpcService> : IGrpcServiceActivator<TGrpcService>
    where TGrpcService : class
{
    private readonly Lazy<ObjectFactory<TGrpcService>> _factory = new(() => ActivatorUtilities.CreateFactory<TGrpcService>([]));

    public GrpcActivatorHandle<TGrpcService> Create(IServiceProvider serviceProvider) =>
        serviceProvider.GetService<TGrpcService>() is { } known
            ? new(known, created: false, state: null)
            : new(_factory.Value(serviceProvider, []), created: true, state: null);

    public ValueTask ReleaseAsync(GrpcActivatorHandle<TGrpcService> service)
    {
        if (service.Created)
        {
            switch (service.Instance)
            {
                case IAsyncDisposable asyncDisposable:
                    return asyncDisposable.DisposeAsync();
                case IDisposable disposable:
                    disposable.Dispose();
                    break;
            }
        }

        return ValueTask.CompletedTask;
    }
}
