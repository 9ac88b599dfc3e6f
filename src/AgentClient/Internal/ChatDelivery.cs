using Hub.Contracts.V1;
using Microsoft.Extensions.Logging;

namespace Hub.AgentClient.Internal;

/// <summary>
/// Shows chat messages to the application one after the other. A message leaves the journal after the handler ran: once in the ordinary
/// course, again after a crash in the middle.
/// </summary>
internal sealed partial class ChatDelivery(SharedSession session, Func<ChatMessage, CancellationToken, Task> handler, ILogger logger)
{
    public async Task RunAsync(CancellationToken stopping)
    {
        while (true)
        {
            while (session.Read(target => target.PeekChat()) is { } next)
            {
                await HandleAsync(next, stopping);
                session.Change(target => target.ChatHandled(next.Seq));
            }

            await session.Inbox.WaitAsync(stopping);
        }
    }

    private async Task HandleAsync(InboxMessage next, CancellationToken stopping)
    {
        try
        {
            await handler(next.Message, stopping);
        }
#pragma warning disable CA1031 // The application's code: a message it cannot handle must not hold up those behind it.
        catch (Exception error) when (!stopping.IsCancellationRequested)
#pragma warning restore CA1031
        {
            LogFailed(error, next.Message.Id);
        }
    }

    [LoggerMessage(Level = LogLevel.Warning, EventName = "ChatHandlerFailed", Message = "The handler of chat message {Id} failed.")]
    private partial void LogFailed(Exception error, string id);
}
