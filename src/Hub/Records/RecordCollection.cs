using Google.Protobuf;
using Google.Protobuf.Reflection;
using Hub.Contracts.V1;
using Hub.Errors;
using Hub.Storage;

namespace Hub.Records;

/// <summary>
/// A kind of record that nodes sync: its message, and which of its fields lists filter by. Where a record travels in a delta and in a watch
/// follows from its message, so a new collection is one more of these and its protos.
/// </summary>
internal sealed class RecordCollection
{
    /// <summary>Longest id, status and similar short field, in characters.</summary>
    public const int ShortTextMax = 200;

    public const int TitleMax = 2_000;

    /// <summary>Largest record, in bytes of its message (stream-protocol.md §6).</summary>
    public const int RecordBytesMax = 512 * 1024;

    /// <summary>What a time in epoch milliseconds may be: up to the year 9999.</summary>
    private const long TimeMax = 253_402_300_799_999;

    private readonly MessageDescriptor _type;
    private readonly FieldDescriptor _id;
    private readonly FieldDescriptor _version;
    private readonly FieldDescriptor? _title;
    private readonly FieldDescriptor _inDelta;
    private readonly FieldDescriptor _inWatch;
    private readonly FieldDescriptor? _status;
    private readonly FieldDescriptor? _agent;
    private readonly FieldDescriptor? _level;
    private readonly FieldDescriptor? _parent;
    private readonly FieldDescriptor? _changedAt;

    /// <param name="name">Its name in the store and for people.</param>
    public RecordCollection(Collection collection, string name, WatchKind changed, WatchKind deleted, MessageDescriptor type, string id = "id")
    {
        (Collection, Name, Changed, Deleted, _type) = (collection, name, changed, deleted, type);
        _id = FieldOf(id);
        _version = FieldOf("version");
        _title = type.FindFieldByName("title");
        _inDelta = Delta.Descriptor.Fields.InFieldNumberOrder().Single(Holds);
        _inWatch = WatchResponse.Descriptor.Fields.InFieldNumberOrder().Single(Holds);

        bool Holds(FieldDescriptor field) => field.FieldType == FieldType.Message && field.MessageType == type;
    }

    public Collection Collection { get; }

    public string Name { get; }

    /// <summary>What watchers are told of a change.</summary>
    public WatchKind Changed { get; }

    /// <summary>What watchers are told of a deletion.</summary>
    public WatchKind Deleted { get; }

    /// <summary>Records never change and only grow in number: snapshots show the latest, and old ones are removed.</summary>
    public bool IsLog { get; init; }

    /// <summary>
    /// Statuses in which a record is history, which plans keep for a time; empty for all. Null where it is state and stays.
    /// </summary>
    public IReadOnlyList<string>? HistoryIn { get; init; }

    /// <summary>The record stays for good: something is derived from what it was before.</summary>
    public bool IsPermanent { get; init; }

    /// <summary>Called with what a change replaced, if anything, and what it is now, in the change's own transaction.</summary>
    public Action<StoreTransaction, string, string, IMessage?, IMessage>? Derive { get; init; }

    /// <summary>Field that lists filter by as status, if any; and so for the others.</summary>
    public string Status { init => _status = FieldOf(value); }

    /// <summary>Field that names who it belongs to.</summary>
    public string Agent { init => _agent = FieldOf(value); }

    /// <summary>Field that says how grave or urgent it is.</summary>
    public string Level { init => _level = FieldOf(value); }

    /// <summary>Field that names the record it belongs to.</summary>
    public string Parent { init => _parent = FieldOf(value); }

    /// <summary>Field with the time of the change, in epoch milliseconds.</summary>
    public string ChangedAt { init => _changedAt = FieldOf(value); }

    /// <summary>The body of a delta; null if it has none or another collection's.</summary>
    public IMessage? BodyOf(Delta delta) => delta.BodyCase == (Delta.BodyOneofCase)_inDelta.FieldNumber ? (IMessage)_inDelta.Accessor.GetValue(delta) : null;

    public string IdOf(IMessage body) => TextOf(body, _id);

    /// <summary>Version of a change dated by the record itself, its epoch microseconds; the given one if it has no date that can be.</summary>
    public long VersionOf(IMessage body, long now) =>
        _changedAt?.Accessor.GetValue(body) is long and > 0 and <= TimeMax and var at ? at * 1000 : now;

    public RecordColumns ColumnsOf(IMessage? body) => body is null
        ? RecordColumns.None
        : new RecordColumns(TextOf(body, _status), TextOf(body, _agent), TextOf(body, _level), TextOf(body, _parent));

    /// <summary>Whether a plan keeps the record for a time only.</summary>
    public bool IsHistory(IMessage body) => HistoryIn is { } statuses && (statuses.Count == 0 || statuses.Contains(TextOf(body, _status)));

    /// <summary>The fault that makes a record, or the deletion of one, unacceptable for good, or null.</summary>
    public HubException? Fault(string recordId, IMessage? body)
    {
        if (recordId.Length is 0 or > ShortTextMax)
        {
            return Invalid($"its id has 1 to {ShortTextMax} characters.");
        }

        if (body is null)
        {
            return IsPermanent ? Invalid("it is not deleted.") : null;
        }

        if (body.CalculateSize() is > RecordBytesMax and var size)
        {
            return new HubException(
                ErrorReason.RecordTooLarge, $"A record has at most {RecordBytesMax} bytes; this one has {size}.",
                ("limit", $"{RecordBytesMax}"), ("size", $"{size}"));
        }

        if (_title is not null && TextOf(body, _title).Length > TitleMax)
        {
            return Invalid($"its title has at most {TitleMax} characters.");
        }

        return ColumnsOf(body).LengthMax > ShortTextMax
            ? Invalid($"what lists filter by has at most {ShortTextMax} characters.")
            : null;

        HubException Invalid(string rule) => new(ErrorReason.RecordInvalid, $"A record of {Name}: {rule}");
    }

    /// <summary>The bytes that are stored: with the id they are stored by and without the version, which the row has.</summary>
    public byte[] Write(IMessage body, string recordId)
    {
        var bytes = body.ToByteArray();
        if (IdOf(body) == recordId && _version.Accessor.GetValue(body) is 0L)
        {
            return bytes;
        }

        var clean = _type.Parser.ParseFrom(bytes);
        _id.Accessor.SetValue(clean, recordId);
        _version.Accessor.Clear(clean);
        return clean.ToByteArray();
    }

    public IMessage Read(byte[] body, long version)
    {
        var message = _type.Parser.ParseFrom(body);
        _version.Accessor.SetValue(message, version);
        return message;
    }

    public WatchResponse Show(string hostId, string recordId, long version, byte[] body)
    {
        var response = new WatchResponse { Kind = Changed, HostId = hostId, EntityId = recordId, Version = version };
        _inWatch.Accessor.SetValue(response, Read(body, version));
        return response;
    }

    private FieldDescriptor FieldOf(string name) =>
        _type.FindFieldByName(name) ?? throw new InvalidOperationException($"{_type.FullName} has no field {name}.");

    private static string TextOf(IMessage body, FieldDescriptor? field) => field is null ? "" : (string)field.Accessor.GetValue(body);
}

/// <summary>What lists filter by.</summary>
internal sealed record RecordColumns(string Status, string Agent, string Level, string ParentId)
{
    public static readonly RecordColumns None = new("", "", "", "");

    /// <summary>Length of the longest, in characters.</summary>
    public int LengthMax => Math.Max(Math.Max(Status.Length, Agent.Length), Math.Max(Level.Length, ParentId.Length));
}
