using Hub.Contracts.V1;

namespace Hub.AgentClient.Node;

/// <summary>Lets a person or a test drive the node by lines of text; every line is answered by exactly one line.</summary>
internal sealed class LineProtocol(HubLink link, TextReader input, Func<string, Task> answer, TimeProvider time)
{
    /// <summary>Reads until "quit". At the end of the input the node goes on by itself: it may run without a terminal.</summary>
    public async Task RunAsync(CancellationToken cancellationToken)
    {
        while (await ReadLineAsync(cancellationToken) is { } line)
        {
            if (line.Trim() is "quit")
            {
                await answer("ok quit");
                return;
            }

            if (line.Trim().Length > 0)
            {
                await answer(await ExecuteOrExplainAsync(line.Trim(), cancellationToken));
            }
        }

        await Task.Delay(Timeout.InfiniteTimeSpan, time, cancellationToken);
    }

    // A read of a console or pipe cannot be taken back: at the end it is left behind on its pool thread, which does not hold the process.
    private Task<string?> ReadLineAsync(CancellationToken cancellationToken) =>
        Task.Run(() => input.ReadLineAsync(CancellationToken.None).AsTask(), CancellationToken.None).WaitAsync(cancellationToken);

    private async Task<string> ExecuteOrExplainAsync(string line, CancellationToken cancellationToken)
    {
        try
        {
            return await ExecuteAsync(line, cancellationToken);
        }
        catch (Exception error) when (error is ArgumentException or InvalidOperationException)
        {
            return $"error {error.Message.ReplaceLineEndings(" ")}";
        }
    }

    private async Task<string> ExecuteAsync(string line, CancellationToken cancellationToken)
    {
        switch (line.Split(' ', 4, StringSplitOptions.RemoveEmptyEntries))
        {
            case ["task", var id, var status, var title]:
                await link.PublishTaskAsync(new HostTask { Id = id, Status = status, Title = title, UpdatedAt = time.GetUtcNow().ToString("O") });
                return $"ok task {id}";
            case ["delete", var id]:
                await link.DeleteTaskAsync(id);
                return $"ok delete {id}";
            case ["chat", ..] when line.Length > "chat ".Length:
                var message = new ChatMessage { Id = Guid.CreateVersion7(time.GetUtcNow()).ToString(), From = "node", Content = line["chat ".Length..] };
                await link.SendChatAsync(message);
                return $"ok chat {message.Id}";
            case ["flush"]:
                await link.FlushAsync(cancellationToken);
                return "ok flush";
            default:
                return "error expected: task ID STATUS TITLE | delete ID | chat TEXT | flush | quit";
        }
    }
}
