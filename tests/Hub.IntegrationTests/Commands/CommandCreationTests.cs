using Hub.Commands;
using Hub.Contracts.V1;
using Hub.Errors;
using Hub.Identity;
using Hub.IntegrationTests.Storage;
using Hub.Links;
using Hub.Storage;
using Hub.TestKit;

namespace Hub.IntegrationTests.Commands;

/// <summary>Commands that are asked for at the same time are created together, and each is answered as if it were alone.</summary>
public abstract class CommandCreationTests(StoreFixture fixture)
{
    [Fact]
    public async Task Create_AtTheSameTime_EachIsAnsweredByItself()
    {
        await using var store = await fixture.OpenAsync(await fixture.CreateDatabaseAsync(), new ManualTimeProvider());
        var host = await CommandRaceTests.EnrollAsync(store);
        var gone = host with { HostId = "host-that-is-gone" };
        await store.WriteAsync(host.TeamId, tx => tx.Execute("update links set command_types = '[\"echo\",\"copy\"]'"));
        var creation = new CommandCreation(store, new LinkRegistry(TimeProvider.System), TimeProvider.System);

        var held = await store.HoldWriterAsync(host.TeamId);
        var first = CreateAsync(host, "echo", "key");
        var twin = CreateAsync(host, "echo", "key");
        var reuse = CreateAsync(host, "copy", "key");
        var unknown = CreateAsync(host, "dance", null);
        var ofNobody = CreateAsync(gone, "echo", null);
        var other = CreateAsync(host, "copy", null);
        await held.DisposeAsync();

        var (command, isNew) = await first.Within();
        Assert.True(isNew);
        Assert.Equal((command.CommandId, false), await IdOfAsync(twin));
        Assert.Equal(ErrorReason.IdempotencyKeyReused, await ReasonOfAsync(reuse));
        Assert.Equal(ErrorReason.CommandTypeUnknown, await ReasonOfAsync(unknown));
        Assert.Equal(ErrorReason.HostNotFound, await ReasonOfAsync(ofNobody));
        var stored = await store.QueryAsync<string>(
            TeamScope.Of(host.TeamId), "select c.command_id from commands c join command_timeline t on t.command_id = c.command_id");
        Assert.Equal(new[] { command.CommandId, (await IdOfAsync(other)).Id }.ToHashSet(), stored.ToHashSet());
        Assert.Equal(2, await store.QuerySingleAsync<long>(
            TeamScope.Of(host.TeamId), "select count(*) from audit_log where action = 'command.created'"));

        Task<(CommandRow Command, bool Created)> CreateAsync(HostAccess of, string type, string? key) =>
            creation.CreateAsync(of, new CreateCommandRequest { Type = type }, key, "", CancellationToken.None);
    }

    [Fact]
    public async Task Create_AtTheSameTimeWhereOneMoreMayWait_OnlyThatIsCreated()
    {
        await using var store = await fixture.OpenAsync(await fixture.CreateDatabaseAsync(), new ManualTimeProvider());
        var host = await CommandRaceTests.EnrollAsync(store);
        var creation = new CommandCreation(store, new LinkRegistry(TimeProvider.System), TimeProvider.System);
        await creation.CreateAsync(host, new CreateCommandRequest { Type = "echo" }, null, "", CancellationToken.None).Within();
        await store.CopyRowAsync(host.TeamId, "commands", ["command_id"], CommandCreation.PendingMax - 2);

        var held = await store.HoldWriterAsync(host.TeamId);
        var last = creation.CreateAsync(host, new CreateCommandRequest { Type = "echo" }, null, "", CancellationToken.None);
        var tooMany = creation.CreateAsync(host, new CreateCommandRequest { Type = "echo" }, null, "", CancellationToken.None);
        await held.DisposeAsync();

        Assert.True((await last.Within()).Created);
        Assert.Equal(ErrorReason.CommandsPendingMax, await ReasonOfAsync(tooMany));
    }

    private static async Task<(string Id, bool Created)> IdOfAsync(Task<(CommandRow Command, bool Created)> creating)
    {
        var (command, created) = await creating.Within();
        return (command.CommandId, created);
    }

    private static async Task<ErrorReason> ReasonOfAsync(Task creating) =>
        (await Assert.ThrowsAsync<HubException>(() => creating.Within())).Reason;
}

public sealed class SqliteCommandCreationTests(SqliteStoreFixture fixture) : CommandCreationTests(fixture), IClassFixture<SqliteStoreFixture>;

public sealed class PostgresCommandCreationTests(PostgresStoreFixture fixture) : CommandCreationTests(fixture), IClassFixture<PostgresStoreFixture>;
