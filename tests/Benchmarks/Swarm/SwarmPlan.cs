using System.Text.Json;

namespace Hub.Benchmarks.Swarm;

/// <summary>What a swarm process is to do; its first line of input. Rates are of the whole swarm.</summary>
internal sealed record SwarmPlan
{
    public const int TextBytesUnset = 100;

    public static readonly JsonSerializerOptions Json = new(JsonSerializerDefaults.Web);

    /// <summary>Milliseconds on the clock that all processes of the machine share.</summary>
    public static double Now => Milliseconds(TimeProvider.System.GetTimestamp());

    public static double Milliseconds(long timestamp) => timestamp * 1_000.0 / TimeProvider.System.TimestampFrequency;

    /// <summary>Where nodes dial; a node that was told to go dials the next one, then the first again.</summary>
    public required Uri[] Hubs { get; init; }

    /// <summary>Where hosts are enrolled and commands are created.</summary>
    public required Uri Rest { get; init; }

    public required string ApiKey { get; init; }

    public int Links { get; init; } = 100;

    /// <summary>TCP connections the links share, evenly; 0 gives each its own, as real nodes have.</summary>
    public int Connections { get; init; }

    public double DeltasPerSecond { get; init; }

    /// <summary>
    /// Batches of tasks that the nodes keep on the way together, whatever the rate: for each that is acknowledged the next node in turn sends
    /// one. 0 for none.
    /// </summary>
    public int BatchesOnTheWay { get; init; }

    public double ChatsPerSecond { get; init; }

    public double CommandsPerSecond { get; init; }

    /// <summary>First and longest window of a node's back-off.</summary>
    public TimeSpan BackOffFirst { get; init; } = TimeSpan.FromSeconds(1);

    public TimeSpan BackOffMax { get; init; } = TimeSpan.FromSeconds(64);

    /// <summary>Whoever creates a command reads its result by REST as soon as its node had it acknowledged.</summary>
    public bool ReadsResults { get; init; }

    /// <summary>Links cut off without a word, per second; their nodes dial again.</summary>
    public double CutsPerSecond { get; init; }

    /// <summary>Entries of one batch.</summary>
    public int EntriesPerBatch { get; init; } = 1;

    /// <summary>Bytes of text in a task or message.</summary>
    public int TextBytes { get; init; } = TextBytesUnset;

    public int HeartbeatSeconds { get; init; } = 25;

    /// <summary>The first link reads nothing after its Welcome.</summary>
    public bool FirstIsDeaf { get; init; }

    public int Seed { get; init; } = 1;

    /// <summary>Latencies count from when a thing was done, which is later than when it was due by what this process is late.</summary>
    public bool CountsFromDone { get; init; }
}

/// <summary>
/// A line of the swarm's output, four times a second: totals so far, and the latencies since the line before. All times are read in the swarm's
/// process, from the moment a thing was due, not from when there was time to do it.
/// </summary>
internal sealed record SwarmReport
{
    /// <summary>When it was made, on <see cref="SwarmPlan.Now"/>.</summary>
    public double At { get; init; }

    public int Links { get; init; }

    /// <summary>Links with a Welcome.</summary>
    public int Live { get; init; }

    public long Dials { get; init; }

    public long Welcomes { get; init; }

    public long DeltasSent { get; init; }

    public long DeltasAcked { get; init; }

    /// <summary>Due deltas and messages that were not sent: no link, or its window was full.</summary>
    public long Held { get; init; }

    public long ChatsAcked { get; init; }

    public long CommandsCreated { get; init; }

    public long CommandsRefused { get; init; }

    public long CommandsDone { get; init; }

    /// <summary>Goodbyes by their reason, and ends without one.</summary>
    public required Dictionary<string, long> Ends { get; init; }

    /// <summary>What no node may see: refused records, protocol faults.</summary>
    public required string[] Faults { get; init; }

    public required Dictionary<int, long> DeltaLatency { get; init; }

    public required Dictionary<int, long> ChatLatency { get; init; }

    /// <summary>From the request that creates a command until its node has the offer.</summary>
    public required Dictionary<int, long> OfferLatency { get; init; }

    /// <summary>From the request that creates a command until another has read its result.</summary>
    public required Dictionary<int, long> ResultLatency { get; init; }

    /// <summary>Links that came back from a Hub that drains.</summary>
    public required Dispersal[] Dispersals { get; init; }

    /// <summary>Milliseconds from Welcome until the Hub ended the link that reads nothing; 0 while it has not.</summary>
    public double DeafEndedAfter { get; init; }
}

/// <summary>
/// How one link left a Hub that drains: the delay it was told, and when that was, when it dialled again and when it was welcomed. In
/// milliseconds; the last three on <see cref="SwarmPlan.Now"/>.
/// </summary>
internal sealed record Dispersal(double Told, double DrainedAt, double DialledAt, double WelcomedAt);
