using Hub.Hosting;
using Hub.Mail;
using Hub.TestKit;
using Microsoft.Extensions.Configuration;
using Microsoft.Extensions.Logging;

namespace Hub.Tests.Mail;

public sealed class OutboxTests
{
    private const int LettersMax = 200;

    [Fact]
    public void Post_OneMoreThanMayWait_IsNotTaken()
    {
        using var logs = new LogGuard();
        using var outbox = new Outbox(HubSettings.Read(new ConfigurationBuilder().Build()), logs.CreateLogger<Outbox>());

        for (var i = 0; i < LettersMax; i++)
        {
            outbox.Post(new Letter("person@example.com", "Subject", "Text"));
        }

        Assert.Empty(logs.Entries);
        outbox.Post(new Letter("person@example.com", "Subject", "Text"));
        Assert.Equal("MailFull", Assert.Single(logs.Entries).EventName);
    }
}
