using System.Net;
using System.Net.Sockets;
using System.Text;
using System.Text.RegularExpressions;
using System.Threading.Channels;

namespace Hub.TestKit;

/// <summary>A mail server on loopback (RFC 5321, what a submission needs) that keeps what it is given.</summary>
public sealed partial class MailServer : IAsyncDisposable
{
    private const int LettersMax = 100;

    private readonly TcpListener _listener = new(IPAddress.Loopback, 0);
    private readonly CancellationTokenSource _stopping = new();
    private readonly Channel<ReceivedLetter> _letters = Channel.CreateBounded<ReceivedLetter>(LettersMax);
    private readonly Task _serving;

    public MailServer()
    {
        _listener.Start();
        _serving = ServeAsync();
    }

    /// <summary>Its address as HUB_SMTP_URL wants it.</summary>
    public string Url => $"smtp://127.0.0.1:{((IPEndPoint)_listener.LocalEndpoint).Port}";

    /// <summary>The settings of a Hub that sends its mail here.</summary>
    public (string Key, string Value)[] Settings => [("HUB_SMTP_URL", Url), ("HUB_MAIL_FROM", "hub@example.com")];

    /// <summary>The next letter.</summary>
    public Task<ReceivedLetter> ReceiveAsync() => _letters.Reader.ReadAsync().AsTask().Within();

    /// <summary>How many letters nobody has taken yet.</summary>
    public int Waiting => _letters.Reader.Count;

    public async ValueTask DisposeAsync()
    {
        await _stopping.CancelAsync();
        _listener.Stop();
        await _serving.Within();
        _stopping.Dispose();
    }

    private async Task ServeAsync()
    {
        try
        {
            while (true)
            {
                using var client = await _listener.AcceptTcpClientAsync(_stopping.Token);
                await ConverseAsync(client);
            }
        }
        catch (Exception e) when (_stopping.IsCancellationRequested && e is OperationCanceledException or SocketException or IOException)
        {
            // The test is over.
        }
    }

    private async Task ConverseAsync(TcpClient client)
    {
        using var reader = new StreamReader(client.GetStream(), Encoding.UTF8);
        await using var writer = new StreamWriter(client.GetStream(), new UTF8Encoding(false)) { NewLine = "\r\n", AutoFlush = true };
        await writer.WriteLineAsync("220 test");
        var to = "";
        while (await reader.ReadLineAsync(_stopping.Token) is { } line)
        {
            if (line.StartsWith("RCPT TO:", StringComparison.OrdinalIgnoreCase))
            {
                to = line["RCPT TO:".Length..].Trim('<', '>', ' ');
            }

            if (line.Equals("DATA", StringComparison.OrdinalIgnoreCase))
            {
                await writer.WriteLineAsync("354 go on");
                await _letters.Writer.WriteAsync(await ReadLetterAsync(reader, to), _stopping.Token);
            }

            await writer.WriteLineAsync(line.StartsWith("QUIT", StringComparison.OrdinalIgnoreCase) ? "221 bye" : "250 ok");
        }
    }

    private async Task<ReceivedLetter> ReadLetterAsync(StreamReader reader, string to)
    {
        var subject = "";
        var body = new StringBuilder();
        var isBody = false;
        while (await reader.ReadLineAsync(_stopping.Token) is { } line && line != ".")
        {
            if (!isBody)
            {
                isBody = line.Length == 0;
                subject = line.StartsWith("Subject: ", StringComparison.OrdinalIgnoreCase) ? line["Subject: ".Length..] : subject;
                continue;
            }

            // Quoted-printable (RFC 2045 §6.7): a "=" at a line's end joins it with the next; leading dots are doubled on the way.
            var text = line.StartsWith('.') ? line[1..] : line;
            _ = text.EndsWith('=') ? body.Append(text, 0, text.Length - 1) : body.Append(text).Append('\n');
        }

        return new ReceivedLetter(to, subject, Escaped().Replace(body.ToString(), match => ((char)Convert.ToInt32(match.Groups[1].Value, 16)).ToString()));
    }

    [GeneratedRegex("=([0-9A-F]{2})")]
    private static partial Regex Escaped();
}

/// <summary>A letter as it arrived.</summary>
public sealed partial record ReceivedLetter(string To, string Subject, string Text)
{
    /// <summary>The token that the letter's link carries.</summary>
    public string Token => TokenInLink().Match(Text).Groups[1].Value;

    [GeneratedRegex(@"\?token=([A-Za-z0-9_-]+)")]
    private static partial Regex TokenInLink();
}
