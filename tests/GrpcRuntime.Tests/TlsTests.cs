using System.Net.Security;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using Grpc.Core;
using Grpc.Net.Client;
using GrpcRuntime.Tests.V1;
using Hub.TestKit;
using Microsoft.AspNetCore.Hosting;

namespace Hub.GrpcRuntime.Tests;

public sealed class TlsTests
{
    [Fact]
    public async Task Call_OverTls_CarriesCallCredentials()
    {
        using var certificate = CreateCertificate();
        string? token = null;
        var script = new EchoScript
        {
            Unary = (request, context) =>
            {
                token = context.RequestHeaders.GetValue("authorization");
                return Task.FromResult(EchoScript.Echo(request));
            },
        };
        await using var server = await EchoServer.StartAsync(script, listen: listen => listen.UseHttps(certificate));
        using var channel = GrpcChannel.ForAddress(server.Address, new GrpcChannelOptions
        {
            HttpHandler = Trusting(certificate),
            DisposeHttpClient = true,
            Credentials = ChannelCredentials.Create(
                ChannelCredentials.SecureSsl,
                CallCredentials.FromInterceptor((_, metadata) =>
                {
                    metadata.Add("authorization", "Bearer one");
                    return Task.CompletedTask;
                })),
        });

        var response = await new EchoService.EchoServiceClient(channel).UnaryAsync(new EchoRequest { Text = "safe" }).ResponseAsync.Within();

        Assert.Equal("safe", response.Text);
        Assert.Equal("Bearer one", token);
    }

    [Fact]
    public async Task Call_ToAServerThatIsNotTrusted_IsUnavailable()
    {
        using var certificate = CreateCertificate();
        await using var server = await EchoServer.StartAsync(listen: listen => listen.UseHttps(certificate));
        using var channel = GrpcChannel.ForAddress(server.Address);

        var exception = await Assert.ThrowsAsync<RpcException>(
            () => new EchoService.EchoServiceClient(channel).UnaryAsync(new EchoRequest()).ResponseAsync.Within());

        Assert.Equal(StatusCode.Unavailable, exception.StatusCode);
    }

    private static SocketsHttpHandler Trusting(X509Certificate2 certificate) => new()
    {
        UseProxy = false,
        SslOptions = new SslClientAuthenticationOptions
        {
            RemoteCertificateValidationCallback = (_, presented, _, _) => presented?.GetCertHashString() == certificate.GetCertHashString(),
        },
    };

    private static X509Certificate2 CreateCertificate()
    {
        using var key = ECDsa.Create(ECCurve.NamedCurves.nistP256);
        var request = new CertificateRequest("CN=localhost", key, HashAlgorithmName.SHA256);
        var now = TimeProvider.System.GetUtcNow();
        return request.CreateSelfSigned(now.AddDays(-1), now.AddDays(1));
    }
}
