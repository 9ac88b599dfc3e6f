using System.Net.Mail;
using System.Threading.Channels;
using Hub.Hosting;

namespace Hub.Mail;

/// <summary>A mail to one person.</summary>
internal sealed record Letter(string To, string Subject, string Text);

/// <summary>
/// Sends mail behind the back of whoever asked for it, so that an answer takes as long whether or not there is an account. Without a mail
/// server, letters of a Hub on loopback go to the console: whoever runs it at their own desk is the one who reads them.
/// </summary>
internal sealed partial class Outbox(HubSettings settings, ILogger<Outbox> log) : BackgroundService
{
    /// <summary>Letters that wait; more are not taken, their senders ask again.</summary>
    private const int LettersMax = 200;

    private static readonly TimeSpan SendWithin = TimeSpan.FromSeconds(30);

    private readonly Channel<Letter> _letters = Channel.CreateBounded<Letter>(new BoundedChannelOptions(LettersMax) { SingleReader = true });

    public void Post(Letter letter)
    {
        if (!_letters.Writer.TryWrite(letter))
        {
            LogFull(LettersMax);
        }
    }

    protected override async Task ExecuteAsync(CancellationToken stoppingToken)
    {
        try
        {
            await foreach (var letter in _letters.Reader.ReadAllAsync(stoppingToken))
            {
                await SendAsync(letter, stoppingToken);
            }
        }
        catch (OperationCanceledException) when (stoppingToken.IsCancellationRequested)
        {
            // The process ends; what was not sent is asked for again.
        }
    }

    private async Task SendAsync(Letter letter, CancellationToken stopping)
    {
        if (settings.Smtp is not { } server)
        {
            if (settings.HttpUrl.IsLoopback)
            {
                Console.WriteLine($"{Environment.NewLine}Mail for {letter.To}: {letter.Subject}{Environment.NewLine}{letter.Text}{Environment.NewLine}");
            }
            else
            {
                LogNotSent(letter.Subject, $"no mail server is set ({HubSettings.SmtpUrlKey})");
            }

            return;
        }

        using var within = CancellationTokenSource.CreateLinkedTokenSource(stopping);
        within.CancelAfter(SendWithin);
        try
        {
            using var client = new SmtpClient(server.Host, server.Port) { EnableSsl = server.Tls, Credentials = server.Credentials };
            using var message = new MailMessage(server.From, letter.To, letter.Subject, letter.Text);
            await client.SendMailAsync(message, within.Token);
        }
        catch (Exception e) when (e is SmtpException or FormatException or InvalidOperationException or IOException
            || (e is OperationCanceledException && !stopping.IsCancellationRequested))
        {
            LogNotSent(letter.Subject, e.Message);
        }
    }

    [LoggerMessage(LogLevel.Warning, "{Max} letters wait already; one was not taken", EventName = "MailFull")]
    private partial void LogFull(int max);

    [LoggerMessage(LogLevel.Warning, "A mail '{Subject}' was not sent: {Cause}", EventName = "MailNotSent")]
    private partial void LogNotSent(string subject, string cause);
}
