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
/// JSON to message and back: ours, Google.Protobuf's own, and System.Text.Json on classes of the same shape. Each gets its best case:
/// Google's reads and writes strings, the other two bytes.
/// </summary>
internal static class JsonBenchmark
{
    private static readonly JsonCodec Codec = new(JsonStyle.Default, TypeRegistry.Empty);
    private static readonly JsonParser Parser = new(JsonParser.Settings.Default.WithIgnoreUnknownFields(true));
    private static readonly JsonFormatter Formatter = JsonFormatter.Default;
    private static readonly JsonSerializerOptions Plain = new(JsonSerializerDefaults.Web) { DefaultIgnoreCondition = JsonIgnoreCondition.WhenWritingDefault };

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

        Report(name, "read", bytes.Length, Stopped.Measure(
            () => Codec.Merge(bytes, new TMessage()),
            () => Parser.Parse<TMessage>(text),
            () => JsonSerializer.Deserialize<TBody>(bytes, Plain)));

        var output = new ArrayBufferWriter<byte>(bytes.Length * 2);
        using var writer = new Utf8JsonWriter(output);
        Report(name, "write", bytes.Length, Stopped.Measure(
            () =>
            {
                output.ResetWrittenCount();
                Codec.Write(message, output);
            },
            () => Formatter.Format(message),
            () =>
            {
                output.ResetWrittenCount();
                writer.Reset(output);
                JsonSerializer.Serialize(writer, body, Plain);
            }));
    }

    private static void Report(string name, string direction, int length, Cost[] costs)
    {
        foreach (var (by, cost) in (ReadOnlySpan<(string, Cost)>)[("ours", costs[0]), ("Google.Protobuf", costs[1]), ("System.Text.Json", costs[2])])
        {
            Console.WriteLine(string.Create(
                CultureInfo.InvariantCulture,
                $"{name,-11} {direction,-9} {length,6}     {by,-16} {cost.Microseconds,8:F1} {length / cost.Microseconds,6:F0} {cost.AllocatedBytes,10:F0}  {cost.Microseconds / costs[0].Microseconds,6:F2}x as fast"));
        }
    }
}
