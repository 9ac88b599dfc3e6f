using Hub.Transcoding.Json;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Http.Features;
using Microsoft.AspNetCore.Routing;
using Microsoft.AspNetCore.Routing.Patterns;

namespace Hub.Transcoding.Routes;

/// <summary>A path template as an ASP.NET route, and the way back from route values to the template's variables.</summary>
internal sealed class PathBinding
{
    private const string EscapedSlash = "%2F";

    private readonly HttpTemplate _template;
    private readonly string?[] _parameters; // Per segment; null for literals.

    public PathBinding(HttpTemplate template)
    {
        _template = template;
        _parameters = new string?[template.Segments.Count];
        Pattern = RoutePatternFactory.Pattern(template.Text, template.Segments.Select(ToSegment));
    }

    public RoutePattern Pattern { get; }

    /// <summary>The text that the path gave a variable, mended like all text from outside.</summary>
    public string Value(TemplateVariable variable, HttpContext http)
    {
        var values = http.Request.RouteValues;
        if (variable.End - variable.Start == 1 && _template.Segments[variable.Start].Kind == SegmentKind.Any)
        {
            return TextCleaner.Clean(DecodeSlashes(variable.Start, Text(variable.Start, values), http));
        }

        // Rest may be nothing at all, and then has no slash before it either.
        return TextCleaner.Clean(string.Join('/', Enumerable.Range(variable.Start, variable.End - variable.Start)
            .Where(i => _template.Segments[i].Kind != SegmentKind.Rest || Text(i, values).Length > 0).Select(i => Text(i, values))));
    }

    // Kestrel leaves an escaped slash alone so that it does not split a segment; in a variable of one segment it is just a character.
    // Its text cannot tell %2F from what was sent as %252F, so the raw path decides.
    private string DecodeSlashes(int segment, string value, HttpContext http)
    {
        if (!value.Contains(EscapedSlash, StringComparison.OrdinalIgnoreCase))
        {
            return value;
        }

        var target = http.Features.Get<IHttpRequestFeature>()?.RawTarget ?? "";
        var path = target.AsSpan(0, target.IndexOf('?', StringComparison.Ordinal) is >= 0 and var end ? end : target.Length).ToString();
        var index = segment + 1 + http.Request.PathBase.ToString().Count('/');
        if (path.Split('/') is { } raw && index < raw.Length)
        {
            var text = _template.Verb is { } verb && segment == _template.Segments.Count - 1 && raw[index].EndsWith($":{verb}", StringComparison.Ordinal)
                ? raw[index][..^(verb.Length + 1)]
                : raw[index];
            var asKestrelReads = Uri.UnescapeDataString(text.Replace(EscapedSlash, "%252F", StringComparison.OrdinalIgnoreCase));
            if (asKestrelReads.Equals(value, StringComparison.OrdinalIgnoreCase))
            {
                return Uri.UnescapeDataString(text);
            }
        }

        // The raw path has other segments, such as dots that Kestrel took out.
        return value.Replace(EscapedSlash, "/", StringComparison.OrdinalIgnoreCase);
    }

    private string Text(int segment, RouteValueDictionary values)
    {
        if (_parameters[segment] is not { } name)
        {
            return _template.Segments[segment].Text;
        }

        var value = values[name] as string ?? "";
        return _template.Segments[segment].Kind == SegmentKind.Rest && _template.Verb is { } verb ? value[..^(verb.Length + 1)] : value;
    }

    private RoutePatternPathSegment ToSegment(TemplateSegment segment, int index)
    {
        var verb = index == _template.Segments.Count - 1 ? _template.Verb : null;
        if (segment.Kind == SegmentKind.Literal)
        {
            return RoutePatternFactory.Segment(RoutePatternFactory.LiteralPart(Uri.UnescapeDataString(verb is null ? segment.Text : $"{segment.Text}:{verb}")));
        }

        // A variable of one segment lends its name to the route parameter, so that other parts of the server can read it as well.
        var name = _template.Variables.FirstOrDefault(v => v.Start == index && v.End == index + 1)?.FieldPath ?? $"segment.{index}";
        _parameters[index] = name;
        if (segment.Kind == SegmentKind.Rest)
        {
            return RoutePatternFactory.Segment(verb is null
                ? RoutePatternFactory.ParameterPart(name, null, RoutePatternParameterKind.CatchAll)
                : RoutePatternFactory.ParameterPart(
                    name, null, RoutePatternParameterKind.CatchAll, RoutePatternFactory.ParameterPolicy(new EndsWithVerb(verb))));
        }

        var parameter = RoutePatternFactory.ParameterPart(name);
        return verb is null
            ? RoutePatternFactory.Segment(parameter)
            : RoutePatternFactory.Segment(parameter, RoutePatternFactory.LiteralPart($":{verb}"));
    }

    // A route's rest cannot have text behind it, so a verb after ** is checked on the value.
    private sealed class EndsWithVerb(string verb) : IRouteConstraint
    {
        public bool Match(HttpContext? httpContext, IRouter? route, string routeKey, RouteValueDictionary values, RouteDirection routeDirection) =>
            values[routeKey] is string value && value.EndsWith($":{verb}", StringComparison.Ordinal);
    }
}
