[assembly: AssemblyFixture(typeof(Hub.Transcoding.Tests.Calls.RestFixture))]

namespace Hub.Transcoding.Tests.Calls;

/// <summary>One host for all tests that change nothing in it.</summary>
public sealed class RestFixture : IAsyncLifetime
{
    public RestHost Host { get; private set; } = null!;

    public async ValueTask InitializeAsync() => Host = await RestHost.StartAsync();

    public ValueTask DisposeAsync() => Host.DisposeAsync();
}
