using System.Text.RegularExpressions;

namespace Hub.Hosts;

/// <summary>How a new node is connected, as Markdown that an agent or a person can follow line by line.</summary>
internal static partial class BootstrapText
{
    public const string ContentType = "text/markdown; charset=utf-8";

    private const string TokenPlaceholder = "<join token>";
    private const string NamePlaceholder = "<name of this machine>";

    /// <param name="hubUrl">The Hub's public address.</param>
    /// <param name="joinToken">Null shows a placeholder.</param>
    /// <param name="name">Name for the host. It stands in commands for a shell, so any but a plain one is left out.</param>
    public static string Of(string hubUrl, string? joinToken = null, string name = "")
    {
        var token = joinToken ?? TokenPlaceholder;
        var host = PlainName().IsMatch(name) ? name : NamePlaceholder;
        return $$$"""
            # Connect this machine to the Hub at {{{hubUrl}}}

            You need a join token (it starts with `hjoin_`). A person makes one in the dashboard or with `hub token join`.
            Keep it out of logs and chats: whoever has it can connect a machine.

            ## With reflectt-node

            ```
            export REFLECTT_CLOUD_URL='{{{hubUrl}}}'
            export REFLECTT_HOST_NAME='{{{host}}}'
            export REFLECTT_HOST_TOKEN='{{{token}}}'
            ```

            Then start the node. It claims its host by itself, at every start, with the same token.

            ## With anything else

            1. Claim the host. The answer has `host.id` and, shown once, `credential.token`: store it where only this machine's user can read it.

            ```
            curl -sS '{{{hubUrl}}}/api/connect/complete' -H 'content-type: application/json' \
              -d '{"joinToken":"{{{token}}}","name":"{{{host}}}"}'
            ```

            2. Say every 30 seconds that the machine is there.

            ```
            curl -sS '{{{hubUrl}}}/api/hosts/<host.id>/heartbeat' -H 'authorization: Bearer <credential.token>' \
              -H 'content-type: application/json' -d '{"contractVersion":"host-heartbeat.v1","status":"online","agents":[],"activeTasks":[]}'
            ```

            3. Take commands: `GET {{{hubUrl}}}/api/hosts/<host.id>/commands?status=pending` with the same header, and report each with
               `POST {{{hubUrl}}}/api/hosts/<host.id>/commands/<id>/ack` and `{"action":"ack"}`, then `{"action":"complete","result":{}}`
               or `{"action":"fail","error":"why"}`.

            ## If it does not work

            - 401 with the reason `JOIN_TOKEN_INVALID`: the token was revoked or not used in time. Ask for a new one.
            - 401 on later calls: claim again with the same token; the host stays the same.
            - Any other error: its `error` says what to do. Wait a few seconds between two attempts.

            """;
    }

    [GeneratedRegex(@"^[\p{L}\p{Nd}][\p{L}\p{Nd} ._-]{0,199}\z")]
    private static partial Regex PlainName();
}
