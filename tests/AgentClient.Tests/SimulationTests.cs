using Google.Protobuf.WellKnownTypes;
using Hub.AgentClient.Internal;
using Hub.Contracts.V1;

namespace Hub.AgentClient.Tests;

/// <summary>
/// Random lives of a node: changes, crashes, links that break with frames on the way, frames that are lost or come twice. Whatever
/// happened, both sides agree once a link stays up, and nothing runs twice.
/// </summary>
public sealed class SimulationTests
{
    [Theory]
    [InlineData(1)]
    [InlineData(2)]
    [InlineData(3)]
    [InlineData(4)]
    [InlineData(5)]
    [InlineData(6)]
    public void Node_RandomLife_ConvergesAndStartsNothingTwice(int seed)
    {
        using var life = new RandomLife(seed);
        for (var step = 0; step < 400; step++)
        {
            life.Step();
        }

        life.Settle();
        Assert.True(life.Disagreement is null, $"Seed {seed}: {life.Disagreement}");
        Assert.True(life.Starts.Values.All(count => count == 1), $"Seed {seed}: an attempt was started twice.");
    }

    private sealed class RandomLife : IDisposable
    {
        private readonly SessionFixture node = new();
        private readonly Random random;
        private readonly Dictionary<string, string?> expected = [];
        private readonly List<string> sentChat = [];
        private readonly List<string> handledChat = [];
        private readonly List<StartedCommand> running = [];
        private int names;

        public RandomLife(int seed)
        {
            random = new Random(seed);
            node.Hub.Settings.WindowBatches = 3;
        }

        public Dictionary<CommandKey, int> Starts { get; } = [];

        public string? Disagreement { get; private set; }

        public void Step()
        {
            switch (random.Next(12))
            {
                case 0 or 1 or 2:
                    Publish();
                    break;
                case 3:
                    Delete();
                    break;
                case 4:
                    Chat();
                    break;
                case 5 or 6:
                    node.Handshake();
                    break;
                case 7 or 8:
                    PumpUnreliably();
                    break;
                case 9:
                    WorkOnCommands();
                    break;
                case 10:
                    ChatFromPeople();
                    break;
                default:
                    Crash();
                    break;
            }
        }

        /// <summary>A link that stays up.</summary>
        public void Settle()
        {
            node.Connect();
            if (node.Hub.ChatDown.Count > node.Journal.ChatDownSeq)
            {
                node.Deliver(node.Hub.ChatBatch(node.Journal.ChatDownSeq + 1, node.Hub.ChatDown.Count - (int)node.Journal.ChatDownSeq));
            }

            node.Pump();
            HandleChat();
            var there = node.Hub.Tasks.ToDictionary(task => task.Key, task => (string?)task.Value.Delta.Task.Title);
            var here = expected.Where(task => task.Value is not null).ToDictionary();
            Disagreement =
                !here.OrderBy(task => task.Key).SequenceEqual(there.OrderBy(task => task.Key)) ? $"{here.Count} tasks here, {there.Count} there"
                : !node.Session.IsAckedUpTo(node.Session.OutboxMark()) ? "the outbox is not empty"
                : !sentChat.SequenceEqual(node.Hub.ChatUp.Select(message => message.Id)) ? "chat from the node differs"
                : !handledChat.Distinct().SequenceEqual(node.Hub.ChatDown.Select(message => message.Id)) ? "chat to the node differs"
                : null;
        }

        public void Dispose() => node.Dispose();

        private void Publish()
        {
            var id = $"t{random.Next(20)}";
            expected[id] = $"title {++names}";
            node.Publish(id, expected[id]!);
        }

        private void Delete()
        {
            var id = $"t{random.Next(20)}";
            expected[id] = null;
            node.Session.DeleteTask(id);
        }

        private void Chat()
        {
            sentChat.Add($"up{++names}");
            node.Session.SendChat(new ChatMessage { Id = sentChat[^1] });
        }

        private void ChatFromPeople()
        {
            node.Hub.ChatDown.Add(new ChatMessage { Id = $"down{++names}" });
            if (node.Session.State is SessionState.Online)
            {
                // From anywhere: in order, repeated, or beyond a gap.
                var first = random.Next(1, node.Hub.ChatDown.Count + 1);
                node.Deliver(node.Hub.ChatBatch(first, node.Hub.ChatDown.Count - first + 1));
            }

            if (random.Next(2) == 0)
            {
                HandleChat();
            }
        }

        private void HandleChat()
        {
            while (node.Session.PeekChat() is { } next)
            {
                handledChat.Add(next.Message.Id);
                node.Session.ChatHandled(next.Seq);
            }
        }

        // Frames may get lost or come twice; a lost last frame is noticed by the next link.
        private void PumpUnreliably()
        {
            for (var frames = random.Next(8); frames > 0 && node.Session.TryTake(out var frame); frames--)
            {
                for (var copies = random.Next(3); copies > 0; copies--)
                {
                    foreach (var answer in node.Hub.Receive(frame))
                    {
                        for (var answers = random.Next(3); answers > 0; answers--)
                        {
                            node.Deliver(answer);
                        }
                    }
                }
            }
        }

        private void WorkOnCommands()
        {
            if (node.Session.State is SessionState.Online)
            {
                node.Offer($"c{random.Next(30)}");
            }

            if (node.Session.TryTakeStart(out var started))
            {
                Starts[started.Key] = Starts.GetValueOrDefault(started.Key) + 1;
                running.Add(started);
            }

            if (running.Count > 0 && random.Next(2) == 0)
            {
                node.Session.Complete(running[0].Key, CommandState.Succeeded, Value.ForBool(true), null);
                running.RemoveAt(0);
            }
        }

        private void Crash()
        {
            running.Clear();
            node.Restart();
        }
    }
}
