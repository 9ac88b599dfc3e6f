namespace Hub.AgentClient.Internal;

/// <summary>Text within the protocol's bounds.</summary>
internal static class Text
{
    /// <summary>At most <paramref name="charsMax"/> UTF-16 units, without cutting a pair in two.</summary>
    public static string Cut(string text, int charsMax)
    {
        if (text.Length <= charsMax)
        {
            return text;
        }

        return text[..(char.IsHighSurrogate(text[charsMax - 1]) ? charsMax - 1 : charsMax)];
    }
}
