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
        private readonly SessionFixture _node = new();
        private readonly Random _random;
        private readonly Dictionary<string, string?> _expected = [];
        private readonly List<string> _sentChat = [];
        private readonly List<string> _handledChat = [];
        private readonly List<StartedCommand> _running = [];
        private int _names;

        public RandomLife(int seed)
        {
            _random = new Random(seed);
            _node.Hub.Settings.WindowBatches = 3;
        }

        public Dictionary<CommandKey, int> Starts { get; } = [];

        public string? Disagreement { get; private set; }

        public void Step()
        {
            switch (_random.Next(12))
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
                    _node.Handshake();
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
            _node.Connect();
            if (_node.Hub.ChatDown.Count > _node.Journal.ChatDownSeq)
            {
                _node.Deliver(_node.Hub.ChatBatch(_node.Journal.ChatDownSeq + 1, _node.Hub.ChatDown.Count - (int)_node.Journal.ChatDownSeq));
            }

            _node.Pump();
            HandleChat();
            var there = _node.Hub.Tasks.ToDictionary(task => task.Key, task => (string?)task.Value.Delta.Task.Title);
            var here = _expected.Where(task => task.Value is not null).ToDictionary();
            Disagreement =
                !here.OrderBy(task => task.Key).SequenceEqual(there.OrderBy(task => task.Key)) ? $"{here.Count} tasks here, {there.Count} there"
                : !_node.Session.IsAckedUpTo(_node.Session.OutboxMark()) ? "the outbox is not empty"
                : !_sentChat.SequenceEqual(_node.Hub.ChatUp.Select(message => message.Id)) ? "chat from the node differs"
                : !_handledChat.Distinct().SequenceEqual(_node.Hub.ChatDown.Select(message => message.Id)) ? "chat to the node differs"
                : null;
        }

        public void Dispose() => _node.Dispose();

        private void Publish()
        {
            var id = $"t{_random.Next(20)}";
            _expected[id] = $"title {++_names}";
            _node.Publish(id, _expected[id]!);
        }

        private void Delete()
        {
            var id = $"t{_random.Next(20)}";
            _expected[id] = null;
            _node.Session.DeleteTask(id);
        }

        private void Chat()
        {
            _sentChat.Add($"up{++_names}");
            _node.Session.SendChat(new ChatMessage { Id = _sentChat[^1] });
        }

        private void ChatFromPeople()
        {
            _node.Hub.ChatDown.Add(new ChatMessage { Id = $"down{++_names}" });
            if (_node.Session.State is SessionState.Online)
            {
                // From anywhere: in order, repeated, or beyond a gap.
                var first = _random.Next(1, _node.Hub.ChatDown.Count + 1);
                _node.Deliver(_node.Hub.ChatBatch(first, _node.Hub.ChatDown.Count - first + 1));
            }

            if (_random.Next(2) == 0)
            {
                HandleChat();
            }
        }

        private void HandleChat()
        {
            while (_node.Session.PeekChat() is { } next)
            {
                _handledChat.Add(next.Message.Id);
                _node.Session.ChatHandled(next.Seq);
            }
        }

        // Frames may get lost or come twice; a lost last frame is noticed by the next link.
        private void PumpUnreliably()
        {
            for (var frames = _random.Next(8); frames > 0 && _node.Session.TryTake(out var frame); frames--)
            {
                for (var copies = _random.Next(3); copies > 0; copies--)
                {
                    foreach (var answer in _node.Hub.Receive(frame))
                    {
                        for (var answers = _random.Next(3); answers > 0; answers--)
                        {
                            _node.Deliver(answer);
                        }
                    }
                }
            }
        }

        private void WorkOnCommands()
        {
            if (_node.Session.State is SessionState.Online)
            {
                _node.Offer($"c{_random.Next(30)}");
            }

            if (_node.Session.TryTakeStart(out var started))
            {
                Starts[started.Key] = Starts.GetValueOrDefault(started.Key) + 1;
                _running.Add(started);
            }

            if (_running.Count > 0 && _random.Next(2) == 0)
            {
                _node.Session.Complete(_running[0].Key, CommandState.Succeeded, Value.ForBool(true), null);
                _running.RemoveAt(0);
            }
        }

        private void Crash()
        {
            _running.Clear();
            _node.Restart();
        }
    }
}
