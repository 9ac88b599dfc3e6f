using System.Buffers;
using System.Globalization;
using System.Text;
using System.Text.Json;
using System.Text.Json.Serialization;
using Google.Protobuf;
using Google.Protobuf.Reflection;
using Hub.Transcoding.Json;

namespace Hub.Benchmarks;

/// <summary>
/// JSON to message and back: ours, Google.Protobuf's own, and System.Text.Json on classes of the same shape. All go from the bytes of a
/// request to the message and from the message to the bytes of an answer, as a server does; Google's knows only text between. Reading has
/// a floor: Clone builds the same message from one that is there, without a byte of JSON.
/// </summary>
internal static class JsonBenchmark
{
    private static readonly JsonCodec Codec = new(JsonStyle.Default, TypeRegistry.Empty);
    private static readonly JsonParser Parser = new(JsonParser.Settings.Default.WithIgnoreUnknownFields(true));
    private static readonly JsonFormatter Formatter = JsonFormatter.Default;
    private static readonly string[] Makers = ["ours", "Google.Protobuf", "System.Text.Json", "Clone"];
    private static readonly JsonSerializerOptions Plain = new(JsonSerializerDefaults.Web)
    {
        DefaultIgnoreCondition = JsonIgnoreCondition.WhenWritingDefault,
    };

    public static int Run()
    {
        Console.WriteLine("body        direction  bytes     by                 µs/op   MB/s  allocated  ours is");
        Compare<HeartbeatBody, Contracts.V1.HeartbeatRequest>("heartbeat", JsonBodies.Heartbeat());
        Compare<TaskSyncBody, Contracts.V1.SyncTasksRequest>("task sync", JsonBodies.TaskSync());
        return 0;
    }

    private static void Compare<TBody, TMessage>(string name, TMessage message)
        where TBody : class
        where TMessage : class, IMessage<TMessage>, new()
    {
        var text = Codec.Format(message);
        var bytes = Encoding.UTF8.GetBytes(text);
        var body = JsonSerializer.Deserialize<TBody>(bytes, Plain)!;
        if (!Parser.Parse<TMessage>(text).Equals(message) || !Codec.Parse<TMessage>(text).Equals(message))
        {
            throw new InvalidOperationException($"{name}: the parsers do not agree.");
        }

        var read = Stopped.Measure(
            () => Codec.Merge(bytes, new TMessage()),
            () => Parser.Parse<TMessage>(Encoding.UTF8.GetString(bytes)),
            () => JsonSerializer.Deserialize<TBody>(bytes, Plain),
            () => message.Clone());

        var output = new ArrayBufferWriter<byte>(bytes.Length * 2);
        using var writer = new Utf8JsonWriter(output);
        var write = Stopped.Measure(
            () =>
            {
                output.ResetWrittenCount();
                Codec.Write(message, output);
            },
            () =>
            {
                output.ResetWrittenCount();
                Encoding.UTF8.GetBytes(Formatter.Format(message), output);
            },
            () =>
            {
                output.ResetWrittenCount();
                writer.Reset(output);
                JsonSerializer.Serialize(writer, body, Plain);
            });
        Report(name, "read", bytes.Length, read);
        Report(name, "write", bytes.Length, write);
        Report(name, "both", 2 * bytes.Length, [.. read.Zip(write, (a, b) => new Cost(
            a.Microseconds + b.Microseconds, a.AllocatedBytes + b.AllocatedBytes))]);
    }

    private static void Report(string name, string direction, int length, Cost[] costs)
    {
        foreach (var (by, cost) in Makers.Zip(costs))
        {
            var times = cost.Microseconds / costs[0].Microseconds;
            Console.WriteLine(string.Create(
                CultureInfo.InvariantCulture,
                $"{name,-11} {direction,-9} {length,6}     {by,-16} {cost.Microseconds,8:F1} {length / cost.Microseconds,6:F0} "
                + $"{cost.AllocatedBytes,10:F0}  {times,6:F2}x as fast"));
        }
    }
}
