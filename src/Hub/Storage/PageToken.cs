using System.Buffers.Text;
using System.Text.Json;
using Hub.Contracts.V1;
using Hub.Errors;

namespace Hub.Storage;

/// <summary>An opaque token that names the last row of a page by its sort key: a number and an id, or a text and an id.</summary>
internal static class PageToken
{
    public const int SizeDefault = 100;
    public const int SizeMax = 1000;

    public static int Size(int asked) => asked switch
    {
        0 => SizeDefault,
        < 0 or > SizeMax => throw HubException.InvalidField("page_size", $"page_size is 1 to {SizeMax}, or 0 for {SizeDefault}."),
        _ => asked,
    };

    public static string Of<T>(T key, string id) =>
        Base64Url.EncodeToString(JsonSerializer.SerializeToUtf8Bytes(new object?[] { key, id }));

    /// <summary>The key and id after which the page starts, or the given start for the first page.</summary>
    public static (T Key, string Id) Read<T>(string token, T start)
        where T : notnull
    {
        if (token.Length == 0)
        {
            return (start, "");
        }

        try
        {
            using var document = JsonDocument.Parse(Base64Url.DecodeFromChars(token));
            var root = document.RootElement;
            return (root[0].Deserialize<T>() ?? throw Invalid(), root[1].GetString() ?? throw Invalid());
        }
        catch (Exception e) when (e is FormatException or JsonException or InvalidOperationException or IndexOutOfRangeException)
        {
            throw Invalid();
        }
    }

    private static HubException Invalid() =>
        new(ErrorReason.PageTokenInvalid, "The page token is not of this list; start again without one.");
}
