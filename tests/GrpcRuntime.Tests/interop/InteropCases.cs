using Xunit.Sdk;

namespace Hub.GrpcRuntime.Tests;

/// <summary>Who calls whom; the first is the client.</summary>
public enum InteropDirection
{
    /// <summary>Both sides are this runtime.</summary>
    OursToOurs,

    /// <summary>@grpc/grpc-js calls this runtime.</summary>
    JavaScriptToOurs,

    /// <summary>This runtime calls @grpc/grpc-js.</summary>
    OursToJavaScript,

    /// <summary>Python's grpcio, which is the C core, calls this runtime.</summary>
    PythonToOurs,

    /// <summary>This runtime calls Python's grpcio.</summary>
    OursToPython,
}

/// <summary>The table of the public interoperability cases. The README of this folder shows it; a test holds the two together.</summary>
internal static class InteropCases
{
    private const string NoFlagInJavaScriptClient = "payloads only: a grpc-js client does not learn whether a message was compressed";
    private const string NoFlagInJavaScriptServer = "without the refused request: a grpc-js server does not learn whether a message was compressed";
    private const string NoCompressionInJavaScriptServer = "a grpc-js server does not compress";
    private const string NoFlagInPythonClient = "payloads only: a Python client does not learn whether a message was compressed";
    private const string WholeCallsInPythonClient = "call by call: a Python client compresses all messages of a call or none";
    private const string NoFlagInPythonServer = "without the refused request: a Python server does not learn whether a message was compressed";

    public static IReadOnlyList<string> Names { get; } =
    [
        "empty_unary", "large_unary", "client_compressed_unary", "client_compressed_streaming", "server_compressed_unary",
        "server_compressed_streaming", "client_streaming", "server_streaming", "ping_pong", "empty_stream", "custom_metadata",
        "status_code_and_message", "special_status_message", "unimplemented_method", "unimplemented_service", "cancel_after_begin",
        "cancel_after_first_response", "timeout_on_sleeping_server", "concurrent_large_unary", "rpc_soak",
    ];

    public static TheoryData<string> Theory => [.. Names];

    /// <summary>Why a case cannot be run in a direction; null if it can.</summary>
    public static string? NotApplicable(InteropDirection direction, string name) => (direction, name) switch
    {
        (InteropDirection.OursToJavaScript, "server_compressed_unary" or "server_compressed_streaming") => NoCompressionInJavaScriptServer,
        _ => null,
    };

    /// <summary>What a case leaves out in a direction because the peer has no means for it; null if nothing.</summary>
    public static string? Limit(InteropDirection direction, string name) => (direction, name) switch
    {
        (InteropDirection.JavaScriptToOurs, "server_compressed_unary" or "server_compressed_streaming") => NoFlagInJavaScriptClient,
        (InteropDirection.OursToJavaScript, "client_compressed_unary" or "client_compressed_streaming") => NoFlagInJavaScriptServer,
        (InteropDirection.PythonToOurs, "server_compressed_unary" or "server_compressed_streaming") => NoFlagInPythonClient,
        (InteropDirection.PythonToOurs, "client_compressed_unary" or "client_compressed_streaming") => WholeCallsInPythonClient,
        (InteropDirection.OursToPython, "client_compressed_unary" or "client_compressed_streaming") => NoFlagInPythonServer,
        _ => null,
    };

    /// <summary>The cell of the README's table.</summary>
    public static string Cell(InteropDirection direction, string name) =>
        NotApplicable(direction, name) is { } reason ? $"n/a: {reason}"
        : Limit(direction, name) is { } limit ? $"yes, {limit}"
        : "yes";

    /// <summary>Ends the test as skipped, with the reason, where a case cannot be run.</summary>
    public static void SkipIfNotApplicable(InteropDirection direction, string name)
    {
        if (NotApplicable(direction, name) is { } reason)
        {
            throw SkipException.ForSkip(reason);
        }
    }
}
