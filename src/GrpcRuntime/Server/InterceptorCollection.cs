using System.Collections.ObjectModel;
using System.Diagnostics.CodeAnalysis;
using Grpc.Core.Interceptors;
using Microsoft.Extensions.DependencyInjection;

namespace Grpc.AspNetCore.Server;

/// <summary>Interceptors in the order they run.</summary>
public class InterceptorCollection : Collection<InterceptorRegistration>
{
    /// <summary>Adds an interceptor by type.</summary>
    /// <typeparam name="TInterceptor">The interceptor.</typeparam>
    /// <param name="args">Constructor arguments; the others come from the services.</param>
    public void Add<TInterceptor>(params object[] args)
        where TInterceptor : Interceptor => Add(typeof(TInterceptor), args);

    /// <summary>Adds an interceptor by type.</summary>
    /// <param name="interceptorType">The interceptor.</param>
    /// <param name="args">Constructor arguments; the others come from the services.</param>
    public void Add(Type interceptorType, params object[] args)
    {
        ArgumentNullException.ThrowIfNull(interceptorType);
        if (!interceptorType.IsSubclassOf(typeof(Interceptor)))
        {
            throw new ArgumentException($"{interceptorType} is no interceptor.", nameof(interceptorType));
        }

        Add(new InterceptorRegistration(interceptorType, args));
    }
}

/// <summary>An interceptor to make for each call, or to take from the services if they know its type.</summary>
public class InterceptorRegistration
{
    private readonly object[] _arguments;
    private readonly Lazy<ObjectFactory> _factory;

    internal InterceptorRegistration(Type type, object[] arguments)
    {
        Type = type;
        _arguments = arguments;
        _factory = new(() => ActivatorUtilities.CreateFactory(type, [.. arguments.Select(argument => argument.GetType())]));
    }

    /// <summary>The interceptor.</summary>
    public Type Type { get; }

    /// <summary>Constructor arguments that do not come from the services.</summary>
    public IReadOnlyList<object> Arguments => _arguments;

    internal Lease Rent(IServiceProvider services)
    {
        if (_arguments.Length == 0 && services.GetService(Type) is Interceptor known)
        {
            return new Lease(known, isOwned: false);
        }

        return new Lease((Interceptor)_factory.Value(services, _arguments), isOwned: true);
    }

    /// <summary>An interceptor for the time of one call.</summary>
    [SuppressMessage("Performance", "CA1815", Justification = "Leases are never compared.")]
    internal readonly struct Lease(Interceptor interceptor, bool isOwned) : IAsyncDisposable
    {
        public Interceptor Interceptor { get; } = interceptor;

        public ValueTask DisposeAsync()
        {
            if (isOwned)
            {
                switch (Interceptor)
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
}
