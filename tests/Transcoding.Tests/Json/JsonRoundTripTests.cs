using Google.Protobuf;
using Google.Protobuf.Reflection;
using Google.Protobuf.WellKnownTypes;
using Hub.Transcoding.Json;
using Hub.Transcoding.Tests.Protos;

namespace Hub.Transcoding.Tests.Json;

/// <summary>Google.Protobuf's own JSON code is the judge of ours.</summary>
public sealed class JsonRoundTripTests(ITestOutputHelper output)
{
    private const int Rounds = 400;
    private static readonly TypeRegistry Types = TypeRegistry.FromFiles(JsonCasesReflection.Descriptor, DurationReflection.Descriptor);
    private static readonly JsonParser Parser = new(new JsonParser.Settings(JsonCodec.DepthMax, Types));

    public static TheoryData<JsonStyle> Styles => [.. new[]
    {
        JsonStyle.Default,
        new JsonStyle { ProtoFieldNames = true, Int64AsNumber = true },
        new JsonStyle { WriteDefaults = true },
    }];

    [Theory]
    [MemberData(nameof(Styles))]
    public void Write_RandomMessages_IsReadBackByGoogleAndByUs(JsonStyle style)
    {
        var codec = new JsonCodec(style, Types);
        foreach (var message in RandomSeries())
        {
            var json = codec.Format(message);

            Assert.Equal(message, codec.Parse<Everything>(json));
            if (!style.Int64AsNumber)
            {
                Assert.Equal(message, Parser.Parse<Everything>(json)); // Google's parser reads large numbers only as text.
            }
        }
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void Read_WhatGoogleWrites_IsTheSameMessage(bool writeDefaults)
    {
        var codec = new JsonCodec(JsonStyle.Default, Types);
        var formatter = new JsonFormatter(new JsonFormatter.Settings(writeDefaults, Types));
        foreach (var message in RandomSeries())
        {
            Assert.Equal(message, codec.Parse<Everything>(formatter.Format(message)));
        }
    }

    [Fact]
    public void Write_ExplicitNulls_IsReadBackAsTheSameText()
    {
        // The text is compared, since null is what an unset Value is written as and a value when it is read.
        var codec = new JsonCodec(new JsonStyle { ExplicitNulls = true, WriteDefaults = true, Int64AsNumber = true }, Types);
        foreach (var message in RandomSeries())
        {
            var json = codec.Format(message);

            Assert.Equal(json, codec.Format(codec.Parse<Everything>(json)));
        }
    }

    [Fact]
    public void Write_ShortEnumValues_IsReadBack()
    {
        var codec = new JsonCodec(new JsonStyle { ShortEnumValues = true }, Types);
        foreach (var message in RandomSeries())
        {
            Assert.Equal(message, codec.Parse<Everything>(codec.Format(message)));
        }
    }

    private IEnumerable<Everything> RandomSeries()
    {
        var seed = Environment.GetEnvironmentVariable("TEST_SEED") is { } given ? int.Parse(given) : Random.Next();
        output.WriteLine($"TEST_SEED={seed}");
        var messages = new RandomMessages(seed);
        for (var i = 0; i < Rounds; i++)
        {
            yield return messages.Next<Everything>();
        }
    }

    private static readonly Random Random = new();
}
