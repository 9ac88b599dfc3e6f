using Hub.Storage;
using Hub.TestKit;
using Hub.TestKit.Faults;

namespace Hub.IntegrationTests.Faults;

/// <summary>Real files that are full, locked, removed and damaged under a running Hub.</summary>
public sealed class SqliteOutageTests(SqliteStoreFixture fixture) : IClassFixture<SqliteStoreFixture>
{
    private const int DiskMegabytes = 8;

    [Fact]
    public async Task Hub_DiskIsFull_AcknowledgesNothingUntilThereIsRoomAgain()
    {
        await using var disk = await SmallDisk.TryMountAsync(DiskMegabytes);
        Assert.SkipWhen(disk is null, SmallDisk.WhyNot);
        var options = (await fixture.CreateDatabaseAsync()) with { SqlitePath = Path.Combine(disk.Path, "hub.db") };
        await using var scene = await OutageScene.SetAsync(fixture, options);

        disk.Fill();
        var ready = await scene.AssertOutAsync("DISK_FULL", readsFail: false);
        disk.Free();
        await scene.UntilReadyAsync();

        await scene.AssertWorksAsync();
        scene.AssertAcknowledgedIsStored();
        scene.AssertLogIsBrief();
        Assert.Contains($"{options.SqlitePath} is full (0 bytes free)", Reason(ready), StringComparison.Ordinal);
    }

    [Fact]
    public async Task Hub_AnotherProcessHoldsTheLock_AcknowledgesNothingUntilItIsReleased()
    {
        var options = (await fixture.CreateDatabaseAsync()) with { LockTimeout = TimeSpan.FromMilliseconds(200) };
        await using var scene = await OutageScene.SetAsync(fixture, options);

        using (var other = fixture.Connect(options))
        using (other.BeginTransaction())
        {
            await scene.AssertOutAsync("LOCKED", readsFail: false);
        }

        await scene.UntilReadyAsync();
        await scene.AssertWorksAsync();
        scene.AssertAcknowledgedIsStored();
        scene.AssertLogIsBrief();
    }

    [Theory]
    [InlineData("")]
    [InlineData("-wal")]
    public async Task Hub_FileIsRemoved_AcknowledgesNothingMoreAndMakesNoNewOne(string suffix)
    {
        var options = await fixture.CreateDatabaseAsync();
        await using var scene = await OutageScene.SetAsync(fixture, options);

        File.Delete(options.SqlitePath + suffix);
        await scene.Hub.RenewReplicaAsync();
        var ready = await scene.AssertOutAsync("REMOVED");

        Assert.Contains("stop the Hub, put both files back", Reason(ready), StringComparison.Ordinal);
        Assert.False(File.Exists(options.SqlitePath + suffix));
        scene.AssertLogIsBrief();
    }

    [Fact]
    public async Task Hub_FileIsReplacedByAnother_AcknowledgesNothingMore()
    {
        var options = await fixture.CreateDatabaseAsync();
        await using var scene = await OutageScene.SetAsync(fixture, options);

        File.Copy(options.SqlitePath, options.SqlitePath + ".copy");
        File.Move(options.SqlitePath + ".copy", options.SqlitePath, overwrite: true);
        await scene.Hub.RenewReplicaAsync();

        await scene.AssertOutAsync("REMOVED");
    }

    [Fact]
    public async Task Hub_FileIsOverwritten_IsNotReadyForGoodOnceItIsSeen()
    {
        var options = await fixture.CreateDatabaseAsync();
        await using var scene = await OutageScene.SetAsync(fixture, options);
        fixture.Checkpoint(options);

        Damage(options.SqlitePath);
        await scene.Hub.SweepPresenceAsync();
        var ready = await scene.UntilNotReadyAsync("CORRUPT");
        await scene.AssertOutAsync("CORRUPT");

        Assert.Contains("is damaged: stop the Hub, restore a backup", Reason(ready), StringComparison.Ordinal);
        scene.AssertLogIsBrief();
    }

    [Fact]
    public async Task Open_FileIsOverwrittenInTheMiddle_SaysInOneLineWhatToDo()
    {
        var options = await MakeAsync();
        Damage(options.SqlitePath);

        await AssertRefusedAsync(options, StoreFault.Corrupt);
    }

    [Fact]
    public async Task Open_FileIsCutOff_SaysInOneLineWhatToDo()
    {
        var options = await MakeAsync();
        using (var file = File.OpenWrite(options.SqlitePath))
        {
            file.SetLength(file.Length / 2);
        }

        await AssertRefusedAsync(options, StoreFault.Corrupt);
    }

    [Fact]
    public async Task Open_FileIsNoDatabase_SaysInOneLineWhatToDo()
    {
        var options = await fixture.CreateDatabaseAsync();
        await File.WriteAllTextAsync(options.SqlitePath, string.Concat(Enumerable.Repeat("not a database ", 1_000)));

        await AssertRefusedAsync(options, StoreFault.Corrupt);
    }

    [Fact]
    public async Task Open_OnlyTheLogIsLeft_KeepsItForWhoPutsTheFileBack()
    {
        var options = await fixture.CreateDatabaseAsync();
        await File.WriteAllTextAsync(options.SqlitePath + "-wal", "commits that are nowhere else");

        await AssertRefusedAsync(options, StoreFault.Removed);
        Assert.False(File.Exists(options.SqlitePath));
        Assert.True(File.Exists(options.SqlitePath + "-wal"));
    }

    [Fact]
    public async Task Open_DiskIsFull_SaysInOneLineWhatToDo()
    {
        await using var disk = await SmallDisk.TryMountAsync(DiskMegabytes);
        Assert.SkipWhen(disk is null, SmallDisk.WhyNot);
        disk.Fill();

        await AssertRefusedAsync((await fixture.CreateDatabaseAsync()) with { SqlitePath = Path.Combine(disk.Path, "hub.db") }, StoreFault.DiskFull);
    }

    [Fact]
    public async Task Open_FileSystemIsReadOnly_SaysInOneLineWhatToDo()
    {
        await using var disk = await SmallDisk.TryMountAsync(DiskMegabytes);
        Assert.SkipWhen(disk is null, SmallDisk.WhyNot);
        var options = (await fixture.CreateDatabaseAsync()) with { SqlitePath = Path.Combine(disk.Path, "hub.db") };
        await (await fixture.OpenAsync(options)).DisposeAsync();
        await disk.MakeReadOnlyAsync();

        await AssertRefusedAsync(options, StoreFault.ReadOnly);
    }

    [Fact]
    public async Task HubProcess_FilesMayNotGrow_AcknowledgesNothingUntilTheyMay()
    {
        Assert.SkipUnless(OperatingSystem.IsLinux(), "Only Linux changes the limits of a running process.");
        var directory = Directory.CreateTempSubdirectory("hub-limit-").FullName;
        await using var hub = await HubProcess.StartAsync(directory, await fixture.CreateDatabaseAsync());
        using var owner = hub.As(await hub.TokenAsync("user", "--email", "owner@example.com"));
        using var admin = new HttpClient { BaseAddress = hub.AdminUrl };
        async Task<int> CreateTokenAsync() => (await owner.WriteAsync("/api/hosts/register-token", new { })).Status;

        var before = await CreateTokenAsync();
        await hub.LimitFilesAsync(bytes: 1);
        var refused = await CreateTokenAsync();
        var ready = await admin.ReadAsync("/ready");
        await hub.LimitFilesAsync(bytes: null);
        var after = await CreateTokenAsync();

        Assert.Equal((201, 503, 201), (before, refused, after));
        Assert.Equal("FAILING", ready.Expect(503)["parts"][0].GetProperty("fault").GetString());
        Assert.Contains("the limit on file sizes", Reason(ready), StringComparison.Ordinal);
        Assert.Equal(200, (await admin.ReadAsync("/ready")).Status);
        Directory.Delete(directory, recursive: true);
    }

    private static string Reason(RestAnswer ready) => ready["parts"][0].GetProperty("reason").GetString()!;

    private async Task<StoreOptions> MakeAsync()
    {
        var options = await fixture.CreateDatabaseAsync();
        await using var store = await fixture.OpenAsync(options);
        return options;
    }

    private async Task AssertRefusedAsync(StoreOptions options, StoreFault fault)
    {
        var refusal = await Assert.ThrowsAsync<StoreUnavailableException>(() => fixture.OpenAsync(options));
        Assert.Equal(fault, refusal.Fault);
        Assert.Contains(options.SqlitePath, refusal.Message, StringComparison.Ordinal);
        Assert.DoesNotContain('\n', refusal.Message);
    }

    /// <summary>All but the first page, which SQLite would miss at once.</summary>
    private static void Damage(string path)
    {
        using var file = new FileStream(path, FileMode.Open, FileAccess.Write, FileShare.ReadWrite);
        file.Position = 4096;
        var noise = new byte[file.Length - file.Position];
        Array.Fill(noise, (byte)0xA5);
        file.Write(noise);
    }
}
