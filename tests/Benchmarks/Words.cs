using System.Globalization;
using System.Numerics;

namespace Hub.Benchmarks;

/// <summary>Options on a command line, each a name and a value.</summary>
internal sealed class Words(string[] words)
{
    public string? Text(string name) => Array.IndexOf(words, name) is >= 0 and var at && at + 1 < words.Length ? words[at + 1] : null;

    public T Number<T>(string name, T otherwise)
        where T : INumber<T> => Text(name) is { } text ? T.Parse(text, CultureInfo.InvariantCulture) : otherwise;
}
