using System.Text.Json;
using Google.Protobuf;

namespace Hub.Transcoding.Json;

/// <summary>A message type as seen by code that does not know the type.</summary>
internal interface IMessageCodec
{
    public IMessage Create();

    public void Write(Utf8JsonWriter writer, IMessage message);

    /// <summary>Reads the value whose first token the reader stands on into the message; fields not named keep their value.</summary>
    public void Merge(ref Utf8JsonReader reader, IMessage message);

    /// <summary>The field of that JSON or proto name; null where there is none or the message has a JSON form of its own.</summary>
    public IFieldCodec? Find(string name);
}

/// <summary>A message that is written as an object of its fields; all others have a JSON form of their own.</summary>
internal interface IObjectCodec : IMessageCodec
{
    /// <summary>Writes the fields without the braces around them.</summary>
    public void WriteFields(Utf8JsonWriter writer, IMessage message);
}

internal abstract class MessageCodec<T> : ValueCodec<T>, IMessageCodec
    where T : class, IMessage<T>, new()
{
    public abstract void Merge(ref Utf8JsonReader reader, T message);

    public virtual IFieldCodec? Find(string name) => null;

    public sealed override T Read(ref Utf8JsonReader reader)
    {
        var message = new T();
        Merge(ref reader, message);
        return message;
    }

    public sealed override bool IsDefault(T value) => value is null;

    IMessage IMessageCodec.Create() => new T();

    void IMessageCodec.Write(Utf8JsonWriter writer, IMessage message) => Write(writer, (T)message);

    void IMessageCodec.Merge(ref Utf8JsonReader reader, IMessage message) => Merge(ref reader, (T)message);
}
