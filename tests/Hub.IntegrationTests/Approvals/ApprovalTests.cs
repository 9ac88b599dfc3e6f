using Hub.Identity;
using Hub.Storage;
using Hub.TestKit;

namespace Hub.IntegrationTests.Approvals;

/// <summary>Commands that wait for a person.</summary>
public abstract class ApprovalTests(StoreFixture fixture)
{
    [Fact]
    public async Task Create_OfATypeAPolicyHolds_WaitsAndIsNotServed()
    {
        await using var scene = await SceneAsync();
        await scene.PolicyAsync("vm", "vm.*", name: "Machines");

        var held = await scene.CreateAsync("vm.delete");
        var free = await scene.CreateAsync("echo");
        var served = await scene.Node.ReadAsync($"/api/hosts/{scene.HostId}/commands?status=pending");

        Assert.Equal("AWAITING_APPROVAL", held.String("command.state"));
        Assert.Equal(("Machines", "admin"), (held.String("command.approvalPolicy"), held.String("command.approverRole")));
        Assert.Equal(free.String("command.id"), Assert.Single(served["commands"].EnumerateArray()).GetProperty("id").GetString());
    }

    [Theory]
    [InlineData("*", "anything", true)]
    [InlineData("vm.delete", "vm.delete", true)]
    [InlineData("vm.delete", "vm.delete2", false)]
    [InlineData("vm.*", "vm.", true)]
    [InlineData("vm.*", "vmx", false)]
    public async Task Create_IsHeldByPattern(string pattern, string type, bool isHeld)
    {
        await using var scene = await SceneAsync();
        await scene.PolicyAsync("p", pattern);

        Assert.Equal(isHeld ? "AWAITING_APPROVAL" : "QUEUED", (await scene.CreateAsync(type)).String("command.state"));
    }

    [Fact]
    public async Task List_OfTheTeam_ShowsWhatWaitsTheOldestFirst()
    {
        await using var scene = await SceneAsync();
        await scene.PolicyAsync("all", "*");
        var first = (await scene.CreateAsync("a")).String("command.id");
        var second = (await scene.CreateAsync("b")).String("command.id");

        var page = await scene.Owner.ReadAsync("/api/approvals?pageSize=1");
        var next = await scene.Owner.ReadAsync($"/api/approvals?pageSize=1&pageToken={page.String("nextPageToken")}");
        var ofHost = await scene.Owner.ReadAsync($"/api/hosts/{scene.HostId}/approvals");

        var approval = Assert.Single(page["approvals"].EnumerateArray());
        Assert.Equal((first, "node"), (approval.GetProperty("id").GetString(), approval.GetProperty("hostName").GetString()));
        Assert.Equal(second, Assert.Single(next["approvals"].EnumerateArray()).GetProperty("id").GetString());
        Assert.Equal("", next.String("nextPageToken"));
        Assert.Equal(2, ofHost["approvals"].GetArrayLength());
    }

    [Fact]
    public async Task Decide_Approve_QueuesItWithTheNoteInItsTimeline()
    {
        await using var scene = await SceneAsync();
        await scene.PolicyAsync("all", "*");
        using var second = await scene.PersonAsync("second@example.com", "Admin");
        var id = (await scene.CreateAsync("vm.delete")).String("command.id");

        var decided = (await second.WriteAsync($"/api/approvals/{id}/decide", new { decision = "approve", note = "checked" })).Expect(200);
        var again = await second.WriteAsync($"/api/approvals/{id}/decide", new { decision = "reject" });
        var command = await scene.Owner.ReadAsync($"/api/hosts/{scene.HostId}/commands/{id}");
        var served = await scene.Node.ReadAsync($"/api/hosts/{scene.HostId}/commands?status=pending");

        Assert.Equal(("QUEUED", "APPROVAL"), (decided.String("command.state"), decided.String("command.reason")));
        Assert.Equal("COMMAND_NOT_AWAITING_APPROVAL", again.Expect(409).Reason);
        Assert.Equal("second@example.com: checked", command["command.timeline"][1].GetProperty("detail").GetString());
        Assert.Equal(1, served["commands"].GetArrayLength());
    }

    [Fact]
    public async Task Decide_Reject_EndsIt()
    {
        await using var scene = await SceneAsync();
        await scene.PolicyAsync("all", "*", creatorMayDecide: true);
        var id = (await scene.CreateAsync("vm.delete")).String("command.id");

        var decided = (await scene.Owner.WriteAsync($"/api/approvals/{id}/decide", new { decision = "reject", note = "too risky" })).Expect(200);
        var why = await scene.Owner.ReadAsync($"/api/hosts/{scene.HostId}/commands/{id}/why");

        Assert.Equal("REJECTED", decided.String("command.state"));
        Assert.Equal("owner@example.com: too risky", why.String("why.detail"));
    }

    [Fact]
    public async Task Decide_ByTheCreator_IsRefusedUnlessThePolicyAllowsIt()
    {
        await using var scene = await SceneAsync();
        await scene.PolicyAsync("all", "*");
        var strict = (await scene.CreateAsync("a")).String("command.id");
        await scene.PolicyAsync("all", "*", creatorMayDecide: true);
        var loose = (await scene.CreateAsync("b")).String("command.id");

        var refused = await scene.Owner.WriteAsync($"/api/approvals/{strict}/decide", new { decision = "approve" });
        var allowed = await scene.Owner.WriteAsync($"/api/approvals/{loose}/decide", new { decision = "approve" });

        // The rule a command was held by stays, also when the policy is loosened after it.
        Assert.Equal("APPROVER_IS_CREATOR", refused.Expect(403).Reason);
        allowed.Expect(200);
    }

    [Theory]
    [InlineData("member", "Viewer", false)]
    [InlineData("member", "Member", true)]
    [InlineData("", "Member", false)]
    [InlineData("", "Admin", true)]
    [InlineData("owner", "Admin", false)]
    public async Task Decide_ByARole_IsAsThePolicySays(string approverRole, string role, bool mayDecide)
    {
        await using var scene = await SceneAsync();
        await scene.PolicyAsync("all", "*", approverRole: approverRole);
        using var person = await scene.PersonAsync("person@example.com", role);
        var id = (await scene.CreateAsync("a")).String("command.id");

        var answer = await person.WriteAsync($"/api/hosts/{scene.HostId}/commands/{id}/decide", new { approve = true });

        Assert.Equal(mayDecide ? 200 : 403, answer.Status);
    }

    [Fact]
    public async Task Decide_ByAScript_IsRefused()
    {
        await using var scene = await SceneAsync();
        await scene.PolicyAsync("all", "*");
        using var script = scene.Hub.As(await scene.Hub.ApiKeyAsync("Owner"));
        var id = (await scene.CreateAsync("a")).String("command.id");

        Assert.Equal("PRINCIPAL_NOT_ALLOWED", (await script.WriteAsync($"/api/approvals/{id}/decide", new { decision = "approve" })).Expect(403).Reason);
    }

    [Fact]
    public async Task Decide_OfAnotherTeam_IsNotFound()
    {
        await using var scene = await SceneAsync();
        await scene.PolicyAsync("all", "*");
        var id = (await scene.CreateAsync("a")).String("command.id");
        using var stranger = scene.Hub.As(await scene.StrangerAsync());

        Assert.Equal("COMMAND_NOT_FOUND", (await stranger.WriteAsync($"/api/approvals/{id}/decide", new { decision = "approve" })).Expect(404).Reason);
        Assert.Equal("COMMAND_NOT_FOUND", (await stranger.WriteAsync("/api/approvals/none/decide", new { decision = "approve" })).Expect(404).Reason);
    }

    [Fact]
    public async Task DecideByTask_DecidesAllThatNameTheTask()
    {
        await using var scene = await SceneAsync();
        await scene.PolicyAsync("review", "task_review", creatorMayDecide: true);
        var asked = (await scene.Owner.WriteAsync($"/api/hosts/{scene.HostId}/tasks/t-1/review", new { decision = "approve" })).Expect(201);
        await scene.Owner.WriteAsync($"/api/hosts/{scene.HostId}/tasks/t-2/review", new { decision = "approve" });

        var decided = (await scene.Owner.WriteAsync($"/api/hosts/{scene.HostId}/approvals/t-1", new { decision = "approve" })).Expect(200);
        var left = await scene.Owner.ReadAsync("/api/approvals");
        var none = await scene.Owner.WriteAsync($"/api/hosts/{scene.HostId}/approvals/t-1", new { decision = "approve" });

        Assert.Equal(asked.String("writeBack.id"), Assert.Single(decided["commands"].EnumerateArray()).GetProperty("id").GetString());
        Assert.Equal(1, left["approvals"].GetArrayLength());
        none.Expect(404);
    }

    [Fact]
    public async Task StrictestPolicy_OfSeveral_Holds()
    {
        await using var scene = await SceneAsync();
        await scene.PolicyAsync("a", "*", approverRole: "member", creatorMayDecide: true);
        await scene.PolicyAsync("b", "vm.*", approverRole: "owner");

        var held = await scene.CreateAsync("vm.delete");

        Assert.Equal(("b", "owner"), (held.String("command.approvalPolicy"), held.String("command.approverRole")));
    }

    [Fact]
    public async Task Policy_Removed_HoldsNothingMore()
    {
        await using var scene = await SceneAsync();
        await scene.PolicyAsync("all", "*");
        var listed = await scene.Owner.ReadAsync("/api/approvals/policies");

        (await scene.Owner.CallAsync(HttpMethod.Delete, "/api/approvals/policies/all")).Expect(200);

        Assert.Equal("all", Assert.Single(listed["policies"].EnumerateArray()).GetProperty("id").GetString());
        Assert.Equal("QUEUED", (await scene.CreateAsync("a")).String("command.state"));
    }

    [Fact]
    public async Task Acts_ThatMatter_AreInTheAuditLog()
    {
        await using var scene = await SceneAsync();
        await scene.PolicyAsync("all", "*", creatorMayDecide: true);
        var id = (await scene.CreateAsync("vm.delete")).String("command.id");
        await scene.Owner.WriteAsync($"/api/approvals/{id}/decide", new { decision = "approve", note = "checked" });

        using var connection = fixture.Connect(scene.Options);
        using var command = connection.CreateCommand();
        command.CommandText = $"select actor || ' ' || detail from audit_log where action = 'command.decided' and subject = '{id}'";
        Assert.Equal("owner@example.com approved vm.delete: checked", command.ExecuteScalar());
    }

    private async Task<Scene> SceneAsync()
    {
        var options = await fixture.CreateDatabaseAsync();
        var hub = await HubHost.StartAsync(fixture, options);
        var (hostId, credential) = await hub.ClaimAsync();
        return new Scene(hub, options, hostId, hub.As(credential), hub.As(await hub.UserTokenAsync()));
    }

    private sealed record Scene(HubHost Hub, StoreOptions Options, string HostId, HttpClient Node, HttpClient Owner) : IAsyncDisposable
    {
        public async Task PolicyAsync(string id, string commandType, string approverRole = "", bool creatorMayDecide = false, string name = "")
        {
            string[] commandTypes = [commandType];
            (await Owner.CallAsync(
                HttpMethod.Put, $"/api/approvals/policies/{id}", new { commandTypes, approverRole, creatorMayDecide, name })).Expect(200);
        }

        public async Task<RestAnswer> CreateAsync(string type) =>
            (await Owner.WriteAsync($"/api/hosts/{HostId}/commands", new { type })).Expect(201);

        public async Task<HttpClient> PersonAsync(string email, string role) => Hub.As(await Hub.UserTokenAsync(email, role));

        public async Task<string> StrangerAsync()
        {
            var accounts = Hub.Service<Accounts>();
            await accounts.EnsureTeamAsync("elsewhere", CancellationToken.None);
            return await accounts.IssueUserTokenAsync(
                "stranger@example.com", "elsewhere", TeamRole.Owner, TimeSpan.FromHours(1), CancellationToken.None);
        }

        public async ValueTask DisposeAsync()
        {
            Node.Dispose();
            Owner.Dispose();
            await Hub.DisposeAsync();
        }
    }
}

public sealed class SqliteApprovalTests(SqliteStoreFixture fixture) : ApprovalTests(fixture), IClassFixture<SqliteStoreFixture>;

public sealed class PostgresApprovalTests(PostgresStoreFixture fixture) : ApprovalTests(fixture), IClassFixture<PostgresStoreFixture>;
