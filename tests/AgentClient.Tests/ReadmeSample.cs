using System.Text.Json.Nodes;
using Hub.Contracts.V1;

namespace Hub.AgentClient.Tests;

/// <summary>The sample of src/AgentClient/README.md, compiled and run so that it stays true.</summary>
internal static class ReadmeSample
{
    public static async Task RunAsync(Uri hubUrl, string joinToken, string stateDirectory, CancellationToken cancellationToken)
    {
        // <sample>
        await using var link = new HubLink(new HubLinkOptions
        {
            HubUrl = hubUrl,
            JoinToken = joinToken,
            StateDirectory = stateDirectory,
        });
        link.Handle("greet", async context =>
        {
            context.ReportProgress(50, "thinking");
            await Task.Yield();
            return new JsonObject { ["text"] = $"Hello {context.Payload["name"]}" };
        });
        link.OnChat((message, _) => link.SendChatAsync(new ChatMessage { From = "node", Content = $"You said: {message.Content}" }));

        await link.StartAsync(cancellationToken);
        await link.PublishTaskAsync(new HostTask { Id = "t1", Title = "Write the report", Status = "doing" });
        await link.FlushAsync(cancellationToken);
        await link.Completion.WaitAsync(cancellationToken);
        // </sample>
    }
}
