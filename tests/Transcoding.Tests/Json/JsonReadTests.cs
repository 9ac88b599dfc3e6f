using Google.Protobuf.Reflection;
using Google.Protobuf.WellKnownTypes;
using Hub.Transcoding.Json;
using Hub.Transcoding.Tests.Protos;

namespace Hub.Transcoding.Tests.Json;

public sealed class JsonReadTests
{
    private static readonly JsonCodec Codec = new(JsonStyle.Default, TypeRegistry.FromFiles(JsonCasesReflection.Descriptor, DurationReflection.Descriptor));

    /// <summary>What is read, and the same message in plain JSON.</summary>
    public static TheoryData<string, string> Tolerated => new()
    {
        { """{"boolValue":true}""", """{"boolValue":true}""" },
        { """{"bool_value":true}""", """{"boolValue":true}""" },
        { """{"bool\u0056alue":true}""", """{"boolValue":true}""" },
        { """{"boolValue":"true"}""", """{"boolValue":true}""" },
        { """{"expires_at":"x"}""", """{"expires_at":"x"}""" },
        { """{"renamedField":"x"}""", """{"expires_at":"x"}""" },
        { """{"renamed_field":"x"}""", """{"expires_at":"x"}""" },
        { """{"int32Value":"7"}""", """{"int32Value":7}""" },
        { """{"int32Value":1e3}""", """{"int32Value":1000}""" },
        { """{"int32Value":2.0}""", """{"int32Value":2}""" },
        { """{"int64Value":9007199254740993}""", """{"int64Value":"9007199254740993"}""" },
        { """{"uint64Value":"18446744073709551615"}""", """{"uint64Value":"18446744073709551615"}""" },
        { """{"doubleValue":"1.5"}""", """{"doubleValue":1.5}""" },
        { """{"doubleValue":"-Infinity"}""", """{"doubleValue":"-Infinity"}""" },
        { """{"stringValue":12.50}""", """{"stringValue":"12.50"}""" },
        { """{"stringValue":true}""", """{"stringValue":"true"}""" },
        { """{"bytesValue":"-_8"}""", """{"bytesValue":"+/8="}""" },
        { """{"bytesValue":"+/8="}""", """{"bytesValue":"+/8="}""" },
        { """{"state":"HOST_STATE_ONLINE"}""", """{"state":"HOST_STATE_ONLINE"}""" },
        { """{"state":"ONLINE"}""", """{"state":"HOST_STATE_ONLINE"}""" },
        { """{"state":"online"}""", """{"state":"HOST_STATE_ONLINE"}""" },
        { """{"state":1}""", """{"state":"HOST_STATE_ONLINE"}""" },
        { """{"state":"2"}""", """{"state":"HOST_STATE_OFFLINE"}""" },
        { """{"state":99}""", """{"state":99}""" },
        { """{"unknown":{"a":[1,{"b":null}]},"int32Value":1}""", """{"int32Value":1}""" },
        { """{"stringValue":null,"inner":null,"ints":null,"textsByText":null,"wrappedInt":null}""", "{}" },
        { """{"ints":[1,null,2]}""", """{"ints":[1,2]}""" },
        { """{"inners":[null,{"innerText":"a"}]}""", """{"inners":[{"innerText":"a"}]}""" },
        { """{"textsByText":{"a":null,"b":"c"}}""", """{"textsByText":{"b":"c"}}""" },
        { """{"int32Value":1,"int32Value":2}""", """{"int32Value":2}""" },
        { """{"ints":[1],"ints":[2]}""", """{"ints":[2]}""" },
        { """{"inner":{"innerText":"a"},"inner":{"innerNumber":1}}""", """{"inner":{"innerNumber":1}}""" },
        { """{"chosenText":"a","chosenInt":1}""", """{"chosenInt":1}""" },
        { """{"chosenText":"a","chosenInt":null}""", """{"chosenText":"a"}""" },
        { """{"freeValue":null}""", """{"freeValue":null}""" },
        { """{"freeValues":[null,1]}""", """{"freeValues":[null,1]}""" },
        { """{"freeObject":{"a":9007199254740992,"b":{"c":null}}}""", """{"freeObject":{"a":9007199254740992,"b":{"c":null}}}""" },
        { """{"time":"2024-02-29T10:00:00.5+02:00"}""", """{"time":"2024-02-29T08:00:00.500Z"}""" },
        { """{"time":"2024-02-29t10:00:00z"}""", """{"time":"2024-02-29T10:00:00Z"}""" },
        { """{"span":"-1.000000001s"}""", """{"span":"-1.000000001s"}""" },
        { """{"mask":"stringValue,inner.innerText"}""", """{"mask":"stringValue,inner.innerText"}""" },
        { """{"mask":"string_value"}""", """{"mask":"stringValue"}""" },
        { """{"any":{"innerText":"a","@type":"type.googleapis.com/hub.transcoding.tests.Inner"}}""", """{"any":{"@type":"type.googleapis.com/hub.transcoding.tests.Inner","innerText":"a"}}""" },
        { """{"any":{"@type":"type.googleapis.com/google.protobuf.Duration","value":"1s"}}""", """{"any":{"@type":"type.googleapis.com/google.protobuf.Duration","value":"1s"}}""" },
        { """{"stringValue":"\ud83d"}""", """{"stringValue":"\ufffd"}""" },
        { """{"stringValue":"\ud83d\ude00"}""", """{"stringValue":"😀"}""" },
        { """{"stringValue":"\ude00\ud83d\ud83d\ude00"}""", """{"stringValue":"\ufffd\ufffd😀"}""" },
        { """{"stringValue":"a\u0000b"}""", """{"stringValue":"a␀b"}""" },
        { """{"stringValue":"\\u0000 \\ud83d \\"}""", """{"stringValue":"\\u0000 \\ud83d \\"}""" },
        { """{"freeObject":{"\ud83d":"\u0000"}}""", """{"freeObject":{"\ufffd":"␀"}}""" },
        { """{"textsByText":{"\u0000":"a"}}""", """{"textsByText":{"␀":"a"}}""" },
        { "\uFEFF{\"int32Value\":1}", """{"int32Value":1}""" },
    };

    public static TheoryData<string, string> Refused => new()
    {
        { "[]", "expected an object, found an array" },
        { "{} {}", "not valid JSON" },
        { "{", "not valid JSON" },
        { "", "not valid JSON" },
        { """{"int32Value":"x"}""", "int32Value: expected a 32-bit integer, found a string" },
        { """{"int32Value":2147483648}""", "int32Value: expected a 32-bit integer" },
        { """{"int32Value":1.5}""", "int32Value: expected a 32-bit integer" },
        { """{"uint32Value":-1}""", "uint32Value: expected an unsigned 32-bit integer" },
        { """{"floatValue":1e300}""", "floatValue: expected a number that fits a float" },
        { """{"doubleValue":1e999}""", "doubleValue: expected a number" },
        { """{"boolValue":2}""", "boolValue: expected true or false, found a number" },
        { """{"stringValue":{}}""", "stringValue: expected a string, found an object" },
        { """{"bytesValue":"*"}""", "bytesValue: expected base64 text" },
        { """{"state":"NO_SUCH"}""", "state: expected a value of HostState" },
        { """{"ints":1}""", "ints: expected an array, found a number" },
        { """{"ints":[1,"x"]}""", "ints[1]: expected a 32-bit integer" },
        { """{"inners":[{},{"innerNumber":[]}]}""", "inners[1].innerNumber: expected a 32-bit integer, found an array" },
        { """{"self":{"longsByInt":{"x":1}}}""", "self.longsByInt.x: expected an integer as key" },
        { """{"freeObject":{"a":[1,9007199254740993]}}""", "freeObject.a[1]: integers beyond 2^53" },
        { """{"structsByText":{"k":{"n":-99999999999999999999}}}""", "structsByText.k.n: integers beyond 2^53" },
        { """{"time":"yesterday"}""", "time: expected an RFC 3339 time" },
        { """{"time":"2024-01-01T00:00:00"}""", "time: expected an RFC 3339 time" },
        { """{"time":"0001-01-01T00:00:00+01:00"}""", "time: expected an RFC 3339 time" },
        { """{"span":"1.0000000001s"}""", "span: expected a duration" },
        { """{"span":"1"}""", "span: expected a duration" },
        { """{"any":{"@type":"type.googleapis.com/no.Such"}}""", "any.@type: expected a known message type" },
        { """{"any":{"a":1}}""", "any: expected the message's type under @type" },
    };

    [Theory]
    [MemberData(nameof(Tolerated))]
    public void Read_TolerantInput_GivesTheSameMessageAsPlainJson(string input, string plain)
    {
        Assert.Equal(Codec.Parse<Everything>(plain), Codec.Parse<Everything>(input));
    }

    [Theory]
    [MemberData(nameof(Tolerated))]
    public void Write_ToleratedMessages_GivesPlainJson(string input, string plain)
    {
        Assert.Equal(Codec.Format(Codec.Parse<Everything>(plain)), Codec.Format(Codec.Parse<Everything>(input)));
    }

    [Theory]
    [MemberData(nameof(Refused))]
    public void Read_WrongInput_NamesThePlaceAndTheExpectation(string input, string message)
    {
        var error = Assert.Throws<JsonInputException>(() => Codec.Parse<Everything>(input));

        Assert.StartsWith(message, error.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Read_InvalidUtf8_BecomesReplacementCharacters()
    {
        var message = new Everything();

        Codec.Merge([.. "{\"stringValue\":\"a"u8, 0xFF, 0xC3, .. "b\"}"u8], message);

        Assert.Equal("a\uFFFD\uFFFDb", message.StringValue);
    }

    [Fact]
    public void Read_RawNulByte_BecomesItsSymbol()
    {
        var message = new Everything();

        Codec.Merge([.. "{\"stringValue\":\"a"u8, 0, .. "b\"}"u8], message);

        Assert.Equal("a\u2400b", message.StringValue);
    }

    [Theory]
    [InlineData(99, true)]
    [InlineData(101, false)]
    public void Read_FreeJsonOfDepth_IsBounded(int depth, bool accepted)
    {
        var json = $"{{\"freeList\":{new string('[', depth - 1)}{new string(']', depth - 1)}}}";

        var error = Record.Exception(() => Codec.Parse<Everything>(json));

        Assert.Equal(accepted, error is null);
        Assert.True(error is null or JsonInputException);
    }
}
