using Grpc.Core;
using Hub.Contracts.V1;
using Hub.Storage;
using Hub.TestKit;
using Hub.TestKit.Faults;

namespace Hub.IntegrationTests.Faults;

/// <summary>
/// What people do to machines and databases: copies, old images, old backups, a credential revoked. Over real sockets; nobody but the
/// revoked stops for good, and nothing new is taken for a repeat.
/// </summary>
public abstract class AccidentTests(StoreFixture fixture) : IDisposable
{
    private const int FleetSize = 5;
    private const int RefusalsSeen = 3;

    private readonly DirectoryInfo _directory = Directory.CreateTempSubdirectory("hub-accident-");

    [Fact]
    public async Task MachineCloned_BothCopiesWrite_NeitherIsTakenForARepeatOfTheOther()
    {
        await using var hub = await HubHost.StartAsync(fixture, await fixture.CreateDatabaseAsync());
        var (hostId, credential) = await hub.ClaimAsync();
        await using (var template = await TimedNode.StartAsync(hub.GrpcUrl, At("elder"), credential))
        {
            await template.PublishAsync("before");
            await template.FlushAsync();
        }

        Copy("elder", "younger");
        await using var elder = await TimedNode.StartAsync(hub.GrpcUrl, At("elder"), credential);
        await using var younger = await TimedNode.StartAsync(hub.GrpcUrl, At("younger"), credential);
        var displaced = await elder.WaitsAsync();
        await younger.PublishAsync("of the younger");
        await younger.FlushAsync();
        using var owner = hub.As(await hub.UserTokenAsync());
        Assert.Contains("of the younger todo", await owner.TasksOfAsync(hostId));
        await elder.PublishAsync("of the elder");
        await elder.ComeBackAsync();
        await elder.FlushAsync();
        await younger.WaitsAsync();

        Assert.Contains("TakenOver", displaced.Reason, StringComparison.Ordinal);
        Assert.Contains("of the elder todo", await owner.TasksOfAsync(hostId));
        Assert.False(elder.Link.Completion.IsCompleted || younger.Link.Completion.IsCompleted);
    }

    [Fact]
    public async Task DiskImageRestored_WhatItWritesNext_ArrivesThoughItsNumbersWereUsed()
    {
        await using var hub = await HubHost.StartAsync(fixture, await fixture.CreateDatabaseAsync());
        var (hostId, credential) = await hub.ClaimAsync();
        await using (var node = await TimedNode.StartAsync(hub.GrpcUrl, At("node"), credential))
        {
            await node.PublishAsync("on the image");
            await node.FlushAsync();
        }

        Copy("node", "image");
        await using (var node = await TimedNode.StartAsync(hub.GrpcUrl, At("node"), credential))
        {
            await node.PublishAsync("later");
            await node.PublishAsync("still later");
            await node.FlushAsync();
        }

        await using var restored = await TimedNode.StartAsync(hub.GrpcUrl, At("image"), credential);
        await restored.PublishAsync("after the restore");
        await restored.FlushAsync();

        using var owner = hub.As(await hub.UserTokenAsync());
        var tasks = await owner.TasksOfAsync(hostId);
        Assert.Contains("on the image todo", tasks);
        Assert.Contains("after the restore todo", tasks);
    }

    [Fact]
    public async Task DatabaseRestored_OlderThanItsNodes_IsBroughtUpToDateAndRunsNothingTwice()
    {
        var options = await fixture.CreateDatabaseAsync();
        string hostId, credential;
        await using (var first = await HubHost.StartAsync(fixture, options))
        {
            (hostId, credential) = await first.ClaimAsync();
            await using (var early = await TimedNode.StartAsync(first.GrpcUrl, At("node"), credential))
            {
                await early.PublishAsync("in the backup");
                await early.FlushAsync();
            }

            using var person = first.As(await first.UserTokenAsync());
            (await person.WriteAsync($"/api/hosts/{hostId}/commands", new { type = "count" })).Expect(201);
        }

        var backup = await fixture.CopyAsync(options);
        var second = await HubHost.StartAsync(fixture, options);
        using var before = await WatchAsync(second);
        await using var proxy = FaultProxy.Start(second.GrpcUrl);
        await using var node = await TimedNode.StartAsync(proxy.Url, At("node"), credential);
        await node.PublishAsync("after the backup");
        Assert.Equal(CommandState.Succeeded, await EndAsync(before, "after the backup"));

        await using var restored = await HubHost.StartAsync(fixture, backup);
        using var after = await WatchAsync(restored);
        proxy.Target = restored.GrpcUrl; // Before the other drains: told to wait for no time, the node would dial that one again.
        await second.DisposeAsync();
        await node.WaitsAsync();
        await node.ComeBackAsync();
        await node.PublishAsync("after the restore");

        Assert.Equal(CommandState.Succeeded, await EndAsync(after, "after the backup", "after the restore"));
        Assert.Equal(1, node.Runs);
        using var owner = restored.As(await restored.UserTokenAsync());
        Assert.Equal(["after the backup todo", "after the restore todo", "in the backup todo"], await owner.TasksOfAsync(hostId));
    }

    [Fact]
    public async Task Host_RevokedWhileItIsConnected_ItsNextFrameIsRefused()
    {
        var options = await fixture.CreateDatabaseAsync();
        await using var hub = await HubHost.StartAsync(fixture, options);
        var (hostId, credential) = await hub.ClaimAsync();
        await using var node = await RawNode.ConnectAsync(hub, credential);
        Assert.NotNull((await node.ReadAsync()).Welcome);

        await RevokeAsync(options, hub, hostId);
        await node.TrySendAsync(RawNode.TaskBatch(1, ("after the revocation", "todo")));
        var frames = await node.ReadUntilEndAsync();

        Assert.DoesNotContain(frames, frame => frame.Ack is not null);
        Assert.Equal(GoodbyeReason.Revoked, frames[^1].Goodbye.Reason);
        using var owner = hub.As(await hub.UserTokenAsync());
        Assert.Empty(await owner.TasksOfAsync(hostId));
    }

    [Fact]
    public async Task TwoContainers_WithOneJoinToken_AreOneHostAndTakeTurns()
    {
        await using var hub = await HubHost.StartAsync(fixture, await fixture.CreateDatabaseAsync());
        var joinToken = await hub.JoinTokenAsync();
        await using var one = await TimedNode.StartAsync(hub.GrpcUrl, At("one"), joinToken: joinToken);
        await using var other = await TimedNode.StartAsync(hub.GrpcUrl, At("other"), joinToken: joinToken);

        var displaced = await one.WaitsAsync();
        var wait = displaced.Until - one.Time.GetUtcNow();
        await one.ComeBackAsync();
        await one.PublishAsync("of one");
        await one.FlushAsync();
        await other.WaitsAsync();

        Assert.Contains("TakenOver", displaced.Reason, StringComparison.Ordinal);
        Assert.Equal(TimeSpan.FromSeconds(30), wait);
        Assert.Equal(one.Link.HostId, other.Link.HostId);
        Assert.False(one.Link.Completion.IsCompleted || other.Link.Completion.IsCompleted);
        using var owner = hub.As(await hub.UserTokenAsync());
        Assert.Equal(1, (await owner.ReadAsync("/api/hosts"))["hosts"].GetArrayLength());
    }

    [Fact]
    public async Task Fleet_ThroughARestoreThatKnowsNoneOfIt_IsBackWhenItsDatabaseIs()
    {
        var options = await fixture.CreateDatabaseAsync();
        var nodes = new List<TimedNode>();
        var first = await HubHost.StartAsync(fixture, options);
        await using var proxy = FaultProxy.Start(first.GrpcUrl);
        try
        {
            for (var i = 0; i < FleetSize; i++)
            {
                nodes.Add(await TimedNode.StartAsync(proxy.Url, At($"node-{i}"), joinToken: await first.JoinTokenAsync()));
            }

            await first.DisposeAsync();
            await using (var wrong = await HubHost.StartAsync(fixture, await fixture.CreateDatabaseAsync()))
            {
                proxy.Target = wrong.GrpcUrl;
                foreach (var node in nodes)
                {
                    await node.WaitsAsync();
                    await RefusedAsync(node).Within();
                }
            }

            await using var right = await HubHost.StartAsync(fixture, options);
            proxy.Target = right.GrpcUrl;
            foreach (var node in nodes)
            {
                await node.ComeBackAsync();
                await node.PublishAsync("back");
                await node.FlushAsync();
            }

            using var owner = right.As(await right.UserTokenAsync());
            var hosts = (await owner.ReadAsync("/api/hosts"))["hosts"].EnumerateArray().Select(host => host.GetProperty("state").GetString());
            Assert.Equal(Enumerable.Repeat("ONLINE", FleetSize), hosts);
        }
        finally
        {
            foreach (var node in nodes)
            {
                await node.DisposeAsync();
            }
        }
    }

    public void Dispose()
    {
        _directory.Delete(recursive: true);
        GC.SuppressFinalize(this);
    }

    /// <summary>Revokes a host on another replica, if the store can have one: the replica with the link has not heard of it.</summary>
    private async Task RevokeAsync(StoreOptions options, HubHost hub, string hostId)
    {
        await using var replica = options.Backend is StoreBackend.Postgres ? await HubHost.StartAsync(fixture, options) : null;
        var people = replica ?? hub;
        using var owner = people.As(await people.UserTokenAsync());
        (await owner.WriteAsync($"/api/hosts/{hostId}/revoke-credential", "{}")).Expect(200);
    }

    /// <summary>Lets a node dial until a Hub has refused it some times.</summary>
    private static async Task RefusedAsync(TimedNode node)
    {
        for (var refused = 0; refused < RefusalsSeen;)
        {
            node.PassWait();
            var state = await node.WaitsAsync();
            refused += state.Reason.StartsWith("Unauthenticated", StringComparison.Ordinal) ? 1 : 0;
        }
    }

    private static async Task<AsyncServerStreamingCall<WatchResponse>> WatchAsync(HubHost hub)
    {
        var watch = new WatchService.WatchServiceClient(hub.Channel).Watch(
            new WatchRequest { Cursor = "now", Kinds = { WatchKind.Command, WatchKind.Task } }, HubHost.With(await hub.UserTokenAsync()));
        await watch.ResponseHeadersAsync.Within();
        return watch;
    }

    /// <summary>Waits until a command has ended and these tasks have come; returns the state in which the command ended.</summary>
    private static async Task<CommandState> EndAsync(AsyncServerStreamingCall<WatchResponse> watch, params string[] tasks)
    {
        var missing = tasks.ToHashSet(StringComparer.Ordinal);
        var state = CommandState.Unspecified;
        while (missing.Count > 0 || state is CommandState.Unspecified)
        {
            Assert.True(await watch.ResponseStream.MoveNext(CancellationToken.None).Within());
            var next = watch.ResponseStream.Current;
            missing.Remove(next.EntityId);
            state = next.Command is { FinishedAt: not null } ended ? ended.State : state;
        }

        return state;
    }

    private string At(string name) => Path.Combine(_directory.FullName, name);

    private void Copy(string from, string to)
    {
        Directory.CreateDirectory(At(to));
        foreach (var file in Directory.GetFiles(At(from)))
        {
            File.Copy(file, Path.Combine(At(to), Path.GetFileName(file)));
        }
    }
}

public sealed class SqliteAccidentTests(SqliteStoreFixture fixture) : AccidentTests(fixture), IClassFixture<SqliteStoreFixture>;

public sealed class PostgresAccidentTests(PostgresStoreFixture fixture) : AccidentTests(fixture), IClassFixture<PostgresStoreFixture>;
