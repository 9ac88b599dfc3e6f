using System.Net;
using System.Text.Json.Nodes;
using Hub.TestKit;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Hosting;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Server.Kestrel.Core;
using Microsoft.Extensions.Logging;

namespace Hub.IntegrationTests.Relays;

/// <summary>The operator's relay: answers with what it was asked, or as the path says.</summary>
internal sealed class RelayPeer : IAsyncDisposable
{
    private readonly WebApplication _web;

    private RelayPeer(WebApplication web, Uri url) => (_web, Url) = (web, url);

    /// <summary>Below a path, so that it shows whether the Hub keeps it.</summary>
    public Uri Url { get; }

    /// <summary>The next answers' status; 200 if unset.</summary>
    public int Status { get; set; } = 200;

    public static async Task<RelayPeer> StartAsync()
    {
        var builder = WebApplication.CreateBuilder();
        builder.Logging.ClearProviders();
        ListenOptions listener = null!;
        builder.WebHost.ConfigureKestrel(kestrel => kestrel.Listen(IPAddress.Loopback, 0, listen => listener = listen));
        var web = builder.Build();
        RelayPeer peer = null!;
        web.Map("/relay/{**path}", context => peer.AnswerAsync(context));
        await web.StartAsync().Within();
        return peer = new RelayPeer(web, new Uri($"http://{listener.IPEndPoint}/relay"));
    }

    public ValueTask DisposeAsync() => _web.DisposeAsync();

    private async Task AnswerAsync(HttpContext context)
    {
        var answer = new JsonObject
        {
            ["relayed"] = $"{context.Request.RouteValues["path"]}{context.Request.QueryString}",
            ["host"] = context.Request.Headers["X-Hub-Host-Id"].ToString(),
            ["authorization"] = context.Request.Headers.Authorization.ToString(),
            ["body"] = context.Request.ContentLength > 0 ? await JsonNode.ParseAsync(context.Request.Body) : null,
            ["error"] = "Invalid or expired token",
        };
        context.Response.StatusCode = Status;
        await context.Response.WriteAsJsonAsync(answer);
    }
}
