using System.Text.RegularExpressions;
using Google.Api;
using Google.Protobuf.Reflection;
using Hub.Contracts.V1;

namespace Hub.IntegrationTests.Contract;

/// <summary>An RPC of hub.v1 with its HTTP rule.</summary>
/// <param name="Body">"*", a field, or empty.</param>
internal sealed partial record RuledMethod(MethodDescriptor Method, HttpMethod Http, string Template, string Body)
{
    private static readonly ServiceDescriptor[] Services =
    [
        HealthService.Descriptor, HostService.Descriptor, TaskService.Descriptor, ChatService.Descriptor, CommandService.Descriptor,
        WatchService.Descriptor, HostPropertyService.Descriptor, ConnectService.Descriptor, CanvasService.Descriptor,
        InsightService.Descriptor, RunService.Descriptor, UsageService.Descriptor, ContextService.Descriptor,
        FeedbackService.Descriptor, RelayService.Descriptor,
        HostConfigService.Descriptor, CapabilityService.Descriptor, TelemetryService.Descriptor, ApprovalService.Descriptor,
        WriteBackService.Descriptor,
        IdentityService.Descriptor, OrgService.Descriptor, AuditService.Descriptor,
    ];

    /// <summary>What asks for no credential, or for one in its body.</summary>
    private static readonly HashSet<string> WithoutBearer =
    [
        "GetHealth", "ClaimHost", "CompleteConnect", "GetBootstrap", "ValidateJoinToken", "ValidateApiKey", "IngestTelemetry",
        "SignUp", "SignIn", "RefreshSession", "RequestPasswordReset", "ResetPassword", "ListSigningKeys",
    ];

    public bool HasBody => Body.Length > 0;

    public bool AsksForBearer => !WithoutBearer.Contains(Method.Name);

    /// <summary>Everything that can be reached by REST.</summary>
    public static IReadOnlyList<RuledMethod> All { get; } =
    [
        .. Services.SelectMany(service => service.Methods).Select(method => (Method: method, Rule: RuleOf(method)))
            .Where(pair => pair.Rule is not null).Select(pair => Of(pair.Method, pair.Rule!)),
    ];

    public override string ToString() => $"{Http} {Template}";

    /// <summary>The path with its variables filled in.</summary>
    public string Path(Func<string, string> valueOf) => Variables().Replace(Template, match => valueOf(match.Groups[1].Value));

    public IEnumerable<string> PathFields => Variables().Matches(Template).Select(match => match.Groups[1].Value);

    private static HttpRule? RuleOf(MethodDescriptor method) => method.GetOptions()?.GetExtension(AnnotationsExtensions.Http);

    private static RuledMethod Of(MethodDescriptor method, HttpRule rule)
    {
        var (http, template) = rule.PatternCase switch
        {
            HttpRule.PatternOneofCase.Get => (HttpMethod.Get, rule.Get),
            HttpRule.PatternOneofCase.Put => (HttpMethod.Put, rule.Put),
            HttpRule.PatternOneofCase.Post => (HttpMethod.Post, rule.Post),
            HttpRule.PatternOneofCase.Delete => (HttpMethod.Delete, rule.Delete),
            HttpRule.PatternOneofCase.Patch => (HttpMethod.Patch, rule.Patch),
            _ => throw new InvalidOperationException($"{method.FullName} has a rule of another kind."),
        };
        return new RuledMethod(method, http, template, rule.Body);
    }

    [GeneratedRegex(@"\{([a-z_]+)\}")]
    private static partial Regex Variables();
}
