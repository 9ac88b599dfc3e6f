using System.Buffers.Text;
using System.Security.Cryptography;
using Google.Protobuf;
using Grpc.Core;
using Hub.Transcoding.Errors;
using Hub.Transcoding.Routes;
using Microsoft.AspNetCore.Http;
using Microsoft.Net.Http.Headers;

namespace Hub.Transcoding.Calls;

/// <summary>A resource's version in HTTP's words: ETag, If-None-Match, If-Match. The option rest.version names the fields.</summary>
/// <param name="answerField">Response field that is the version; null where answers show none.</param>
/// <param name="matchField">Request field that takes If-Match; null where the method makes no use of it.</param>
/// <param name="textOf">How a field's value is written as text.</param>
internal sealed class EntityVersion(FieldPath? answerField, FieldPath? matchField, Func<FieldPath?, IMessage, string> textOf)
{
    private const string Unset = "0";

    /// <summary>Bytes of the hash that tell two contents of one address apart.</summary>
    private const int ContentTagBytes = 16;

    /// <summary>Fills the request field from If-Match. Our tags say nothing about bytes, so a W/ that a proxy put in front is no harm.</summary>
    public void BindIfMatch(HttpContext http, IMessage request)
    {
        if (matchField is null || http.Request.Headers.IfMatch.Count == 0)
        {
            return;
        }

        if (http.Request.GetTypedHeaders().IfMatch is not [var tag])
        {
            throw new BadHttpRequestException("header If-Match: expected one entity tag");
        }

        // Any version will do for "*", and a method that finds none refuses anyway.
        if (!tag.Equals(EntityTagHeaderValue.Any))
        {
            matchField.ReadText(Uri.UnescapeDataString(tag.Tag.AsSpan().Trim('"')), request);
        }
    }

    /// <summary>Sets the answer's ETag.</summary>
    /// <returns>True if the client has this very version, so that 304 is the answer.</returns>
    public bool SetETag(HttpContext http, IMessage answer)
    {
        if (textOf(answerField, answer) is not { Length: > 0 } version || version == Unset)
        {
            return false;
        }

        // What an entity tag cannot hold is escaped, so that every text can be a version.
        return SetTag(http, Uri.EscapeDataString(version));
    }

    /// <summary>Sets the ETag of an answer that names no version, such as a list: its very bytes are the version. A method's own tag stays.</summary>
    /// <returns>True if the client has these very bytes, so that 304 is the answer.</returns>
    public static bool SetETagOf(HttpContext http, ReadOnlySpan<byte> body) =>
        IsRead(http) && http.Response.Headers.ETag.Count == 0 && SetTag(http, Base64Url.EncodeToString(SHA256.HashData(body).AsSpan(0, ContentTagBytes)));

    /// <summary>Whether an error says that If-Match did not hold: ABORTED, unless its reason has a status of its own.</summary>
    public bool IsRefusal(HttpContext http, RestError error) =>
        matchField is not null && error is { Code: StatusCode.Aborted, Reason: null } && http.Request.Headers.IfMatch.Count > 0;

    private static bool SetTag(HttpContext http, string text)
    {
        var tag = new EntityTagHeaderValue($"\"{text}\"");
        http.Response.Headers.ETag = tag.ToString();
        return IsRead(http) && http.Request.Headers.IfNoneMatch.Count > 0
            && http.Request.GetTypedHeaders().IfNoneMatch.Any(
                known => known.Equals(EntityTagHeaderValue.Any) || known.Compare(tag, useStrongComparison: false));
    }

    private static bool IsRead(HttpContext http) => HttpMethods.IsGet(http.Request.Method) || HttpMethods.IsHead(http.Request.Method);
}
