using System.Globalization;
using System.Text.Json;
using Grpc.Core;
using Hub.Options.V1;

namespace Hub.Transcoding.Errors;

/// <summary>A refusal as REST clients see it, in whatever shape their surface wants.</summary>
internal sealed record RestError(int HttpStatus, StatusCode Code, string Message)
{
    public string? Reason { get; init; }

    public IReadOnlyDictionary<string, string> Details { get; init; } = new Dictionary<string, string>();

    /// <summary>How long the client should wait before it tries again.</summary>
    public TimeSpan? RetryAfter { get; init; }

    /// <summary>The header's value: whole seconds, rounded up so that nobody comes back too early.</summary>
    public string? RetryAfterSeconds =>
        RetryAfter is { } delay ? Math.Max(0, (long)Math.Ceiling(delay.TotalSeconds)).ToString(CultureInfo.InvariantCulture) : null;

    public void Write(Utf8JsonWriter writer, ErrorShape shape)
    {
        writer.WriteStartObject();
        switch (shape)
        {
            case ErrorShape.SuccessError:
                writer.WriteBoolean("success"u8, false);
                writer.WriteStartObject("error"u8);
                writer.WriteString("code"u8, Reason ?? StatusCodes.Name(Code));
                writer.WriteString("message"u8, Message);
                WriteDetails(writer);
                writer.WriteEndObject();
                break;
            case ErrorShape.MessageCode:
                writer.WriteString("message"u8, Message);
                writer.WriteString("code"u8, Reason ?? StatusCodes.Name(Code));
                WriteDetails(writer);
                break;
            default:
                writer.WriteString("error"u8, Message);
                writer.WriteString("code"u8, StatusCodes.Name(Code));
                if (Reason is not null)
                {
                    writer.WriteString("reason"u8, Reason);
                }

                WriteDetails(writer);
                break;
        }

        writer.WriteEndObject();
    }

    private void WriteDetails(Utf8JsonWriter writer)
    {
        if (Details.Count == 0)
        {
            return;
        }

        writer.WriteStartObject("details"u8);
        foreach (var (name, value) in Details)
        {
            writer.WriteString(name, value);
        }

        writer.WriteEndObject();
    }
}
