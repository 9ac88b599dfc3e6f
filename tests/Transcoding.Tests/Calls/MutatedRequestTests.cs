using System.Globalization;
using System.Net;
using System.Net.Sockets;
using System.Text;
using System.Text.Json;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Http.Features;

namespace Hub.Transcoding.Tests.Calls;

/// <summary>Whatever is sent gets an answer that is not 500, and nothing lands in the log as an error.</summary>
public sealed class MutatedRequestTests(ITestOutputHelper output)
{
    private const int InMemory = 100_000;
    private const int OverTheWire = 5_000;

    /// <summary>Most requests go through the whole pipeline without a socket: routing, binding, the method, the answer.</summary>
    [Fact]
    public async Task Requests_MutatedInMemory_AreAnsweredWithout500()
    {
        await using var host = await RestHost.StartAsync();
        var requests = new MutatedRequests(Seed());
        var statuses = new SortedDictionary<int, int>();
        for (var i = 0; i < InMemory; i++)
        {
            var mutant = requests.Next();
            var answer = new MemoryStream();
            var http = Context(host, mutant, answer);

            await host.Pipeline(http).WaitAsync(RestHost.Patience);

            statuses[http.Response.StatusCode] = statuses.GetValueOrDefault(http.Response.StatusCode) + 1;
            Assert.True(http.Response.StatusCode < 500 && host.Log.Errors.Count == 0, $"{http.Response.StatusCode} {mutant}");
            // These two send the client's own bytes back.
            var isEcho = http.Request.Path.StartsWithSegments("/v1/mirror") || http.Request.Path.StartsWithSegments("/api/raw");
            if (!isEcho && http.Response.ContentType == "application/json" && http.Response.Headers.ContentEncoding.Count == 0)
            {
                using var json = JsonDocument.Parse(answer.ToArray(), new JsonDocumentOptions { MaxDepth = 300 });
            }
        }

        output.WriteLine(string.Join(", ", statuses.Select(status => $"{status.Key}: {status.Value}")));
        Assert.True(statuses[200] > InMemory / 10 && statuses[400] > InMemory / 10); // Neither all good nor all hopeless.
    }

    /// <summary>Some go through Kestrel as bytes, so that heads may be broken too.</summary>
    [Fact]
    public async Task Requests_MutatedOnTheWire_AreAnsweredWithout500()
    {
        await using var host = await RestHost.StartAsync();
        var requests = new MutatedRequests(Seed());
        for (var i = 0; i < OverTheWire; i++)
        {
            var bytes = requests.NextBytes();

            var answer = await SendAsync(host, bytes);

            var status = answer.StartsWith("HTTP/1.1 ", StringComparison.Ordinal) ? int.Parse(answer.AsSpan(9, 3), CultureInfo.InvariantCulture) : 0;
            Assert.True(status is not 500 && host.Log.Errors.Count == 0, Convert.ToBase64String(bytes));
        }

        Assert.Contains("\"got\"", await host.Client.GetStringAsync("/v1/m/1"), StringComparison.Ordinal);
    }

    private static async Task<string> SendAsync(RestHost host, byte[] bytes)
    {
        using var client = new TcpClient();
        await client.ConnectAsync(IPAddress.Loopback, host.Address.Port).WaitAsync(RestHost.Patience);
        await using var stream = client.GetStream();
        try
        {
            await stream.WriteAsync(bytes);
            client.Client.Shutdown(SocketShutdown.Send); // A body that was cut short ends here instead of being waited for.
            using var reader = new StreamReader(stream, Encoding.Latin1);
            return await reader.ReadToEndAsync().WaitAsync(RestHost.Patience);
        }
        catch (Exception error) when (error is SocketException or IOException)
        {
            return ""; // The server had enough before all was sent.
        }
    }

    private static DefaultHttpContext Context(RestHost host, Mutant mutant, Stream answer)
    {
        var query = mutant.Target.IndexOf('?', StringComparison.Ordinal);
        var path = query < 0 ? mutant.Target : mutant.Target[..query];
        var http = new DefaultHttpContext { ServiceScopeFactory = host.Scopes };
        http.Features.Set<IHttpResponseBodyFeature>(new StreamResponseBodyFeature(answer));
        http.Request.Method = mutant.Method;
        http.Request.Path = new PathString(path.StartsWith('/') ? Uri.UnescapeDataString(path.Replace("%2F", "%252F", StringComparison.OrdinalIgnoreCase)) : "/");
        http.Request.QueryString = query < 0 ? QueryString.Empty : new QueryString(mutant.Target[query..]);
        http.Features.GetRequiredFeature<IHttpRequestFeature>().RawTarget = mutant.Target;
        http.Request.ContentType = "application/json";
        foreach (var (name, value) in mutant.Headers)
        {
            http.Request.Headers[name] = value;
        }

        http.Request.ContentLength = mutant.Body.Length;
        http.Request.Body = new MemoryStream(mutant.Body);
        return http;
    }

    private int Seed()
    {
        var seed = Environment.GetEnvironmentVariable("TEST_SEED") is { } given ? int.Parse(given, CultureInfo.InvariantCulture) : Random.Next();
        output.WriteLine($"TEST_SEED={seed}");
        return seed;
    }

    private static readonly Random Random = new();
}
