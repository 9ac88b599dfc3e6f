using System.Net.Http.Headers;
using System.Text.Json.Nodes;
using System.Text.RegularExpressions;
using System.Text;
using Google.Api;
using Google.Protobuf.Reflection;
using Google.Protobuf;
using Google.Rpc;
using Grpc.Core;
using Hub.Contracts.V1;
using Hub.Hosting;
using Hub.IntegrationTests.Relays;
using Hub.Options.V1;
using Hub.TestKit;

namespace Hub.IntegrationTests.Contract;

/// <summary>Every unary RPC by gRPC and by REST: the same answer, and the same refusal.</summary>
public abstract partial class RpcAndRestTests(StoreFixture fixture)
{
    [Fact]
    public void Table_HasARowForEveryUnaryRpcWithAnHttpRule()
    {
        var unary = RuledMethod.All.Where(route => !route.Method.IsServerStreaming).Select(route => route.Method.Name);

        Assert.Equal(unary.Order(), RpcRows.Unary.Select(row => row.Rpc).Order());
    }

    [Fact]
    public async Task EveryUnaryRpc_ByGrpcAndByRest_GivesTheSameAnswer()
    {
        // The clock stands still, so that times are alike as well.
        await using var relay = await RelayPeer.StartAsync();
        await using var hub = await HubHost.StartAsync(
            fixture, await fixture.CreateDatabaseAsync(), new ManualTimeProvider(), Stage.Settings, (HubSettings.RelayUrlKey, relay.Url.AbsoluteUri));
        var faults = new List<string>();
        foreach (var row in RpcRows.Unary)
        {
            var (one, two) = (await SetStageAsync(hub, row), await SetStageAsync(hub, row));
            await using var linkOfOne = row.SucceedsOnALink ? await one.ConnectAsync(hub) : null;
            await using var linkOfTwo = row.SucceedsOnALink ? await two.ConnectAsync(hub) : null;
            var byGrpc = await GrpcAsync(hub, row, row.Request(one), one);
            var byRest = await RestAsync(hub, row, row.Request(two), two);
            if (byGrpc.Error is not null || byRest.HttpStatus is < 200 or >= 300)
            {
                faults.Add($"{row.Rpc} failed: {byGrpc.Error?.Message} / {byRest.HttpStatus} {byRest.Text}");
                continue;
            }

            var (left, right) = (Comparable(byGrpc.Answer!, one), Comparable(ReadAnswer(row, byRest.Text), two));
            if (!left.Equals(right))
            {
                faults.Add($"{row.Rpc} differs:{Environment.NewLine}{left}{Environment.NewLine}{right}");
            }
        }

        Assert.Empty(faults);
    }

    [Fact]
    public async Task EveryUnaryRpc_ByGrpcAndByRest_GivesTheSameRefusal()
    {
        await using var hub = await HubHost.StartAsync(fixture, await fixture.CreateDatabaseAsync(), new ManualTimeProvider(), Stage.Settings);
        var faults = new List<string>();
        foreach (var row in RpcRows.Unary.Where(row => row.Refused is not null))
        {
            var (one, two) = (await SetStageAsync(hub, row), await SetStageAsync(hub, row));
            var byGrpc = await GrpcAsync(hub, row, row.Refused!(one), one);
            var byRest = await RestAsync(hub, row, row.Refused!(two), two);
            if (Refusal.Of(byGrpc.Error, one) is var left && Refusal.Of(byRest.HttpStatus, byRest.Text, two) is var right && left != right)
            {
                faults.Add($"{row.Rpc} differs:{Environment.NewLine}{left}{Environment.NewLine}{right}");
            }
        }

        Assert.Empty(faults);
    }

    private static async Task<Stage> SetStageAsync(HubHost hub, RpcRow row)
    {
        var stage = await (await Stage.SetAsync(hub)).FillAsync(hub);
        if (row.Rpc is "SignIn" or "RefreshSession" or "ResetPassword")
        {
            await stage.SignUpAsync(hub);
        }

        return stage;
    }

    private static RuledMethod RouteOf(RpcRow row) => RuledMethod.All.Single(route => route.Method.Name == row.Rpc);

    private static async Task<(IMessage? Answer, RpcException? Error)> GrpcAsync(HubHost hub, RpcRow row, IMessage request, Stage stage)
    {
        var descriptor = RouteOf(row).Method;
        var method = new Method<IMessage, IMessage>(
            MethodType.Unary, descriptor.Service.FullName, descriptor.Name,
            Marshallers.Create<IMessage>(message => message.ToByteArray(), descriptor.InputType.Parser.ParseFrom),
            Marshallers.Create<IMessage>(message => message.ToByteArray(), descriptor.OutputType.Parser.ParseFrom));
        var options = stage.TokenOf(row.Caller) is { } token ? HubHost.With(token) : default;
        try
        {
            return (await hub.Channel.CreateCallInvoker().AsyncUnaryCall(method, null, options, request).ResponseAsync.Within(), null);
        }
        catch (RpcException e)
        {
            return (null, e);
        }
    }

    private static async Task<(int HttpStatus, string Text)> RestAsync(HubHost hub, RpcRow row, IMessage message, Stage stage)
    {
        var route = RouteOf(row);
        var json = JsonNode.Parse(JsonFormatter.Default.Format(message))!.AsObject();
        var fields = message.Descriptor.Fields;
        var path = route.Path(field =>
        {
            var name = fields[field].JsonName;
            var value = json[name]!.GetValue<string>();
            json.Remove(name);
            return Uri.EscapeDataString(value);
        });
        var query = route.HasBody ? [] : json.Select(pair => $"{pair.Key}={Uri.EscapeDataString(pair.Value!.ToString())}").ToArray();
        using var request = new HttpRequestMessage(route.Http, query.Length == 0 ? path : $"{path}?{string.Join('&', query)}");
        if (route.HasBody)
        {
            request.Content = new StringContent((route.Body == "*" ? json : json[fields[route.Body].JsonName] ?? new JsonObject()).ToJsonString(), Encoding.UTF8, "application/json");
        }

        if (stage.TokenOf(row.Caller) is { } token)
        {
            request.Headers.Authorization = new AuthenticationHeaderValue("Bearer", token);
        }

        using var response = await hub.Rest.SendAsync(request).Within();
        return ((int)response.StatusCode, await response.Content.ReadAsStringAsync().Within());
    }

    private static IMessage ReadAnswer(RpcRow row, string text)
    {
        var descriptor = RouteOf(row).Method.OutputType;
        if (descriptor.Fields.InFieldNumberOrder() is [{ FieldType: FieldType.Message } raw] && raw.MessageType == HttpBody.Descriptor)
        {
            var message = (IMessage)Activator.CreateInstance(descriptor.ClrType)!;
            raw.Accessor.SetValue(message, new HttpBody { ContentType = "text/markdown; charset=utf-8", Data = ByteString.CopyFromUtf8(text) });
            return message;
        }

        var json = JsonNode.Parse(text)!;
        if (RouteOf(row).Method.GetOptions().GetExtension(RestExtensions.Rest)?.ResponseField is { Length: > 0 } whole)
        {
            json = new JsonObject { [whole] = json };
        }

        LengthenEnums(json, descriptor);
        return new JsonParser(JsonParser.Settings.Default).Parse(json.ToJsonString(), descriptor);
    }

    /// <summary>The surface shows enum values without their prefix; the ordinary parser wants it.</summary>
    private static void LengthenEnums(JsonNode node, MessageDescriptor descriptor)
    {
        if (node is not JsonObject json || descriptor.FullName.StartsWith("google.protobuf.", StringComparison.Ordinal))
        {
            return;
        }

        foreach (var field in descriptor.Fields.InFieldNumberOrder().Where(field => !field.IsMap && json[field.JsonName] is not null))
        {
            var value = json[field.JsonName]!;
            if (field.FieldType == FieldType.Enum)
            {
                var shown = value.GetValue<string>();
                json[field.JsonName] = field.EnumType.Values.Single(item => item.Name == shown || item.Name.EndsWith($"_{shown}", StringComparison.Ordinal)).Name;
            }
            else if (field.FieldType == FieldType.Message)
            {
                foreach (var item in value is JsonArray list ? list.ToArray() : [value])
                {
                    LengthenEnums(item!, field.MessageType);
                }
            }
        }
    }

    /// <summary>The answer without what two calls cannot have in common: what is of their stage, and secrets.</summary>
    private static IMessage Comparable(IMessage answer, Stage stage)
    {
        var json = Secrets().Replace(stage.Blank(JsonFormatter.Default.Format(answer)), "<secret>");
        return JsonParser.Default.Parse(Ids().Replace(json, "\"<id>\""), answer.Descriptor);
    }

    [GeneratedRegex(@"(hcred|hjoin|hwatch|hinvite|hrefresh|rk_live)_[A-Za-z0-9_-]{40,}|eyJ[\w-]+\.eyJ[\w-]+\.[\w-]+")]
    private static partial Regex Secrets();

    [GeneratedRegex("\"(host|cmd|msg|key|cred|comment|query|feedback|user|team|org|invite|audit)-[0-9a-f-]{36}\"")]
    private static partial Regex Ids();

    /// <summary>A refusal as both kinds of client see it.</summary>
    private sealed record Refusal(int Grpc, int Http, string Reason, string Message, string Details)
    {
        public static Refusal Of(RpcException? error, Stage stage)
        {
            var info = error?.GetRpcStatus()?.GetDetail<ErrorInfo>();
            Assert.True(info is not null, $"not refused, or without a reason: {error}");
            var status = ErrorReasonReflection.Descriptor.EnumTypes[0].FindValueByName($"ERROR_REASON_{info.Reason}").GetOptions()
                .GetExtension(RestExtensions.ErrorStatus);
            Assert.Equal(status.Grpc, (int)error!.StatusCode);
            return new Refusal(
                status.Grpc, status.Http, info.Reason, stage.Blank(error.Status.Detail),
                stage.Blank(string.Join(';', info.Metadata.OrderBy(pair => pair.Key, StringComparer.Ordinal).Select(pair => $"{pair.Key}={pair.Value}"))));
        }

        public static Refusal Of(int httpStatus, string text, Stage stage)
        {
            var json = JsonNode.Parse(text)!;
            var code = json["code"]!.GetValue<string>();
            var details = json["details"]?.AsObject().OrderBy(pair => pair.Key, StringComparer.Ordinal).Select(pair => $"{pair.Key}={pair.Value}") ?? [];
            return new Refusal(
                (int)System.Enum.Parse<StatusCode>(code.Replace("_", "", StringComparison.Ordinal), ignoreCase: true), httpStatus,
                json["reason"]?.GetValue<string>() ?? "", stage.Blank(json["error"]!.GetValue<string>()), stage.Blank(string.Join(';', details)));
        }
    }
}

public sealed class SqliteRpcAndRestTests(SqliteStoreFixture fixture) : RpcAndRestTests(fixture), IClassFixture<SqliteStoreFixture>;

public sealed class PostgresRpcAndRestTests(PostgresStoreFixture fixture) : RpcAndRestTests(fixture), IClassFixture<PostgresStoreFixture>;
