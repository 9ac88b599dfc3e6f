using Hub.Transcoding.Json;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Routing;
using Microsoft.AspNetCore.Routing.Patterns;

namespace Hub.Transcoding.Routes;

/// <summary>A path template as an ASP.NET route, and the way back from route values to the template's variables.</summary>
internal sealed class PathBinding
{
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
    public string Value(TemplateVariable variable, RouteValueDictionary values)
    {
        // Kestrel leaves an escaped slash alone so that it does not split a segment; in a variable of one segment it is just a character.
        if (variable.End - variable.Start == 1 && _template.Segments[variable.Start].Kind == SegmentKind.Any)
        {
            return TextCleaner.Clean(Text(variable.Start, values).Replace("%2F", "/", StringComparison.OrdinalIgnoreCase));
        }

        return TextCleaner.Clean(string.Join('/', Enumerable.Range(variable.Start, variable.End - variable.Start).Select(i => Text(i, values))));
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
            return RoutePatternFactory.Segment(RoutePatternFactory.LiteralPart(verb is null ? segment.Text : $"{segment.Text}:{verb}"));
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
