namespace Hub.Hosting;

/// <summary>Keeps the admin listener and the public ones apart: one serves operators only, the others never serve what is for them.</summary>
internal sealed class AdminConnection(RequestDelegate next)
{
    /// <summary>Set as a feature on connections of the admin listener.</summary>
    public static readonly AdminMark Mark = new();

    private static readonly PathString OperatorPath = "/admin";
    private static readonly PathString[] AdminPaths = ["/health", "/ready", OperatorPath];

    public Task InvokeAsync(HttpContext context)
    {
        var isAdmin = context.Features.Get<AdminMark>() is not null;
        var isHidden = isAdmin
            ? !AdminPaths.Any(path => context.Request.Path.StartsWithSegments(path))
            : context.Request.Path.StartsWithSegments(OperatorPath);
        if (isHidden)
        {
            context.Response.StatusCode = StatusCodes.Status404NotFound;
            return Task.CompletedTask;
        }

        return next(context);
    }

    /// <summary>Marks a connection of the admin listener.</summary>
    internal sealed class AdminMark;
}
