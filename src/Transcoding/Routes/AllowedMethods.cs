using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Routing;
using Microsoft.AspNetCore.Routing.Patterns;
using Microsoft.AspNetCore.Routing.Template;

namespace Hub.Transcoding.Routes;

/// <summary>
/// Which HTTP methods a path has. Routing cannot be asked: fallback endpoints (a single-page app, gRPC's answer to unknown methods)
/// fit every path and would turn 405 into 404 or the other way round, so they are left out here.
/// </summary>
internal sealed class AllowedMethods(EndpointDataSource endpoints)
{
    private const int FallbackOrder = int.MaxValue;

    private volatile Snapshot? _snapshot;

    public IReadOnlyList<string> Of(PathString path)
    {
        // The list is replaced whenever endpoints change.
        var current = endpoints.Endpoints;
        var snapshot = _snapshot;
        if (snapshot?.Source != current)
        {
            _snapshot = snapshot = new Snapshot(current, [.. current.OfType<RouteEndpoint>().Where(e => e.Order != FallbackOrder).Select(ToRoute)]);
        }

        return [.. snapshot.Routes.Where(route => route.Matches(path)).SelectMany(route => route.Methods).Distinct().Order()];
    }

    private static Route ToRoute(RouteEndpoint endpoint) => new(
        endpoint.RoutePattern, new TemplateMatcher(new RouteTemplate(endpoint.RoutePattern), []), endpoint.Metadata.GetMetadata<IHttpMethodMetadata>()?.HttpMethods ?? []);

    private sealed record Snapshot(IReadOnlyList<Endpoint> Source, Route[] Routes);

    private sealed record Route(RoutePattern Pattern, TemplateMatcher Matcher, IReadOnlyList<string> Methods)
    {
        // The matcher knows nothing of constraints, such as the verb after **.
        public bool Matches(PathString path)
        {
            var values = new RouteValueDictionary();
            return Matcher.TryMatch(path, values) && Pattern.ParameterPolicies.All(parameter => parameter.Value
                .Select(policy => policy.ParameterPolicy).OfType<IRouteConstraint>()
                .All(constraint => constraint.Match(null, null, parameter.Key, values, RouteDirection.IncomingRequest)));
        }
    }
}
