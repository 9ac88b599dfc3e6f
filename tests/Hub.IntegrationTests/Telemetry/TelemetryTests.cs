using Hub.TestKit;

namespace Hub.IntegrationTests.Telemetry;

/// <summary>Reports that come without a credential.</summary>
public sealed class TelemetryTests(SqliteStoreFixture fixture) : IClassFixture<SqliteStoreFixture>
{
    [Fact]
    public async Task Report_OfANode_IsShownToThoseWhoMayReadTheHost()
    {
        await using var hub = await HubHost.StartAsync(fixture, await fixture.CreateDatabaseAsync());
        var (hostId, _) = await hub.ClaimAsync();
        using var owner = hub.As(await hub.UserTokenAsync());

        var none = await owner.ReadAsync($"/api/hosts/{hostId}/telemetry");
        var taken = (await hub.Rest.WriteAsync("/api/telemetry/ingest", $$$"""
            {"version":"1.0.0","hostId":"{{{hostId}}}","timestamp":1795220265725,"uptime":5109.5,"period":{"startMs":1,"endMs":2},
             "team":{"agentCount":1},"tasks":{"byStatus":{"todo":1}},"endpoints":[{"path":"/x"}],"features":{},"errors":["e"],"health":{},"more":1}
            """)).Expect(200);
        var shown = (await owner.ReadAsync($"/api/hosts/{hostId}/telemetry")).Expect(200);

        Assert.Equal("ITEM_NOT_FOUND", none.Expect(404).Reason);
        Assert.True(taken["ok"].GetBoolean());
        Assert.Equal(1, shown["report.tasks.byStatus.todo"].GetInt32());
        Assert.Equal("e", shown["report.errors"][0].GetString());
    }

    [Fact]
    public async Task Reports_OfOneAddress_AreBoundedPerMinute()
    {
        var time = new ManualTimeProvider();
        await using var hub = await HubHost.StartAsync(fixture, await fixture.CreateDatabaseAsync(), time);
        var report = new { hostId = "unknown" };
        for (var i = 0; i < 12; i++)
        {
            (await hub.Rest.WriteAsync("/api/telemetry/ingest", report)).Expect(200);
        }

        var refused = (await hub.Rest.WriteAsync("/api/telemetry/ingest", report)).Expect(429);
        time.SetClock(time.GetUtcNow().AddMinutes(1));
        var next = await hub.Rest.WriteAsync("/api/telemetry/ingest", report);

        Assert.Equal("RATE_LIMITED", refused.Reason);
        Assert.Equal("12", refused.String("details.limit"));
        Assert.Equal("60", refused.String("details.reset_seconds"));
        next.Expect(200);
    }

    [Fact]
    public async Task Report_ThatIsTooLarge_IsRefusedBeforeItIsRead()
    {
        await using var hub = await HubHost.StartAsync(fixture, await fixture.CreateDatabaseAsync());

        var refused = await hub.Rest.WriteAsync("/api/telemetry/ingest", new { hostId = "unknown", version = new string('x', 33_000) });

        refused.Expect(413);
    }
}
