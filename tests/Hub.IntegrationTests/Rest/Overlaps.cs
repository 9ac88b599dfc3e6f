using System.Globalization;
using System.Text;
using Microsoft.AspNetCore.Routing;
using Microsoft.AspNetCore.Routing.Patterns;

namespace Hub.IntegrationTests.Rest;

/// <summary>Two endpoints whose templates fit one path: a path that both fit, the method it is asked with, and who answers.</summary>
internal sealed record Overlap(string Method, string Path, RouteEndpoint Winner, RouteEndpoint Other);

/// <summary>
/// Every pair of endpoints whose templates can match the same path. The winner is worked out from the rule alone (the method first, then
/// from left to right a literal before a variable before the rest), so that the list judges routing and not the other way round.
/// </summary>
internal static class Overlaps
{
    private const int FallbackOrder = int.MaxValue;
    private const string Filler = "x";

    public static IReadOnlyList<Overlap> Among(IReadOnlyList<RouteEndpoint> endpoints)
    {
        // A fallback fits everything and wins nothing.
        var ordered = endpoints.Where(endpoint => endpoint.Order != FallbackOrder)
            .OrderBy(Name, StringComparer.Ordinal).ToArray();
        var overlaps = new List<Overlap>();
        for (var i = 0; i < ordered.Length; i++)
        {
            for (var j = i + 1; j < ordered.Length; j++)
            {
                if (CommonPath(ordered[i].RoutePattern, ordered[j].RoutePattern) is { } path)
                {
                    Add(overlaps, path, ordered[i], ordered[j]);
                }
            }
        }

        return overlaps;
    }

    public static string Describe(IReadOnlyList<Overlap> overlaps)
    {
        var text = new StringBuilder("# Endpoints whose templates fit the same path: request, winner, the other one. Generated; see RestContractTests.\n");
        foreach (var overlap in overlaps)
        {
            text.Append(CultureInfo.InvariantCulture, $"{overlap.Method} {overlap.Path}\t{Name(overlap.Winner)}\t{Name(overlap.Other)}\n");
        }

        return text.ToString();
    }

    public static string Name(RouteEndpoint endpoint)
    {
        var path = string.Join('/', endpoint.RoutePattern.PathSegments.Select(segment => string.Concat(segment.Parts.Select(part => part switch
        {
            RoutePatternLiteralPart literal => literal.Content,
            RoutePatternParameterPart { IsCatchAll: true } rest => $"{{{rest.Name}=**}}",
            RoutePatternParameterPart parameter => $"{{{parameter.Name}}}",
            _ => "",
        }))));
        return $"{Methods(endpoint)[0]} /{path}";
    }

    private static void Add(List<Overlap> overlaps, string path, RouteEndpoint first, RouteEndpoint second)
    {
        var shared = Methods(first).Intersect(Methods(second)).ToArray();
        if (shared.Length > 0)
        {
            var (winner, other) = Compare(first.RoutePattern, second.RoutePattern) <= 0 ? (first, second) : (second, first);
            overlaps.Add(new Overlap(shared[0], path, winner, other));
            return;
        }

        // The method alone decides, so each wins its own.
        overlaps.Add(new Overlap(Methods(first)[0], path, first, second));
        overlaps.Add(new Overlap(Methods(second)[0], path, second, first));
    }

    private static IReadOnlyList<string> Methods(RouteEndpoint endpoint) =>
        endpoint.Metadata.GetMetadata<IHttpMethodMetadata>()?.HttpMethods is { Count: > 0 } methods ? methods : ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"];

    private static string? CommonPath(RoutePattern first, RoutePattern second)
    {
        var path = new StringBuilder();
        for (var i = 0; ; i++)
        {
            var (a, b) = (first.PathSegments.ElementAtOrDefault(i), second.PathSegments.ElementAtOrDefault(i));
            if (a is null && b is null)
            {
                return path.Length == 0 ? "/" : path.ToString();
            }

            var text = (a, b) switch
            {
                (null, _) => IsRest(b!) ? "" : null,
                (_, null) => IsRest(a) ? "" : null,
                _ => Common(a, b),
            };
            if (text is null)
            {
                return null;
            }

            path.Append(text.Length > 0 ? "/" : "").Append(text);
            if (a is not null && b is not null && (IsRest(a) != IsRest(b)))
            {
                // The rest of one takes whatever the other still asks for.
                foreach (var segment in (IsRest(a) ? second : first).PathSegments.Skip(i + 1))
                {
                    path.Append(IsRest(segment) ? "" : $"/{Example(segment)}");
                }

                return path.ToString();
            }
        }
    }

    private static string? Common(RoutePatternPathSegment a, RoutePatternPathSegment b)
    {
        var (prefixA, suffixA, isOpenA) = Shape(a);
        var (prefixB, suffixB, isOpenB) = Shape(b);
        return (isOpenA, isOpenB) switch
        {
            (false, false) => prefixA.Equals(prefixB, StringComparison.OrdinalIgnoreCase) ? prefixA : null,
            (true, false) => Fits(prefixB, suffixA) ? prefixB : null,
            (false, true) => Fits(prefixA, suffixB) ? prefixA : null,
            _ when suffixA.EndsWith(suffixB, StringComparison.OrdinalIgnoreCase) => Filler + suffixA,
            _ when suffixB.EndsWith(suffixA, StringComparison.OrdinalIgnoreCase) => Filler + suffixB,
            _ => null,
        };
    }

    // A literal, or anything with a verb behind it.
    private static (string Literal, string Suffix, bool IsOpen) Shape(RoutePatternPathSegment segment) =>
        segment.Parts[0] is RoutePatternLiteralPart literal ? (literal.Content, "", false)
        : ("", segment.Parts.Count > 1 && segment.Parts[1] is RoutePatternLiteralPart verb ? verb.Content : "", true);

    private static bool Fits(string literal, string suffix) =>
        literal.Length > suffix.Length && literal.EndsWith(suffix, StringComparison.OrdinalIgnoreCase);

    private static string Example(RoutePatternPathSegment segment) => Shape(segment) is (_, var suffix, true) ? Filler + suffix : Shape(segment).Literal;

    private static bool IsRest(RoutePatternPathSegment segment) => segment.Parts[0] is RoutePatternParameterPart { IsCatchAll: true };

    private static int Compare(RoutePattern first, RoutePattern second)
    {
        var ranks = first.PathSegments.Select(Rank).Zip(second.PathSegments.Select(Rank));
        var difference = ranks.Select(pair => pair.First - pair.Second).FirstOrDefault(difference => difference != 0);
        return difference != 0 ? difference : second.PathSegments.Count - first.PathSegments.Count;
    }

    private static int Rank(RoutePatternPathSegment segment) => Shape(segment) switch
    {
        (_, _, false) => 0,
        (_, { Length: > 0 }, _) => 1,
        _ => IsRest(segment) ? 3 : 2,
    };
}
