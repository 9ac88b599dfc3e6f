using System.Buffers;
using System.Collections;
using System.Collections.Concurrent;
using Google.Protobuf;
using Google.Protobuf.Reflection;

namespace Hub.Text;

/// <summary>
/// Makes every text of a message storable on both engines: U+0000 becomes U+2400 and a lone surrogate U+FFFD (stream-protocol.md §3). A
/// node that got an error for such a text would send it again for ever. REST bodies are cleaned by the transcoder as they are read.
/// </summary>
internal static class CleanText
{
    private const char Nul = '\0';
    private const char NulPicture = '\u2400';
    private const char Replacement = '\uFFFD';

    private static readonly SearchValues<char> Suspects = SearchValues.Create(
        [Nul, .. Enumerable.Range(0xD800, 0x800).Select(c => (char)c)]);

    // By the message's type; only those whose values may hold text.
    private static readonly ConcurrentDictionary<MessageDescriptor, FieldDescriptor[]> TextFields = new();

    /// <summary>The message itself if it is clean, else a clean copy.</summary>
    public static T Of<T>(T message)
        where T : class, IMessage<T>
    {
        if (IsClean(message))
        {
            return message;
        }

        var copy = message.Clone();
        Clean(copy);
        return copy;
    }

    public static string Of(string text) => IsClean(text) ? text : Cleaned(text);

    private static bool IsClean(string text)
    {
        var first = text.AsSpan().IndexOfAny(Suspects);
        if (first < 0)
        {
            return true;
        }

        for (var i = first; i < text.Length; i++)
        {
            var c = text[i];
            if (c == Nul)
            {
                return false;
            }

            if (char.IsSurrogate(c))
            {
                if (!char.IsHighSurrogate(c) || i + 1 >= text.Length || !char.IsLowSurrogate(text[i + 1]))
                {
                    return false;
                }

                i++;
            }
        }

        return true;
    }

    private static string Cleaned(string text) => string.Create(text.Length, text, static (span, source) =>
    {
        for (var i = 0; i < source.Length; i++)
        {
            var c = source[i];
            if (char.IsHighSurrogate(c) && i + 1 < source.Length && char.IsLowSurrogate(source[i + 1]))
            {
                span[i] = c;
                span[++i] = source[i];
                continue;
            }

            span[i] = c == Nul ? NulPicture : char.IsSurrogate(c) ? Replacement : c;
        }
    });

    private static FieldDescriptor[] TextFieldsOf(MessageDescriptor type) => TextFields.GetOrAdd(
        type,
        static type => [.. type.Fields.InFieldNumberOrder().Where(field => field.FieldType is FieldType.String or FieldType.Message)]);

    private static bool IsClean(IMessage message)
    {
        foreach (var field in TextFieldsOf(message.Descriptor))
        {
            var clean = field.Accessor.GetValue(message) switch
            {
                string text => IsClean(text),
                IMessage inner => IsClean(inner),
                IDictionary map => EntriesOf(map).TrueForAll(pair => IsCleanItem(pair.Key) && IsCleanItem(pair.Value)),
                IList list => list.Cast<object>().All(IsCleanItem),
                _ => true,
            };
            if (!clean)
            {
                return false;
            }
        }

        return true;
    }

    /// <summary>A copy; the map's own generic enumerator would give pairs of a type not known here.</summary>
    private static List<DictionaryEntry> EntriesOf(IDictionary map)
    {
        var entries = new List<DictionaryEntry>(map.Count);
        for (var enumerator = map.GetEnumerator(); enumerator.MoveNext();)
        {
            entries.Add(enumerator.Entry);
        }

        return entries;
    }

    private static bool IsCleanItem(object? item) => item switch
    {
        string text => IsClean(text),
        IMessage inner => IsClean(inner),
        _ => true,
    };

    private static void Clean(IMessage message)
    {
        foreach (var field in TextFieldsOf(message.Descriptor))
        {
            switch (field.Accessor.GetValue(message))
            {
                case string text when !IsClean(text):
                    field.Accessor.SetValue(message, Cleaned(text));
                    break;
                case IMessage inner:
                    Clean(inner);
                    break;
                case IDictionary map:
                    foreach (var (key, value) in EntriesOf(map))
                    {
                        var cleanValue = CleanItem(value);
                        if (key is string name && !IsClean(name))
                        {
                            map.Remove(name);
                            map[Cleaned(name)] = cleanValue;
                        }
                        else if (!ReferenceEquals(cleanValue, value))
                        {
                            map[key] = cleanValue;
                        }
                    }

                    break;
                case IList list:
                    for (var i = 0; i < list.Count; i++)
                    {
                        if (CleanItem(list[i]) is var item && !ReferenceEquals(item, list[i]))
                        {
                            list[i] = item;
                        }
                    }

                    break;
            }
        }
    }

    private static object? CleanItem(object? item)
    {
        switch (item)
        {
            case string text:
                return Of(text);
            case IMessage inner:
                Clean(inner);
                return inner;
            default:
                return item;
        }
    }
}
