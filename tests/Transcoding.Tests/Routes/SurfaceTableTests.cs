using Google.Protobuf;
using Google.Protobuf.Reflection;
using Hub.Options.V1;
using Hub.Transcoding.Routes;

namespace Hub.Transcoding.Tests.Routes;

public sealed class SurfaceTableTests
{
    private readonly SurfaceTable _table = new(Microsoft.Extensions.Options.Options.Create(new JsonTranscodingOptions()));

    [Fact]
    public void Register_SameSurfaceInTwoFiles_IsShared()
    {
        var surface = new Surface { PathPrefixes = { "/api" }, Int64AsNumber = true };

        Assert.Same(_table.Register(File("a.proto", surface)), _table.Register(File("b.proto", surface.Clone())));
    }

    [Fact]
    public void Register_OnePrefixWithTwoErrorShapes_Throws()
    {
        _table.Register(File("a.proto", new Surface { PathPrefixes = { "/api" } }));

        Assert.Throws<InvalidOperationException>(
            () => _table.Register(File("b.proto", new Surface { PathPrefixes = { "/api/" }, ErrorShape = ErrorShape.MessageCode })));
    }

    [Theory]
    [InlineData("/api", "short")]
    [InlineData("/api/v1", "long")]
    [InlineData("/api/v1/x", "long")]
    [InlineData("/api/v12", "short")]
    [InlineData("/apis", "none")]
    [InlineData("/", "none")]
    public void Find_Path_TakesTheLongestPrefixOfWholeSegments(string path, string expected)
    {
        var shorter = _table.Register(File("a.proto", new Surface { PathPrefixes = { "/api" } }));
        var longer = _table.Register(File("b.proto", new Surface { PathPrefixes = { "/api/v1" }, Int64AsNumber = true }));

        var found = _table.Find(path);

        Assert.Equal(expected, found == shorter ? "short" : found == longer ? "long" : "none");
    }

    private static FileDescriptor File(string name, Surface surface)
    {
        var options = new Google.Protobuf.Reflection.FileOptions();
        options.SetExtension(RestExtensions.Surface, surface);
        var file = new FileDescriptorProto { Name = name, Syntax = "proto3", Options = options };
        return FileDescriptor.BuildFromByteStrings([file.ToByteString()], new ExtensionRegistry { RestExtensions.Surface })[0];
    }
}
