namespace Hub.Identity;

/// <summary>What a member of a team may do; a higher role includes the lower ones.</summary>
internal enum TeamRole
{
    Viewer = 1,
    Member = 2,
    Admin = 3,
    Owner = 4,
}

/// <summary>Who calls. Roles come from the Hub's own tables, never from what a token says.</summary>
internal abstract record Principal
{
    private Principal()
    {
    }

    /// <summary>Shown as created_by and in logs.</summary>
    public abstract string Name { get; }

    /// <summary>A person.</summary>
    public sealed record User(string UserId, string Email, IReadOnlyDictionary<string, TeamRole> Teams) : Principal
    {
        public override string Name => Email;

        /// <summary>The name the person goes by.</summary>
        public string FullName { get; init; } = "";

        /// <summary>What the user called with.</summary>
        public required UserToken Token { get; init; }

        /// <summary>Those of <see cref="Teams"/> that are suspended.</summary>
        public IReadOnlySet<string> Suspended { get; init; } = new HashSet<string>();
    }

    /// <summary>A node, by its host credential.</summary>
    public sealed record Node(string TeamId, string HostId, string CredentialId) : Principal
    {
        public override string Name => HostId;
    }

    /// <summary>A script, by its team's API key.</summary>
    public sealed record ApiKey(string TeamId, string ApiKeyId, TeamRole Role) : Principal
    {
        public override string Name => ApiKeyId;
    }
}
