using System.Text.Json;

namespace Hub.Transcoding.Json;

/// <summary>JSON text, a path variable or a query parameter does not fit the message it is meant for.</summary>
/// <remarks>The message names the place and what was expected there, and never repeats the value: it may be a secret.</remarks>
public sealed class JsonInputException : Exception
{
    private readonly string _problem;

    internal JsonInputException(string problem, Exception? inner = null)
        : base(problem, inner)
    {
        _problem = problem;
    }

    /// <summary>Where the fault is, such as <c>agents[2].taskCounts.todo</c>; empty for the whole text.</summary>
    public string Path { get; private set; } = "";

    /// <inheritdoc/>
    public override string Message => Path.Length == 0 ? _problem : $"{Path}: {_problem}";

    internal static JsonInputException Expected(string expected, ref Utf8JsonReader reader) =>
        new($"expected {expected}, found {NameOf(reader.TokenType)}");

    internal static JsonInputException Syntax(JsonException error) =>
        new(error.LineNumber is { } line && error.BytePositionInLine is { } column
            ? $"not valid JSON, or nested deeper than {JsonCodec.DepthMax} levels, at line {line + 1}, byte {column + 1}"
            : "not valid JSON", error);

    /// <summary>
    /// Puts a step in front of the path and returns false. It is meant for exception filters: these run innermost first while
    /// the stack is still whole, so the path is complete at the top without a rethrow per level and costs nothing without a fault.
    /// </summary>
    internal bool Under(string step)
    {
        Path = Path.Length == 0 ? step : Path[0] == '[' ? step + Path : $"{step}.{Path}";
        return false;
    }

    /// <inheritdoc cref="Under(string)"/>
    internal bool Under(int index) => Under($"[{index}]");

    private static string NameOf(JsonTokenType token) => token switch
    {
        JsonTokenType.StartObject => "an object",
        JsonTokenType.StartArray => "an array",
        JsonTokenType.String => "a string",
        JsonTokenType.Number => "a number",
        JsonTokenType.True or JsonTokenType.False => "a boolean",
        JsonTokenType.Null => "null",
        _ => "a name",
    };
}
