using System.Text.Json.Nodes;
using Hub.Contracts.V1;
using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Logging.Abstractions;

namespace Hub.AgentClient;

/// <summary>How a node reaches its Hub, who it is, and where it keeps what it must not lose.</summary>
public sealed class HubLinkOptions
{
    /// <summary>Address of the Hub's gRPC listener. http:// is refused off loopback unless <see cref="Insecure"/> is set.</summary>
    public required Uri HubUrl { get; init; }

    /// <summary>Directory of the journal and the credential, made if it is not there. One process at a time may use it.</summary>
    public required string StateDirectory { get; init; }

    /// <summary>Token the node claims its host with while it has no valid credential. Null if the credential was given in another way.</summary>
    public string? JoinToken { get; init; }

    /// <summary>Host credential to begin with; the one in <see cref="CredentialFile"/> goes before it, since the Hub may have replaced this one.</summary>
    public string? Credential { get; init; }

    /// <summary>File of the host credential, readable by its owner only. Default: "credential" in <see cref="StateDirectory"/>.</summary>
    public string? CredentialFile { get; init; }

    /// <summary>File of the journal. Default: "journal.db" in <see cref="StateDirectory"/>.</summary>
    public string? JournalPath { get; init; }

    /// <summary>Name for the host at its claim, at most 200 characters; empty keeps the present one.</summary>
    public string Name { get; init; } = "";

    /// <summary>Kind of node, such as "openclaw".</summary>
    public string HostType { get; init; } = "";

    /// <summary>What the node can do, at most 100 of 100 characters each.</summary>
    public IReadOnlyCollection<string> Capabilities { get; init; } = [];

    /// <summary>Version of the node's program, at most 100 characters.</summary>
    public string NodeVersion { get; init; } = "";

    /// <summary>Labels for selecting hosts, at most 32 of 100 characters each.</summary>
    public IReadOnlyDictionary<string, string> Labels { get; init; } = new Dictionary<string, string>();

    /// <summary>Allows http:// to an address off loopback, where credential and records can be read on the way.</summary>
    public bool Insecure { get; init; }

    /// <summary>Commands that run at once, 1 to 1 000; others wait in the journal.</summary>
    public int ConcurrentCommandsMax { get; init; } = 16;

    /// <summary>
    /// Reads every record of a collection as it is now. When the Hub cannot tell what it is missing, it is sent a snapshot of this, which
    /// also removes what the source does not mention. Without a source the journal's own copy is used, where that is known to be complete.
    /// </summary>
    public Func<Collection, IAsyncEnumerable<HostTask>>? SnapshotSource { get; init; }

    /// <summary>Status for people that travels with every heartbeat, such as agents and load; at most 64 KiB as JSON.</summary>
    public Func<JsonObject?>? Status { get; init; }

    /// <summary>The clock.</summary>
    public TimeProvider TimeProvider { get; init; } = TimeProvider.System;

    /// <summary>Seed of back-off and heartbeat jitter; null takes one from the system.</summary>
    public int? RandomSeed { get; init; }

    /// <summary>Where the link logs; never tokens or payloads.</summary>
    public ILoggerFactory LoggerFactory { get; init; } = NullLoggerFactory.Instance;

    internal string CredentialPath => CredentialFile ?? Path.Combine(StateDirectory, "credential");

    internal string JournalFile => JournalPath ?? Path.Combine(StateDirectory, "journal.db");

    internal void Validate()
    {
        if (!HubUrl.IsAbsoluteUri || HubUrl.Scheme is not ("http" or "https"))
        {
            throw new ArgumentException($"{nameof(HubUrl)} has to be an http:// or https:// address.");
        }

        if (HubUrl.Scheme == "http" && !HubUrl.IsLoopback && !Insecure)
        {
            throw new ArgumentException($"{nameof(HubUrl)} is http:// off loopback, where the credential can be read on the way. Use https://, or set {nameof(Insecure)}.");
        }

        ArgumentException.ThrowIfNullOrWhiteSpace(StateDirectory);
        ArgumentOutOfRangeException.ThrowIfLessThan(ConcurrentCommandsMax, 1);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(ConcurrentCommandsMax, 1_000);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(Labels.Count, 32);
    }
}
