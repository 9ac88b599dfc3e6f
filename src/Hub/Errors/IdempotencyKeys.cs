using System.Security.Cryptography;
using Google.Protobuf;
using Google.Protobuf.WellKnownTypes;
using Grpc.Core;
using Hub.Contracts.V1;

namespace Hub.Errors;

/// <summary>
/// Idempotency keys: chosen by the creator, stable across its repeats, from the field or the header. A repeat must be the same request:
/// its fingerprint is the SHA-256 over method, host and the request serialised canonically without the key.
/// </summary>
internal static class IdempotencyKeys
{
    public const string Header = "idempotency-key";
    public const int LengthMax = 200;

    /// <summary>The key of a call, or null if there is none.</summary>
    /// <exception cref="HubException">IDEMPOTENCY_KEY_MISMATCH, INVALID_FIELD.</exception>
    public static string? Of(string field, ServerCallContext context)
    {
        // As a structured header the key stands in quotes; most clients leave them out.
        var sent = context.RequestHeaders.GetValue(Header) ?? "";
        var header = sent is ['"', .. var inner, '"'] ? inner : sent;
        if (field.Length > 0 && header.Length > 0 && field != header)
        {
            throw new HubException(
                ErrorReason.IdempotencyKeyMismatch, "idempotency_key and the header Idempotency-Key differ; send one, or both alike.");
        }

        var key = field.Length > 0 ? field : header;
        return key.Length switch
        {
            0 => null,
            > LengthMax => throw HubException.InvalidField("idempotency_key", $"A key has at most {LengthMax} characters."),
            _ => key,
        };
    }

    /// <summary>Fingerprint of a request whose key field was cleared.</summary>
    public static string Fingerprint(string method, string hostId, IMessage keyless)
    {
        using var hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        foreach (var part in (ReadOnlySpan<string>)[method, hostId])
        {
            hash.AppendData(System.Text.Encoding.UTF8.GetBytes(part));
            hash.AppendData([0]);
        }

        // Proto fields are written in order; only maps have no order of their own.
        hash.AppendData(keyless.ToByteArray());
        return Convert.ToHexStringLower(hash.GetHashAndReset());
    }

    /// <summary>The same object with the keys of every level in ordinal order.</summary>
    public static Struct Sorted(Struct value)
    {
        var sorted = new Struct();
        foreach (var (key, inner) in value.Fields.OrderBy(pair => pair.Key, StringComparer.Ordinal))
        {
            sorted.Fields[key] = Sorted(inner);
        }

        return sorted;
    }

    public static HubException Reused() => new(
        ErrorReason.IdempotencyKeyReused, "This idempotency key was used for another request; use a new key for new work.");

    private static Value Sorted(Value value) => value.KindCase switch
    {
        Value.KindOneofCase.StructValue => Value.ForStruct(Sorted(value.StructValue)),
        Value.KindOneofCase.ListValue => Value.ForList([.. value.ListValue.Values.Select(Sorted)]),
        _ => value,
    };
}
