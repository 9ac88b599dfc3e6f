using Google.Protobuf.Reflection;
using Hub.Options.V1;
using Microsoft.AspNetCore.Http;
using Microsoft.Extensions.Options;

namespace Hub.Transcoding.Routes;

/// <summary>All surfaces of the mapped services: by file for methods, by longest path prefix for paths that no method has.</summary>
internal sealed class SurfaceTable(IOptions<JsonTranscodingOptions> options)
{
    private readonly Lock _registering = new();
    private readonly Dictionary<Surface, RestSurface> _surfaces = [];
    private readonly RestSurface _default = new(new Surface(), options.Value.TypeRegistry);
    // Replaced as a whole, because services may be mapped while requests are served.
    private volatile (PathString Path, RestSurface Surface)[] _byPrefix = [];

    /// <summary>The surface of a file's services; files that declare the same surface share it and its compiled plans.</summary>
    public RestSurface Register(FileDescriptor file)
    {
        if (file.GetOptions()?.GetExtension(RestExtensions.Surface) is not { } declared)
        {
            return _default;
        }

        lock (_registering)
        {
            if (!_surfaces.TryGetValue(declared, out var surface))
            {
                surface = new RestSurface(declared, options.Value.TypeRegistry);
                _surfaces.Add(declared, surface);
                foreach (var prefix in declared.PathPrefixes)
                {
                    AddPrefix(prefix, surface, file);
                }
            }

            return surface;
        }
    }

    /// <summary>The surface a path belongs to; paths outside all surfaces get the default one.</summary>
    public RestSurface Find(PathString path)
    {
        foreach (var (prefix, surface) in _byPrefix)
        {
            if (path.StartsWithSegments(prefix))
            {
                return surface;
            }
        }

        return _default;
    }

    private void AddPrefix(string prefix, RestSurface surface, FileDescriptor file)
    {
        var path = new PathString(prefix == "/" ? "" : prefix.TrimEnd('/'));
        foreach (var (other, owner) in _byPrefix)
        {
            if (other == path && owner.ErrorShape != surface.ErrorShape)
            {
                throw new InvalidOperationException($"{file.Name}: another file claims the path prefix {prefix} with another error shape.");
            }
        }

        _byPrefix = [.. _byPrefix.Append((path, surface)).OrderByDescending(entry => entry.Item1.Value?.Length ?? 0)];
    }
}
