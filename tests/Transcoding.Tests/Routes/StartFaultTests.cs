using Google.Api;
using Google.Protobuf;
using Google.Protobuf.Reflection;
using Hub.Transcoding.Json;
using Hub.Transcoding.Routes;
using Hub.Transcoding.Tests.Protos;

namespace Hub.Transcoding.Tests.Routes;

/// <summary>Contracts that google.api.http forbids stop the start instead of surprising a client.</summary>
public sealed class StartFaultTests
{
    private static readonly JsonCodec Codec = new(JsonStyle.Default, TypeRegistry.Empty);

    [Theory]
    [InlineData("/v1/{sub}", "")]
    [InlineData("/v1/{names}", "")]
    [InlineData("/v1/{labels}", "")]
    [InlineData("/v1/{since}", "")]
    [InlineData("/v1/{no_such}", "")]
    [InlineData("/v1/{name.x}", "")]
    [InlineData("/v1/x", "no_such")]
    public void Rule_NamingAFieldThatCannotBeThere_Throws(string path, string body) => Assert.Throws<InvalidOperationException>(
        () => new RequestBinder(Codec, RuleRequest.Descriptor, HttpTemplate.Parse(path), new HttpRule { Post = path, Body = body }, bytesMax: 1));

    [Fact]
    public void Rule_WithBindingsInsideItsBindings_Throws()
    {
        var rule = new HttpRule { Get = "/a", AdditionalBindings = { new HttpRule { Get = "/b", AdditionalBindings = { new HttpRule { Get = "/c" } } } } };

        Assert.Throws<InvalidOperationException>(() => HttpRules.Of(MethodWith(rule)));
    }

    [Fact]
    public void Rule_WithoutAPath_Throws() => Assert.Throws<InvalidOperationException>(() => HttpRules.Pattern(new HttpRule(), MethodWith(new HttpRule())));

    private static MethodDescriptor MethodWith(HttpRule rule)
    {
        var options = new Google.Protobuf.Reflection.MethodOptions();
        options.SetExtension(AnnotationsExtensions.Http, rule);
        var file = new FileDescriptorProto
        {
            Name = "a.proto",
            Syntax = "proto3",
            MessageType = { new DescriptorProto { Name = "M" } },
            Service = { new ServiceDescriptorProto { Name = "S", Method = { new MethodDescriptorProto { Name = "R", InputType = ".M", OutputType = ".M", Options = options } } } },
        };
        return FileDescriptor.BuildFromByteStrings([file.ToByteString()], new ExtensionRegistry { AnnotationsExtensions.Http })[0].Services[0].Methods[0];
    }
}
