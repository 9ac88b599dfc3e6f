using System.Text.Json;

namespace Hub.Transcoding.Json;

/// <summary>Reads and writes one JSON value of a .NET type, without boxing. Instances are immutable and shared by all calls of a style.</summary>
internal abstract class ValueCodec<T>
{
    /// <summary>Null is a value of its own here (Value, NullValue); elsewhere it means unset and never reaches the codec.</summary>
    public virtual bool TakesNull => false;

    public abstract void Write(Utf8JsonWriter writer, T value);

    /// <summary>Reads the value whose first token the reader stands on, and leaves the reader on its last token.</summary>
    public abstract T Read(ref Utf8JsonReader reader);

    /// <summary>True for the value that a field without presence has when nobody set it.</summary>
    public virtual bool IsDefault(T value) => EqualityComparer<T>.Default.Equals(value, default);
}

/// <summary>A wrapper message's value, which generated code shows as a nullable.</summary>
internal sealed class NullableCodec<T>(ValueCodec<T> inner) : ValueCodec<T?>
    where T : struct
{
    public override void Write(Utf8JsonWriter writer, T? value) => inner.Write(writer, value.GetValueOrDefault());

    public override T? Read(ref Utf8JsonReader reader) => inner.Read(ref reader);
}
