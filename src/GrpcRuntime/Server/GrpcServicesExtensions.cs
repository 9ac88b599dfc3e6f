using Grpc.AspNetCore.Server;
using Grpc.AspNetCore.Server.Model;
using Microsoft.AspNetCore.Connections;
using Microsoft.Extensions.DependencyInjection.Extensions;
using Microsoft.Extensions.Options;

namespace Grpc.AspNetCore.Server
{
    using Microsoft.Extensions.DependencyInjection;

    /// <summary>Goes on configuring the gRPC server.</summary>
    public interface IGrpcServerBuilder
    {
        /// <summary>The services of the application.</summary>
        public IServiceCollection Services { get; }
    }

    internal sealed record GrpcServerBuilder(IServiceCollection Services) : IGrpcServerBuilder;
}

namespace Microsoft.Extensions.DependencyInjection
{
    /// <summary>Adds the gRPC server to an application.</summary>
    public static class GrpcServicesExtensions
    {
        /// <summary>Adds the gRPC server. Kestrel then reads and writes in blocks of 16 KB.</summary>
        public static IGrpcServerBuilder AddGrpc(this IServiceCollection services)
        {
            ArgumentNullException.ThrowIfNull(services);
            services.AddRouting();
            services.AddOptions();
            services.TryAddSingleton(TimeProvider.System);
            services.TryAddSingleton<UnimplementedEndpoint>();
            services.Replace(ServiceDescriptor.Singleton<IMemoryPoolFactory<byte>, TransportMemory>());
            services.TryAddSingleton(provider => new SingletonServices(services, provider));
            services.TryAddEnumerable(ServiceDescriptor.Singleton<IPostConfigureOptions<GrpcServiceOptions>, SingletonServicesSetup>());
            services.TryAddSingleton(typeof(IGrpcServiceActivator<>), typeof(DefaultGrpcServiceActivator<>));
            services.TryAddSingleton(typeof(ServerCallHandlerFactory<>));
            services.TryAddEnumerable(ServiceDescriptor.Singleton(typeof(IServiceMethodProvider<>), typeof(BinderServiceMethodProvider<>)));
            return new GrpcServerBuilder(services);
        }

        /// <summary>Adds the gRPC server with options for all services.</summary>
        public static IGrpcServerBuilder AddGrpc(this IServiceCollection services, Action<GrpcServiceOptions> configureOptions)
        {
            services.Configure(configureOptions);
            return services.AddGrpc();
        }

        /// <summary>Sets options of one service.</summary>
        public static IGrpcServerBuilder AddServiceOptions<TService>(
            this IGrpcServerBuilder grpcBuilder, Action<GrpcServiceOptions<TService>> configure)
            where TService : class
        {
            ArgumentNullException.ThrowIfNull(grpcBuilder);
            grpcBuilder.Services.Configure(configure);
            return grpcBuilder;
        }
    }
}
