using Google.Protobuf.Reflection;
using Google.Protobuf.WellKnownTypes;
using Hub.Transcoding.Json;
using Hub.Transcoding.Tests.Protos;

namespace Hub.Transcoding.Tests.Json;

public sealed class JsonWriteTests
{
    private static readonly TypeRegistry NoTypes = TypeRegistry.Empty;

    [Fact]
    public void Write_DefaultStyle_LeavesUnsetFieldsOut() => Assert.Equal("{}", Format(JsonStyle.Default, new Inner()));

    [Fact]
    public void Write_Defaults_WritesScalarsListsAndMaps()
    {
        var json = Format(new JsonStyle { WriteDefaults = true }, new Everything());

        Assert.Contains("\"boolValue\":false", json, StringComparison.Ordinal);
        Assert.Contains("\"int64Value\":\"0\"", json, StringComparison.Ordinal);
        Assert.Contains("\"ints\":[]", json, StringComparison.Ordinal);
        Assert.Contains("\"textsByText\":{}", json, StringComparison.Ordinal);
        Assert.DoesNotContain("inner\"", json, StringComparison.Ordinal);
        Assert.DoesNotContain("optionalInt", json, StringComparison.Ordinal);
        Assert.DoesNotContain("chosen", json, StringComparison.Ordinal);
    }

    [Fact]
    public void Write_ExplicitNulls_ShowsUnsetMessagesAndOptionals()
    {
        var json = Format(new JsonStyle { ExplicitNulls = true }, new Everything());

        Assert.Contains("\"inner\":null", json, StringComparison.Ordinal);
        Assert.Contains("\"optionalInt\":null", json, StringComparison.Ordinal);
        Assert.Contains("\"wrappedText\":null", json, StringComparison.Ordinal);
        Assert.DoesNotContain("chosen", json, StringComparison.Ordinal);
        Assert.DoesNotContain("boolValue", json, StringComparison.Ordinal);
    }

    [Fact]
    public void Write_ProtoNames_KeepsExplicitJsonNames() =>
        Assert.Equal(
            """{"string_value":"a","expires_at":"b","camelField":"c"}""",
            Format(new JsonStyle { ProtoFieldNames = true }, new Everything { StringValue = "a", RenamedField = "b", CamelField = "c" }));

    [Fact]
    public void Write_Int64AsNumber_CoversListsMapsAndWrappers() =>
        Assert.Equal(
            """{"longs":[5],"longsByInt":{"1":2},"wrappedUlong":18446744073709551615}""",
            Format(new JsonStyle { Int64AsNumber = true }, new Everything { Longs = { 5 }, LongsByInt = { [1] = 2 }, WrappedUlong = ulong.MaxValue }));

    [Fact]
    public void Write_ShortEnumValues_StripsTheTypeName() =>
        Assert.Equal("""{"state":"ONLINE"}""", Format(new JsonStyle { ShortEnumValues = true }, new Everything { State = HostState.Online }));

    [Fact]
    public void Write_OptionalAtDefault_IsWritten() =>
        Assert.Equal("""{"optionalInt":0,"optionalText":""}""", Format(JsonStyle.Default, new Everything { OptionalInt = 0, OptionalText = "" }));

    [Fact]
    public void Write_LoneSurrogate_IsReplaced() =>
        Assert.Equal("{\"stringValue\":\"a\\uFFFD\"}", Format(JsonStyle.Default, new Everything { StringValue = "a\ud83d" }));

    [Fact]
    public void Write_MaskInProtoNames_KeepsProtoPaths() =>
        Assert.Equal("""{"mask":"a_b.c"}""", Format(new JsonStyle { ProtoFieldNames = true }, new Everything { Mask = new FieldMask { Paths = { "a_b.c" } } }));

    [Fact]
    public void Write_AnyOfUnknownType_Throws() =>
        Assert.Throws<InvalidOperationException>(() => Format(JsonStyle.Default, new Everything { Any = Any.Pack(new Inner()) }));

    [Theory]
    [InlineData("HostState", "HOST_STATE_ONLINE", "ONLINE")]
    [InlineData("HTTPCode", "HTTP_CODE_OK", "OK")]
    [InlineData("HTTPCode", "HTTP_CODE_404", "HTTP_CODE_404")]
    [InlineData("HTTPCode", "OTHER", "OTHER")]
    public void EnumNames_ValueOfType_IsShortened(string type, string name, string expected)
    {
        var value = JsonCasesReflection.Descriptor.EnumTypes.Single(e => e.Name == type).FindValueByName(name);

        Assert.Equal(expected, EnumNames.Short(value));
    }

    private static string Format(JsonStyle style, Google.Protobuf.IMessage message) => new JsonCodec(style, NoTypes).Format(message);
}
