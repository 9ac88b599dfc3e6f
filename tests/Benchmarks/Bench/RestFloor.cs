using System.Net;
using System.Security.Cryptography;
using System.Text.Json;
using System.Text.Json.Serialization;
using Dapper;
using Hub.Hosts;
using Hub.Identity;
using Hub.Storage;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Hosting;
using Microsoft.AspNetCore.Http;
using Microsoft.Data.Sqlite;
using Microsoft.Extensions.Logging;

namespace Hub.Benchmarks.Bench;

/// <summary>
/// REST without a Hub, over the Hub's own SQLite file: Kestrel, the statements that the Hub's route runs for its answer, and System.Text.Json
/// with generated code. It knows no roles, limits or errors, and who calls is looked up where a node calls.
/// </summary>
internal static class RestFloor
{
    private const string TeamId = "default";

    private const string HostsSql =
        HostRow.SelectSql + "\nand h.team_id = @TeamId and (h.name, h.host_id) > ('', '') order by h.name, h.host_id limit 101";

    private const string CredentialSql =
        "select c.host_id from credentials c join hosts h on h.host_id = c.host_id join teams t on t.team_id = c.team_id where c.secret_hash = @hash";

    private const string KnownSql = """
        select record_id, body_hash from records where host_id = @hostId and collection = 'tasks' and deleted_at is null
            and record_id in (select value from json_each(@ids))
        """;

    /// <summary>Serves until the standard input ends; prints the port first.</summary>
    /// <param name="file">The database.</param>
    public static async Task<int> RunAsync(string file)
    {
        SqliteLibrary.Load();
        RowMap.Install();
        var builder = WebApplication.CreateSlimBuilder();
        builder.Logging.ClearProviders();
        builder.WebHost.ConfigureKestrel(kestrel =>
        {
            kestrel.Listen(IPAddress.Loopback, 0);
            kestrel.AddServerHeader = false;
        });
        await using var app = builder.Build();
        var database = $"Data Source={file};Mode=ReadOnly";
        app.MapGet("/hosts", async context =>
        {
            await using var connection = new SqliteConnection(database);
            var rows = await connection.QueryAsync<HostRow>(HostsSql, new { TeamId });
            await context.Response.WriteAsJsonAsync(new FloorHosts([.. rows.Take(100).Select(row => row.ToFloor())]), FloorJson.Default.FloorHosts);
        });
        app.MapPost("/heartbeat", async context =>
        {
            _ = await context.Request.ReadFromJsonAsync(FloorJson.Default.FloorHeartbeat);
            await using var connection = new SqliteConnection(database);
            _ = await HostOfAsync(connection, context);
            await context.Response.WriteAsJsonAsync(new FloorOk(true), FloorJson.Default.FloorOk);
        });
        app.MapPost("/tasks", async context =>
        {
            var sync = (await context.Request.ReadFromJsonAsync(FloorJson.Default.FloorTasks))!;
            await using var connection = new SqliteConnection(database);
            var hostId = await HostOfAsync(connection, context);
            var known = await connection.QueryAsync<(string, string)>(
                KnownSql, new { hostId, ids = JsonSerializer.Serialize(sync.Tasks.Select(task => task.Id).ToArray(), FloorJson.Default.StringArray) });
            var stored = known.ToDictionary(StringComparer.Ordinal);
            var changed = sync.Tasks.Count(task =>
                stored.GetValueOrDefault(task.Id) != Convert.ToHexStringLower(SHA256.HashData(JsonSerializer.SerializeToUtf8Bytes(task, FloorJson.Default.FloorTask))));
            await context.Response.WriteAsJsonAsync(new FloorSynced(true, changed), FloorJson.Default.FloorSynced);
        });
        await app.StartAsync();
        Console.WriteLine($"port {new Uri(app.Urls.First()).Port}");
        await Console.In.ReadToEndAsync();
        await app.StopAsync();
        return 0;
    }

    private static Task<string> HostOfAsync(SqliteConnection connection, HttpContext context) => connection.QuerySingleAsync<string>(
        CredentialSql, new { hash = Secret.Hash(Authenticator.TokenOf(context.Request.Headers.Authorization)) });

    private static FloorHost ToFloor(this HostRow row) => new(
        row.HostId, row.TeamId, row.Name, row.HostType, row.State, row.StateReason, row.StateSince, row.NodeVersion, row.Platform, row.LastSeenAt, row.CreatedAt,
        row.LinkState, row.Epoch, row.ConnectedAt);
}

internal sealed record FloorHosts(FloorHost[] Hosts);

internal sealed record FloorHost(
    string Id, string TeamId, string Name, string HostType, string State, string StateReason, long StateSince, string NodeVersion, string Platform,
    long? LastSeenAt, long CreatedAt, string LinkState, long Epoch, long ConnectedAt);

internal sealed record FloorHeartbeat(string Status, JsonElement[] Agents, JsonElement[] ActiveTasks);

internal sealed record FloorTasks(FloorTask[] Tasks);

internal sealed record FloorTask(string Id, string Title, string Status, string Description);

internal sealed record FloorSynced(bool Ok, int Changed);

internal sealed record FloorOk(bool Ok);

[JsonSourceGenerationOptions(JsonSerializerDefaults.Web)]
[JsonSerializable(typeof(FloorHosts))]
[JsonSerializable(typeof(FloorHeartbeat))]
[JsonSerializable(typeof(FloorTasks))]
[JsonSerializable(typeof(FloorSynced))]
[JsonSerializable(typeof(FloorOk))]
[JsonSerializable(typeof(string[]))]
internal sealed partial class FloorJson : JsonSerializerContext;
