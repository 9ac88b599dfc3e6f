using Microsoft.AspNetCore.Http;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Options;

namespace Grpc.AspNetCore.Server;

/// <summary>
/// Knows which types are registered as singletons. Those come from the root, so that a call whose service and interceptors are singletons
/// makes no scope: a hundred thousand idle streams would keep as many.
/// </summary>
/// <param name="registrations">The registrations of the application.</param>
/// <param name="root">The services of the application.</param>
internal sealed class SingletonServices(IServiceCollection registrations, IServiceProvider root)
{
    private readonly HashSet<Type> _types =
    [
        .. registrations
            .Where(registration => !registration.IsKeyedService)
            .GroupBy(registration => registration.ServiceType)
            .Where(group => group.Last().Lifetime == ServiceLifetime.Singleton)
            .Select(group => group.Key),
    ];

    /// <summary>Where a call takes an instance of a type from.</summary>
    public IServiceProvider ProviderOf(Type type, HttpContext httpContext) =>
        _types.Contains(type) ? root : httpContext.RequestServices;
}

/// <summary>Hands the singletons to the options, from which every method has them.</summary>
internal sealed class SingletonServicesSetup(SingletonServices singletons) : IPostConfigureOptions<GrpcServiceOptions>
{
    public void PostConfigure(string? name, GrpcServiceOptions options) => options.Singletons = singletons;
}
