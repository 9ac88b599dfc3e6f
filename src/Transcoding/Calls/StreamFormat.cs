using System.Buffers;
using System.Text;
using System.Text.Json;
using Google.Api;
using Google.Protobuf;
using Hub.Transcoding.Errors;
using Hub.Transcoding.Json;
using Microsoft.AspNetCore.Http;

namespace Hub.Transcoding.Calls;

/// <summary>How the messages of a server stream are told apart on the wire.</summary>
internal abstract class StreamFormat(RestBinding binding)
{
    protected RestBinding Binding { get; } = binding;

    public abstract string ContentType { get; }

    /// <summary>What keeps an idle connection alive without meaning anything; empty where the format has no such thing.</summary>
    public abstract ReadOnlySpan<byte> Heartbeat { get; }

    /// <summary>Whether the head may leave before there is a message; not where the message decides about the head.</summary>
    public virtual bool CanStartEarly => true;

    /// <summary>Equal for calls of one method whose messages look alike; null where a message looks different in each call.</summary>
    public virtual object? Form => (Binding, GetType());

    public abstract void WriteMessage(IMessage message, PooledBuffer output);

    public abstract void WriteError(RestError error, PooledBuffer output);

    protected void WriteJson(RestError error, PooledBuffer output)
    {
        using var writer = new Utf8JsonWriter(output, JsonCodec.WriterOptions);
        error.Write(writer, Binding.Surface.ErrorShape);
    }
}

/// <summary>One JSON text per line.</summary>
internal sealed class JsonLinesFormat(RestBinding binding) : StreamFormat(binding)
{
    public override string ContentType => "application/x-ndjson";

    public override ReadOnlySpan<byte> Heartbeat => [];

    public override void WriteMessage(IMessage message, PooledBuffer output)
    {
        Binding.WriteMessage(message, output);
        output.Write("\n"u8);
    }

    public override void WriteError(RestError error, PooledBuffer output)
    {
        WriteJson(error, output);
        output.Write("\n"u8);
    }
}

/// <summary>Server-sent events: id and name from the fields that the contract names, the message as data.</summary>
internal sealed class ServerSentEventsFormat(RestBinding binding) : StreamFormat(binding)
{
    public override string ContentType => "text/event-stream";

    public override ReadOnlySpan<byte> Heartbeat => ":\n\n"u8;

    public override void WriteMessage(IMessage message, PooledBuffer output)
    {
        WriteLine("id: "u8, Binding.Text(Binding.EventId, message), output);
        WriteLine("event: "u8, Binding.Text(Binding.EventName, message), output);
        output.Write("data: "u8); // JSON escapes line ends, so one line is always enough.
        Binding.WriteMessage(message, output);
        output.Write("\n\n"u8);
    }

    public override void WriteError(RestError error, PooledBuffer output)
    {
        output.Write("event: error\ndata: "u8);
        WriteJson(error, output);
        output.Write("\n\n"u8);
    }

    // An empty id would make the browser forget the last one, so empty texts are left out.
    private static void WriteLine(ReadOnlySpan<byte> name, string text, PooledBuffer output)
    {
        if (text.Length > 0)
        {
            output.Write(name);
            Encoding.UTF8.GetBytes(text.ReplaceLineEndings(" ").Replace('\0', '\u2400'), output);
            output.Write("\n"u8);
        }
    }
}

/// <summary>Bytes with a type of their own: the pieces of google.api.HttpBody one after the other, of the first one's type.</summary>
internal sealed class RawFormat(RestBinding binding, HttpResponse response) : StreamFormat(binding)
{
    private bool _hasStarted;

    public override string ContentType => "application/octet-stream";

    public override ReadOnlySpan<byte> Heartbeat => [];

    public override bool CanStartEarly => false;

    public override object? Form => null;

    public override void WriteMessage(IMessage message, PooledBuffer output)
    {
        var piece = (HttpBody)message;
        if (!_hasStarted)
        {
            // Nothing has been flushed yet: the pump holds the head back until there is a message.
            _hasStarted = true;
            response.ContentType = piece.ContentType.Length > 0 ? piece.ContentType : ContentType;
        }

        output.Write(piece.Data.Span);
    }

    // Bytes cannot tell an error from content, so the connection is cut and the client sees an answer without its end.
    public override void WriteError(RestError error, PooledBuffer output) => response.HttpContext.Abort();
}
