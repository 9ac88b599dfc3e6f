namespace Hub.Storage;

internal enum StoreBackend
{
    Sqlite,
    Postgres,

    /// <summary>PostgreSQL that is only spoken to over TLS.</summary>
    Supabase,
}

internal sealed record StoreOptions
{
    public const int WriterCountMax = 16;

    public StoreBackend Backend { get; init; } = StoreBackend.Sqlite;

    /// <summary>The database file; its folder must exist. SQLite only.</summary>
    public string SqlitePath { get; init; } = "hub.db";

    /// <summary>Npgsql's key=value text or a postgres:// address. PostgreSQL only.</summary>
    public string ConnectionString { get; init; } = "";

    /// <summary>Where LISTEN works when <see cref="ConnectionString"/> names a pooler that cannot carry it; null = the same.</summary>
    public string? ListenConnectionString { get; init; }

    /// <summary>Write connections on PostgreSQL, 1–16; SQLite always has one.</summary>
    public int WriterCount { get; init; } = 2;

    /// <summary>Connections for reads; a read waits for a free one.</summary>
    public int ReadersMax { get; init; } = 8;

    /// <summary>
    /// How long a write waits for another process that writes the same file, such as a backup (SQLite), or for a row another session has
    /// locked (PostgreSQL). In whole seconds on SQLite, rounded up.
    /// </summary>
    public TimeSpan LockTimeout { get; init; } = TimeSpan.FromSeconds(5);

    /// <summary>Jobs of one team and urgency that have a slot in the Writer's queue (two full groups): they are written even at shutdown.</summary>
    public int QueueJobsMax { get; init; } = 2 * Writer.GroupJobsMax;

    /// <summary>False: the schema must already be the one this program knows.</summary>
    public bool Migrate { get; init; } = true;

    /// <summary>True (<c>HUB_DURABILITY=relaxed</c>) serves although a commit may be lost with the machine.</summary>
    public bool RelaxedDurability { get; init; }

    /// <summary>Null = those embedded in this assembly.</summary>
    public IReadOnlyList<Migration>? Migrations { get; init; }

    public StoreGuards Guards { get; init; } = new();

    /// <summary>
    /// Test hook, called on the writer's thread as it reaches each step. When it throws, the process has died at that step as far as the
    /// database and the callers can tell: the connection is dropped as it is, nobody is told of success, and a fresh Writer life begins.
    /// </summary>
    public Action<WriteStep>? FaultInjector { get; init; }
}

internal enum WriteStep
{
    BeforeJob,
    AfterJob,
    BeforeCommit,
    AfterCommit,
}

/// <summary>
/// What keeps the promises of store and link, switchable one by one only so that a model-based test can show that each is needed: with a guard
/// off the test must find a broken promise. Nothing but such a test turns one off.
/// </summary>
internal sealed record StoreGuards
{
    /// <summary>Epochs are read inside the transaction under a lock, and a takeover within the group counts. Off: read before it begins.</summary>
    public bool EpochLock { get; init; } = true;

    /// <summary>A job's task completes after the commit. Off: as soon as the job has run.</summary>
    public bool AckAfterCommit { get; init; } = true;

    /// <summary>A savepoint per job of a group in which one failed, and halving of one that cannot commit. Off: the first failure is the failure of all.</summary>
    public bool PoisonSplit { get; init; } = true;

    /// <summary>A numbered entry that was stored before has no effect. Off: it is applied again.</summary>
    public bool RepeatCheck { get; init; } = true;

    /// <summary>A change made on another version than the stored one is a conflict. Off: what the cloud side wrote is overwritten unseen.</summary>
    public bool BaseVersion { get; init; } = true;
}
