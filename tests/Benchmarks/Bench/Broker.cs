using System.Diagnostics;
using System.Globalization;
using Hub.Benchmarks.Swarm;
using Hub.TestKit;
using Hub.TestKit.Faults;
using RabbitMQ.Client;

namespace Hub.Benchmarks.Bench;

/// <summary>
/// RabbitMQ, where it is installed, as a private node on loopback: messages as large as a delta, persistent, into a durable queue, each
/// confirmed to its publisher.
/// </summary>
internal sealed class Broker : IAsyncDisposable
{
    public const string Name = "rabbitmq";

    private const string Program = "/usr/lib/rabbitmq/bin/rabbitmq-server";
    private const int Channels = 16;
    private const int OnTheWayPerChannel = 256;
    private const int MessageBytes = 200;

    private static readonly TimeSpan StartWithin = TimeSpan.FromSeconds(60);
    private static readonly TimeSpan WarmUp = TimeSpan.FromSeconds(2);
    private static readonly TimeSpan AskAgainAfter = TimeSpan.FromMilliseconds(100);

    private readonly DirectoryInfo _directory = Directory.CreateTempSubdirectory("hub-broker-");
    private readonly int _port = ChildProgram.FreePort();
    private readonly int _mapperPort = ChildProgram.FreePort();
    private readonly ChildProgram _program;

    private Broker()
    {
        string Number(int number) => number.ToString(CultureInfo.InvariantCulture);

        _program = ChildProgram.StartCommand([Program], new Dictionary<string, string>
        {
            ["HOME"] = _directory.FullName,
            ["RABBITMQ_NODENAME"] = $"hub-{_port}@localhost",
            ["RABBITMQ_NODE_IP_ADDRESS"] = "127.0.0.1",
            ["RABBITMQ_NODE_PORT"] = Number(_port),
            ["RABBITMQ_DIST_PORT"] = Number(ChildProgram.FreePort()),
            ["ERL_EPMD_ADDRESS"] = "127.0.0.1",
            ["ERL_EPMD_PORT"] = Number(_mapperPort),
            ["RABBITMQ_MNESIA_BASE"] = InFolder("data"),
            ["RABBITMQ_LOG_BASE"] = InFolder("log"),
            ["RABBITMQ_PID_FILE"] = InFolder("pid"),
            ["RABBITMQ_ENABLED_PLUGINS_FILE"] = InFolder("plugins"),
            ["RABBITMQ_CONFIG_FILE"] = InFolder("config"),
            ["RABBITMQ_CONF_ENV_FILE"] = "/dev/null",
            ["ERL_CRASH_DUMP"] = "/dev/null",
            ["RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS"] = "-kernel inet_dist_use_interface {127,0,0,1} +sbwt none",
        });
    }

    public static IEnumerable<Contender> Contenders()
    {
        if (File.Exists(Program))
        {
            yield return new Contender(Name, PublishAsync);
        }
        else
        {
            Console.WriteLine("RabbitMQ is left out: apt-get install -y --no-install-recommends rabbitmq-server installs it.");
        }
    }

    public async ValueTask DisposeAsync()
    {
        // The script's own process is not the broker's, and the broker has started its port mapper as a daemon.
        await SystemTool.TryRunAsync("kill", ["-KILL", await File.ReadAllTextAsync(InFolder("pid"))]);
        await _program.DisposeAsync();
        await SystemTool.TryRunAsync("epmd", ["-port", _mapperPort.ToString(CultureInfo.InvariantCulture), "-kill"]);
        _directory.Delete(recursive: true);
    }

    private static async Task<double[]> PublishAsync(double seconds)
    {
        await using var broker = new Broker();
        await using var connection = await broker.ConnectAsync();
        await using (var channel = await connection.CreateChannelAsync())
        {
            await channel.QueueDeclareAsync("deltas", durable: true, exclusive: false, autoDelete: false);
        }

        var latencies = new LatencyHistogram();
        var (from, until) = (Stopwatch.StartNew(), WarmUp + TimeSpan.FromSeconds(seconds));
        var publishing = Enumerable.Range(0, Channels).Select(_ => Task.Run(async () =>
        {
            await using var channel = await connection.CreateChannelAsync(new CreateChannelOptions(
                publisherConfirmationsEnabled: true, publisherConfirmationTrackingEnabled: true, outstandingPublisherConfirmationsRateLimiter: null));
            await Task.WhenAll(Enumerable.Range(0, OnTheWayPerChannel).Select(_ => PublishAsync(channel)));
        }));

        async Task PublishAsync(IChannel channel)
        {
            var body = new byte[MessageBytes];
            var persistent = new BasicProperties { Persistent = true };
            for (var sent = from.Elapsed; sent < until; sent = from.Elapsed)
            {
                await channel.BasicPublishAsync("", "deltas", mandatory: false, persistent, body);
                if (sent > WarmUp)
                {
                    latencies.Add(from.Elapsed - sent);
                }
            }
        }

        await Task.WhenAll(publishing);
        return [latencies.Count / seconds, latencies.Quantile(0.5).TotalMicroseconds, latencies.Quantile(0.99).TotalMicroseconds];
    }

    private string InFolder(string name) => Path.Combine(_directory.FullName, name);

    private async Task<IConnection> ConnectAsync()
    {
        var factory = new ConnectionFactory { HostName = "127.0.0.1", Port = _port };
        for (var since = Stopwatch.StartNew(); ;)
        {
            try
            {
                return await factory.CreateConnectionAsync();
            }
            catch (RabbitMQ.Client.Exceptions.BrokerUnreachableException) when (since.Elapsed < StartWithin)
            {
                await Task.Delay(AskAgainAfter, TimeProvider.System); // It takes seconds to start.
            }
        }
    }
}
