using System.Globalization;
using Dapper;
using Hub.Storage;
using Hub.TestKit;
using Hub.TestKit.Faults;
using Microsoft.Extensions.Logging.Abstractions;

namespace Hub.IntegrationTests.Faults;

/// <summary>A real server that is killed, hangs, is read-only and runs out of disk under a running Hub.</summary>
public sealed class PostgresOutageTests(PostgresStoreFixture fixture) : IClassFixture<PostgresStoreFixture>
{
    private const int DiskMegabytes = 32;

    /// <summary>A hanging server is given up sooner than in earnest.</summary>
    private const string Impatient = ";Timeout=1;Command Timeout=2;Cancellation Timeout=100";

    /// <summary>How long an outage lasts, in seconds; 60 for the real thing.</summary>
    private static readonly TimeSpan OutageLasts = TimeSpan.FromSeconds(
        double.Parse(Environment.GetEnvironmentVariable("HUB_TEST_OUTAGE_SECONDS") ?? "1", CultureInfo.InvariantCulture));

    [Fact]
    public async Task Hub_ServerIsKilledAndStartedAgain_KeepsItsLinksAndGoesOn()
    {
        await using var server = await PostgresServer.StartNewAsync();
        await using var scene = await OutageScene.SetAsync(fixture, await OptionsAsync(server));

        await server.KillAsync();
        await scene.AssertOutForAsync("AWAY", OutageLasts);
        await server.StartAsync();
        await scene.AssertRecoversAsync();
        scene.AssertLogIsBrief();
    }

    [Fact]
    public async Task Hub_ServerHangs_AnswersWithinItsBoundsAndGoesOn()
    {
        await using var server = await PostgresServer.StartNewAsync();
        var options = await OptionsAsync(server);
        await using var scene = await OutageScene.SetAsync(fixture, options with { ConnectionString = options.ConnectionString + Impatient });

        await server.PauseAsync();
        try
        {
            await scene.AssertOutForAsync("AWAY", OutageLasts);
        }
        finally
        {
            await server.ResumeAsync();
        }

        await scene.AssertRecoversAsync();
        scene.AssertLogIsBrief();
    }

    [Fact]
    public async Task OpenWriter_ServerHangs_GivesUpWithinItsBounds()
    {
        await using var server = await PostgresServer.StartNewAsync();
        var options = await OptionsAsync(server);
        await using var engine = new PostgresEngine(
            options with { ConnectionString = options.ConnectionString + Impatient }, TimeProvider.System, NullLoggerFactory.Instance);

        await server.PauseAsync();
        try
        {
            // One alone may come away; of so many at once some would wait for ever.
            Task<Exception> OpenAsync() => Task.Factory.StartNew(
                () => Assert.ThrowsAny<Exception>(engine.OpenWriter), CancellationToken.None, TaskCreationOptions.LongRunning, TaskScheduler.Default);
            await Task.WhenAll(Enumerable.Range(0, 16).Select(_ => OpenAsync())).Within();
        }
        finally
        {
            await server.ResumeAsync();
        }

        using var last = fixture.Connect(options); // Behind those who gave up: a server that ends with them in its queue takes half a minute.
    }

    [Fact]
    public async Task Hub_ServerIsReadOnly_AcknowledgesNothingUntilItTakesWrites()
    {
        await using var server = await PostgresServer.StartNewAsync();
        var options = await OptionsAsync(server);
        await using var scene = await OutageScene.SetAsync(fixture, options);

        await SetReadOnlyAsync(options, "on");
        await scene.UntilNotReadyAsync("READ_ONLY"); // The server tells its sessions in its own time.
        var ready = await scene.AssertOutAsync("READ_ONLY", readsFail: false);
        await SetReadOnlyAsync(options, "off");
        await scene.AssertRecoversAsync();
        scene.AssertLogIsBrief();
        Assert.Contains("point DATABASE_URL at the primary", ready["parts"][0].GetProperty("reason").GetString(), StringComparison.Ordinal);
    }

    [Fact]
    public async Task Hub_DiskOfTheServerIsFull_AcknowledgesNothingUntilThereIsRoomAgain()
    {
        await using var disk = await SmallDisk.TryMountAsync(DiskMegabytes);
        Assert.SkipWhen(disk is null, SmallDisk.WhyNot);
        await using var server = await PostgresServer.StartNewAsync();
        await server.GiveAsync(disk.Path);
        var options = await OptionsAsync(server);
        using (var connection = fixture.Connect(options))
        {
            connection.Execute($"create tablespace small location '{disk.Path}'");
            connection.Execute("create database small template template0 tablespace small strategy file_copy");
        }

        await using var scene = await OutageScene.SetAsync(fixture, options with { ConnectionString = server.ConnectionString("small") });
        disk.Fill();
        var ready = await scene.UntilNotReadyAsync("DISK_FULL"); // What still fits into a table's last page is stored, and may be acknowledged.
        disk.Free();
        await scene.AssertRecoversAsync();
        Assert.Contains("free some space there", ready["parts"][0].GetProperty("reason").GetString(), StringComparison.Ordinal);
    }

    [Fact]
    public async Task Hub_SessionsAreTerminated_GoesOnWithoutALink()
    {
        var options = await fixture.CreateDatabaseAsync();
        await using var scene = await OutageScene.SetAsync(fixture, options);

        using (var connection = fixture.Connect(options))
        {
            connection.Execute(
                "select pg_terminate_backend(pid, 10000) from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()");
        }

        await scene.AssertRecoversAsync();
    }

    [Fact]
    public async Task Open_ServerIsAway_SaysInOneLineWhatToDo()
    {
        var options = new StoreOptions { Backend = StoreBackend.Postgres, ConnectionString = $"Host=127.0.0.1;Port={ChildProgram.FreePort()};Username=hub" };

        var refusal = await Assert.ThrowsAsync<StoreUnavailableException>(() => fixture.OpenAsync(options));

        Assert.Equal(StoreFault.Away, refusal.Fault);
        Assert.Contains("127.0.0.1:", refusal.Message, StringComparison.Ordinal);
        Assert.DoesNotContain('\n', refusal.Message);
    }

    private static async Task<StoreOptions> OptionsAsync(PostgresServer server) =>
        new() { Backend = StoreBackend.Postgres, ConnectionString = await server.CreateDatabaseAsync() };

    /// <summary>Takes effect in running sessions.</summary>
    private async Task SetReadOnlyAsync(StoreOptions options, string value)
    {
        using var connection = fixture.Connect(options);
        await connection.ExecuteAsync("set default_transaction_read_only = off");
        await connection.ExecuteAsync($"alter system set default_transaction_read_only = {value}");
        await connection.ExecuteAsync("select pg_reload_conf()");
    }
}
