using System.Net.Http.Headers;
using System.Net.Http.Json;
using System.Text.Json;
using Grpc.Core;
using Grpc.Net.Client;
using Hub.Audit;
using Hub.Hosting;
using Hub.Hosts;
using Hub.Identity;
using Hub.Storage;
using Microsoft.AspNetCore.Builder;
using Microsoft.Extensions.Configuration;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Logging;

namespace Hub.TestKit;

/// <summary>A Hub of its own in this process: real Kestrel on free loopback ports, a real store, the default team.</summary>
public sealed class HubHost : IAsyncDisposable
{
    private readonly HubApplication _hub;
    private readonly string _directory;

    private HubHost(HubApplication hub, string directory)
    {
        (_hub, _directory) = (hub, directory);
        Rest = new HttpClient { BaseAddress = hub.HttpUrl };
        Channel = GrpcChannel.ForAddress(hub.GrpcUrl);
    }

    public const string Team = Accounts.DefaultTeam;

    public Uri HttpUrl => _hub.HttpUrl;

    public Uri GrpcUrl => _hub.GrpcUrl;

    public Uri AdminUrl => _hub.AdminUrl;

    /// <summary>Null unless the settings name a certificate; see <see cref="TestCertificate"/>.</summary>
    public Uri? TlsUrl => _hub.TlsUrl;

    /// <summary>A client without a credential; see <see cref="As"/>.</summary>
    public HttpClient Rest { get; }

    public GrpcChannel Channel { get; }

    internal Store Store => _hub.Services.GetRequiredService<Store>();

    /// <param name="options">Of a database made by a <see cref="StoreFixture"/>.</param>
    /// <param name="settings">Further settings by configuration key, such as Hub:Links:HeartbeatInterval or HUB_PUBLIC_URL.</param>
    internal static async Task<HubHost> StartAsync(
        StoreFixture fixture, StoreOptions options, TimeProvider? time = null, params (string Key, string Value)[] settings)
    {
        var directory = Directory.CreateTempSubdirectory("hub-host-").FullName;
        var configuration = new Dictionary<string, string?>
        {
            [HubSettings.HttpUrlKey] = "http://127.0.0.1:0",
            [HubSettings.GrpcUrlKey] = "http://127.0.0.1:0",
            [HubSettings.AdminUrlKey] = "http://127.0.0.1:0",
            [HubSettings.DataDirectoryKey] = directory,
        };
        var given = settings.Select(setting => KeyValuePair.Create(setting.Key, (string?)setting.Value)).ToArray();
        var read = HubSettings.Read(new ConfigurationBuilder().AddInMemoryCollection(configuration).AddInMemoryCollection(given).Build()) with
        {
            Store = options,
        };
        var builder = WebApplication.CreateBuilder();
        builder.Configuration.AddInMemoryCollection(given);
        builder.Logging.ClearProviders().AddProvider(fixture.Logs);
        var hub = await HubApplication.BuildAsync(read, builder, time ?? TimeProvider.System, CancellationToken.None).Within();
        await hub.Services.GetRequiredService<Accounts>().EnsureTeamAsync(Team, CancellationToken.None);
        await hub.StartAsync(CancellationToken.None).Within();
        return new HubHost(hub, directory);
    }

    /// <summary>A REST client with a bearer token.</summary>
    public HttpClient As(string token) => new()
    {
        BaseAddress = HttpUrl,
        DefaultRequestHeaders = { Authorization = new AuthenticationHeaderValue("Bearer", token) },
    };

    /// <summary>gRPC call options with a bearer token.</summary>
    public static CallOptions With(string token) => new(new Metadata { { "authorization", $"Bearer {token}" } });

    /// <summary>A token of a new or known user with a role in the default team.</summary>
    public Task<string> UserTokenAsync(string email = "owner@example.com", string role = "Owner") =>
        _hub.Services.GetRequiredService<Accounts>().IssueUserTokenAsync(
            email, Team, Enum.Parse<TeamRole>(role), TimeSpan.FromHours(1), CancellationToken.None);

    public Task<string> ApiKeyAsync(string role = "Member") =>
        _hub.Services.GetRequiredService<Accounts>().IssueApiKeyAsync(Team, "test", Enum.Parse<TeamRole>(role), "test", CancellationToken.None);

    public async Task<string> JoinTokenAsync(string? hostId = null) =>
        (await _hub.Services.GetRequiredService<Enrolment>().IssueJoinTokenAsync(Team, hostId, Actor.Operator, CancellationToken.None)).Token;

    /// <summary>Claims a new host by REST, as a node does.</summary>
    public async Task<(string HostId, string Credential)> ClaimAsync(string name = "node")
    {
        var response = await Rest.PostAsJsonAsync("/api/hosts/claim", new { joinToken = await JoinTokenAsync(), name }).Within();
        response.EnsureSuccessStatusCode();
        using var body = JsonDocument.Parse(await response.Content.ReadAsStringAsync());
        return (
            body.RootElement.GetProperty("host").GetProperty("id").GetString()!,
            body.RootElement.GetProperty("credential").GetProperty("token").GetString()!);
    }

    internal T Service<T>()
        where T : notnull => _hub.Services.GetRequiredService<T>();

    /// <summary>A client of the admin listener.</summary>
    public HttpClient Admin() => new() { BaseAddress = AdminUrl };

    /// <summary>Stops as on SIGTERM.</summary>
    public Task StopAsync() => _hub.StopAsync(CancellationToken.None).Within();

    public async ValueTask DisposeAsync()
    {
        Rest.Dispose();
        Channel.Dispose();
        await _hub.StopAsync(CancellationToken.None).Within();
        await _hub.DisposeAsync();
        Directory.Delete(_directory, recursive: true);
    }
}
