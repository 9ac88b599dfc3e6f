using System.Globalization;
using System.Text.Json;

namespace Hub.Transcoding.Json;

/// <summary>Keys of maps, which are always names in JSON.</summary>
internal abstract class KeyCodec<T>
{
    public abstract void Write(Utf8JsonWriter writer, T key);

    public abstract T Parse(string name);

    public static KeyCodec<T> Create() => (KeyCodec<T>)(object)(typeof(T) switch
    {
        var type when type == typeof(string) => new StringKey(),
        var type when type == typeof(bool) => new BoolKey(),
        _ => Activator.CreateInstance(typeof(IntegerKey<>).MakeGenericType(typeof(T)))!,
    });
}

internal sealed class StringKey : KeyCodec<string>
{
    public override void Write(Utf8JsonWriter writer, string key) => writer.WritePropertyName(key);

    public override string Parse(string name) => name;
}

internal sealed class BoolKey : KeyCodec<bool>
{
    public override void Write(Utf8JsonWriter writer, bool key) => writer.WritePropertyName(key ? "true"u8 : "false"u8);

    public override bool Parse(string name) => name switch
    {
        "true" => true,
        "false" => false,
        _ => throw new JsonInputException("expected true or false as key"),
    };
}

internal sealed class IntegerKey<T> : KeyCodec<T>
    where T : struct, ISpanParsable<T>, IFormattable
{
    public override void Write(Utf8JsonWriter writer, T key) => writer.WritePropertyName(key.ToString(null, CultureInfo.InvariantCulture));

    public override T Parse(string name) =>
        T.TryParse(name, CultureInfo.InvariantCulture, out var key) ? key : throw new JsonInputException("expected an integer as key");
}
