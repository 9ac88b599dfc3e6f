using Hub.Storage;
using Hub.TestKit;

namespace Hub.IntegrationTests.Hosts;

/// <summary>
/// A node claims on one replica while a person revokes on the other. Whichever commits first, no credential of the host is good afterwards;
/// on SQLite there is one writer and nothing to show.
/// </summary>
public sealed class ClaimAgainstRevokeTests(PostgresStoreFixture fixture) : IClassFixture<PostgresStoreFixture>
{
    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public async Task ClaimAndRevoke_OnTwoReplicasAtOnce_LeaveNoGoodCredential(bool claimCommitsFirst)
    {
        var options = await fixture.CreateDatabaseAsync();
        using var committing = new ManualResetEventSlim();
        using var release = new ManualResetEventSlim();
        var holding = false;
        await using var first = await HubHost.StartAsync(
            fixture,
            options with
            {
                FaultInjector = step =>
                {
                    if (step == WriteStep.BeforeCommit && Volatile.Read(ref holding))
                    {
                        committing.Set();
                        release.Wait(WithinExtensions.DefaultLimit);
                    }
                },
            },
            new ManualTimeProvider());
        var time = new ManualTimeProvider();
        await using var second = await HubHost.StartAsync(fixture, options, time);
        var joinToken = await first.JoinTokenAsync();
        var hostId = (await second.Rest.WriteAsync("/api/hosts/claim", new { joinToken })).Expect(201).String("host.id");
        time.Advance(TimeSpan.FromSeconds(31)); // Past repeats, which are answered from memory.
        var owners = new Dictionary<HubHost, string> { [first] = await first.UserTokenAsync(), [second] = await second.UserTokenAsync() };
        Task<RestAnswer> ClaimAsync(HubHost hub) => hub.Rest.WriteAsync("/api/hosts/claim", new { joinToken });
        async Task<RestAnswer> RevokeAsync(HubHost hub)
        {
            using var owner = hub.As(owners[hub]);
            return await owner.WriteAsync($"/api/hosts/{hostId}/revoke-credential", "{}");
        }

        Volatile.Write(ref holding, true);
        var leading = claimCommitsFirst ? ClaimAsync(first) : RevokeAsync(first);
        committing.Wait(WithinExtensions.DefaultLimit);
        var waiting = claimCommitsFirst ? RevokeAsync(second) : ClaimAsync(second);
        await Polling.UntilAsync(() => PostgresStoreFixture.IsBlockedAsync(second.Store), () => "The second does not wait for the first.");
        Volatile.Write(ref holding, false);
        release.Set();
        var (claim, revoke) = claimCommitsFirst ? (await leading, await waiting) : (await waiting, await leading);

        revoke.Expect(200);
        claim.Expect(claimCommitsFirst ? 201 : 401);
        using var connection = fixture.Connect(options);
        Assert.Empty(Dapper.SqlMapper.Query<string>(
            connection, "select credential_id from credentials where host_id = @hostId and revoked_at is null", new { hostId }));
    }

    [Fact]
    public async Task FirstClaim_OnTwoReplicasAtOnce_LeadsToOneHost()
    {
        var options = await fixture.CreateDatabaseAsync();
        await using var one = await HubHost.StartAsync(fixture, options);
        await using var two = await HubHost.StartAsync(fixture, options);
        var joinToken = await one.JoinTokenAsync();

        var answers = await Task.WhenAll(new[] { one, two }.Select(hub => hub.Rest.WriteAsync("/api/hosts/claim", new { joinToken })));

        Assert.Single(answers.Select(answer => answer.Expect(201).String("host.id")).Distinct());
    }
}
