using Grpc.Framing;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Routing;
using Microsoft.AspNetCore.Routing.Patterns;

namespace Grpc.AspNetCore.Server;

/// <summary>Answers gRPC calls to methods nobody serves with UNIMPLEMENTED; all other requests pass by.</summary>
internal sealed class UnimplementedEndpoint
{
    private bool _isMapped;

    public void MapOnce(IEndpointRouteBuilder endpoints)
    {
        if (_isMapped)
        {
            return;
        }

        _isMapped = true;
        var pattern = RoutePatternFactory.Parse(
            "{unimplementedService}/{unimplementedMethod}", defaults: null, parameterPolicies: new { unimplementedMethod = new GrpcCallConstraint() });
        endpoints.Map(pattern, AnswerAsync)
            .WithDisplayName("gRPC - unimplemented")
            .WithOrder(int.MaxValue);
    }

    private static Task AnswerAsync(HttpContext httpContext)
    {
        var headers = httpContext.Response.Headers;
        httpContext.Response.ContentType = GrpcProtocol.ContentType;
        headers[GrpcProtocol.StatusHeader] = "12";
        headers[GrpcProtocol.MessageHeader] = "Method is unimplemented.";
        return Task.CompletedTask;
    }

    private sealed class GrpcCallConstraint : IRouteConstraint
    {
        public bool Match(
            HttpContext? httpContext, IRouter? route, string routeKey, RouteValueDictionary values, RouteDirection routeDirection) =>
            httpContext is not null
            && HttpMethods.IsPost(httpContext.Request.Method)
            && GrpcProtocol.IsGrpcContentType(httpContext.Request.ContentType);
    }
}
