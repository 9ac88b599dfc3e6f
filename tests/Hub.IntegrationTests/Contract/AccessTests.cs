using Google.Protobuf;
using Google.Protobuf.Reflection;
using Google.Rpc;
using Grpc.Core;
using Hub.Contracts.V1;
using Hub.Identity;
using Hub.TestKit;

namespace Hub.IntegrationTests.Contract;

/// <summary>Every RPC by every kind of caller: who gets in, who is refused, and to whom nothing is there.</summary>
public abstract class AccessTests(StoreFixture fixture)
{
    /// <summary>Every RPC of hub.v1, also those without an HTTP rule.</summary>
    private static readonly MethodDescriptor[] Methods =
    [
        .. typeof(HostService).Assembly.GetTypes().Where(type => type.Namespace == typeof(HostService).Namespace)
            .Select(type => type.GetProperty("Descriptor")?.GetValue(null)).OfType<ServiceDescriptor>().SelectMany(service => service.Methods),
    ];

    private static readonly RpcRow[] Rows = [.. RpcRows.Unary, .. RpcRows.Streaming];

    private static readonly string[] ReadingVerbs = ["Get", "List", "Explain", "Validate", "Export", "Watch"];

    private enum Who
    {
        Owner,
        Admin,
        Member,
        Viewer,
        OwnNode,
        OtherTeam,
        HostOfAnotherTeam,
        RevokedHost,
        RevokedKey,
        Nobody,
    }

    /// <summary>What access decided; what came of the call is for other tests.</summary>
    private enum Verdict
    {
        Allowed,

        /// <summary>The caller sees it and may not do it.</summary>
        Denied,

        /// <summary>The caller is told that there is no such thing.</summary>
        Hidden,

        /// <summary>The credential is of the wrong kind, or was revoked.</summary>
        Unknown,

        NoCredential,
    }

    [Fact]
    public void Table_HasARowForEveryRpcOfTheContract()
    {
        Assert.Equal(Methods.Select(method => method.Name).Order(), Rows.Select(row => row.Rpc).Order());
    }

    [Fact]
    public async Task EveryRpc_ByEveryCaller_IsDecidedAsTheTableSays()
    {
        await using var hub = await HubHost.StartAsync(fixture, await fixture.CreateDatabaseAsync(), null, Stage.Settings);
        var strangers = await StrangersAsync(hub);
        var shared = await (await Stage.SetAsync(hub)).FillAsync(hub); // For reading and for refusals, which leave it as it is.
        var faults = new List<string>();
        foreach (var row in Rows)
        {
            var isReading = ReadingVerbs.Any(verb => row.Rpc.StartsWith(verb, StringComparison.Ordinal));
            var callers = Enum.GetValues<Who>().ToLookup(who => Expected(row.Needs, who));
            foreach (var (verdict, who) in callers.Where(group => group.Key != Verdict.Allowed).SelectMany(group => group.Select(who => (group.Key, who))))
            {
                await CheckAsync(hub, row, shared, who, verdict, strangers, faults);
            }

            var allowed = callers[Verdict.Allowed].ToArray();
            foreach (var who in allowed.Where(who => who == allowed[0] || who == allowed[^1] || who == Who.Viewer))
            {
                await CheckAsync(hub, row, isReading ? shared : await OwnStageAsync(hub, row), who, Verdict.Allowed, strangers, faults);
            }
        }

        Assert.True(faults.Count == 0, string.Join(Environment.NewLine, faults));
    }

    private static async Task<Stage> OwnStageAsync(HubHost hub, RpcRow row)
    {
        var stage = await Stage.SetAsync(hub);
        return row.Rpc.Contains("Command", StringComparison.Ordinal) || row.Rpc.Contains("Approval", StringComparison.Ordinal)
            ? await stage.FillAsync(hub)
            : stage;
    }

    private static Verdict Expected(Needs needs, Who who)
    {
        if (needs == Needs.Nothing)
        {
            return Verdict.Allowed;
        }

        return who switch
        {
            Who.Nobody => Verdict.NoCredential,
            Who.RevokedHost or Who.RevokedKey => Verdict.Unknown,
            Who.OtherTeam when needs is Needs.Person or Needs.MemberOfOwnTeam => Verdict.Allowed,
            Who.OwnNode or Who.HostOfAnotherTeam when needs == Needs.AnyNode => Verdict.Allowed,
            _ when needs == Needs.AnyNode => Verdict.Unknown,
            Who.OtherTeam or Who.HostOfAnotherTeam => Verdict.Hidden,
            Who.OwnNode => needs is Needs.Node or Needs.ViewerOrNode or Needs.MemberOrNode or Needs.AdminOrNode ? Verdict.Allowed : Verdict.Hidden,
            _ when needs == Needs.Person => Verdict.Allowed,
            _ when needs == Needs.Node => Verdict.Denied,
            Who.Owner => Verdict.Allowed,
            Who.Admin => needs == Needs.Owner ? Verdict.Denied : Verdict.Allowed,
            Who.Member => needs is Needs.Owner or Needs.Admin or Needs.AdminOrNode ? Verdict.Denied : Verdict.Allowed,
            _ => needs is Needs.Viewer or Needs.ViewerOrNode ? Verdict.Allowed : Verdict.Denied,
        };
    }

    private static async Task CheckAsync(
        HubHost hub, RpcRow row, Stage stage, Who who, Verdict expected, IReadOnlyDictionary<Who, string> strangers, List<string> faults)
    {
        if (row.Rpc is "SignIn" or "RefreshSession" or "ResetPassword")
        {
            await stage.SignUpAsync(hub);
        }

        var token = who switch
        {
            Who.Owner => stage.OwnerToken,
            Who.Admin => await Stage.TokenAsync(hub, stage.TeamId, "admin", TeamRole.Admin),
            Who.Member => await Stage.TokenAsync(hub, stage.TeamId, "colleague", TeamRole.Member),
            Who.Viewer => await Stage.TokenAsync(hub, stage.TeamId, "viewer", TeamRole.Viewer),
            Who.OwnNode => stage.Credential,
            Who.Nobody => null,
            _ => strangers[who],
        };
        var reason = await ReasonOfAsync(hub, row, stage, token);
        var verdict = reason switch
        {
            "CREDENTIAL_MISSING" => Verdict.NoCredential,
            "CREDENTIAL_INVALID" or "CREDENTIAL_REVOKED" => Verdict.Unknown,
            "ROLE_REQUIRED" or "PRINCIPAL_NOT_ALLOWED" => Verdict.Denied,
            "TEAM_NOT_FOUND" or "HOST_NOT_FOUND" or "USER_NOT_FOUND" or "ORG_NOT_FOUND" or "COMMAND_NOT_FOUND" => Verdict.Hidden,
            _ => Verdict.Allowed,
        };
        if (verdict != expected)
        {
            faults.Add($"{row.Rpc} by {who}: {verdict} ({reason}) instead of {expected}");
        }
    }

    /// <summary>The reason of the refusal, or empty.</summary>
    private static async Task<string> ReasonOfAsync(HubHost hub, RpcRow row, Stage stage, string? token)
    {
        var descriptor = Methods.Single(method => method.Name == row.Rpc);
        var type = (descriptor.IsClientStreaming, descriptor.IsServerStreaming) switch
        {
            (false, false) => MethodType.Unary,
            (false, true) => MethodType.ServerStreaming,
            (true, false) => MethodType.ClientStreaming,
            _ => MethodType.DuplexStreaming,
        };
        var method = new Method<IMessage, IMessage>(
            type, descriptor.Service.FullName, descriptor.Name,
            Marshallers.Create<IMessage>(message => message.ToByteArray(), descriptor.InputType.Parser.ParseFrom),
            Marshallers.Create<IMessage>(message => message.ToByteArray(), descriptor.OutputType.Parser.ParseFrom));
        var options = token is null ? default : HubHost.With(token);
        var invoker = hub.Channel.CreateCallInvoker();
        try
        {
            switch (type)
            {
                case MethodType.Unary:
                    await invoker.AsyncUnaryCall(method, null, options, row.Request(stage)).ResponseAsync.Within();
                    break;
                case MethodType.ServerStreaming:
                    using (var call = invoker.AsyncServerStreamingCall(method, null, options, row.Request(stage)))
                    {
                        await call.ResponseStream.MoveNext(CancellationToken.None).Within();
                    }

                    break;
                default:
                    using (var call = invoker.AsyncDuplexStreamingCall(method, null, options))
                    {
                        await call.RequestStream.WriteAsync(row.Request(stage)).Within();
                        while (await call.ResponseStream.MoveNext(CancellationToken.None).Within()
                            && call.ResponseStream.Current is ConnectResponse { FrameCase: ConnectResponse.FrameOneofCase.Goodbye })
                        {
                            // The refusal comes after the farewell.
                        }
                    }

                    break;
            }

            return "";
        }
        catch (RpcException e)
        {
            return e.GetRpcStatus()?.GetDetail<ErrorInfo>()?.Reason ?? throw new InvalidOperationException($"{row.Rpc} was refused without a reason.", e);
        }
    }

    /// <summary>Callers who have nothing to do with any stage.</summary>
    private static async Task<IReadOnlyDictionary<Who, string>> StrangersAsync(HubHost hub)
    {
        var owner = await hub.UserTokenAsync("stranger@example.com");
        using var client = hub.As(owner);
        var (_, credential) = await hub.ClaimAsync("another");
        var (revokedId, revoked) = await hub.ClaimAsync("revoked");
        (await client.WriteAsync($"/api/hosts/{revokedId}/revoke-credential", "{}")).Expect(200);
        var key = (await client.WriteAsync($"/api/teams/{HubHost.Team}/keys", new { name = "revoked", role = "ADMIN" })).Expect(201);
        (await client.CallAsync(HttpMethod.Delete, $"/api/teams/{HubHost.Team}/keys/{key.String("apiKey.id")}")).Expect(200);
        return new Dictionary<Who, string>
        {
            [Who.OtherTeam] = owner,
            [Who.HostOfAnotherTeam] = credential,
            [Who.RevokedHost] = revoked,
            [Who.RevokedKey] = key.String("secret"),
        };
    }
}

public sealed class SqliteAccessTests(SqliteStoreFixture fixture) : AccessTests(fixture), IClassFixture<SqliteStoreFixture>;

public sealed class PostgresAccessTests(PostgresStoreFixture fixture) : AccessTests(fixture), IClassFixture<PostgresStoreFixture>;
