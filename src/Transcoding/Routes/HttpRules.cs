using Google.Api;
using Google.Protobuf.Reflection;

namespace Hub.Transcoding.Routes;

/// <summary>The google.api.http rules of a method.</summary>
internal static class HttpRules
{
    /// <summary>The method's rule and its additional bindings; none if the method has no REST face.</summary>
    public static IEnumerable<HttpRule> Of(MethodDescriptor method)
    {
        var rule = method.GetOptions()?.GetExtension(AnnotationsExtensions.Http);
        if (rule?.AdditionalBindings.FirstOrDefault(binding => binding.AdditionalBindings.Count > 0) is not null)
        {
            throw new InvalidOperationException($"{method.FullName}: additional_bindings cannot have additional_bindings.");
        }

        return rule is null ? [] : [rule, .. rule.AdditionalBindings];
    }

    /// <summary>HTTP method and path template of a rule; "*" for any method.</summary>
    public static (string Verb, string Path) Pattern(HttpRule rule, MethodDescriptor method) => rule.PatternCase switch
    {
        HttpRule.PatternOneofCase.Get => ("GET", rule.Get),
        HttpRule.PatternOneofCase.Put => ("PUT", rule.Put),
        HttpRule.PatternOneofCase.Post => ("POST", rule.Post),
        HttpRule.PatternOneofCase.Delete => ("DELETE", rule.Delete),
        HttpRule.PatternOneofCase.Patch => ("PATCH", rule.Patch),
        HttpRule.PatternOneofCase.Custom => (rule.Custom.Kind, rule.Custom.Path),
        _ => throw new InvalidOperationException($"{method.FullName}: an HTTP rule without a path."),
    };
}
