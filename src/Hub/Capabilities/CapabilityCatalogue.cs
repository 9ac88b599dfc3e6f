namespace Hub.Capabilities;

/// <summary>What a capability is, and the keys its credentials have.</summary>
internal sealed record CapabilityKind(string Name, string Description, IReadOnlyList<string> Keys)
{
    /// <summary>The environment variable a node makes of a key.</summary>
    public string VariableOf(string key) => $"{Name}_{key}".ToUpperInvariant();
}

/// <summary>
/// The closed list of capabilities. A node makes each credential an environment variable of its own process and of all it starts, so
/// neither a name nor a key is ever free: PATH or NODE_OPTIONS must not come out.
/// </summary>
internal static class CapabilityCatalogue
{
    public const string Github = "github";
    public const string GithubToken = "access_token";

    public static IReadOnlyList<CapabilityKind> All { get; } =
    [
        new("anthropic", "call Anthropic's models", ["api_key"]),
        new("browserbase", "browse the web in managed browsers", ["api_key", "project_id"]),
        new("elevenlabs", "speak with ElevenLabs voices", ["api_key"]),
        new(Github, "work on GitHub repositories", [GithubToken]),
        new("linear", "read and write Linear issues", ["api_key"]),
        new("notion", "read and write Notion pages", ["api_key"]),
        new("openai", "call OpenAI's models", ["api_key"]),
        new("resend", "send email with Resend", ["api_key"]),
        new("slack", "post to Slack", ["bot_token"]),
        new("twilio", "send SMS with Twilio", ["account_sid", "auth_token", "phone_number"]),
    ];

    public static CapabilityKind? Find(string name) => All.FirstOrDefault(kind => kind.Name == name);
}
