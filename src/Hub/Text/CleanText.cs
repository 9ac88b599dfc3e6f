using System.Collections;
using System.Collections.Concurrent;
using Google.Protobuf;
using Google.Protobuf.Reflection;
using Hub.Transcoding.Json;

namespace Hub.Text;

/// <summary>
/// Makes every text of a message storable on both engines: U+0000 becomes U+2400 and a lone surrogate U+FFFD (stream-protocol.md §3). A
/// node that got an error for such a text would send it again for ever. REST bodies are cleaned by the transcoder as they are read.
/// </summary>
internal static class CleanText
{
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

    public static string Of(string text) => TextCleaner.Clean(text);

    private static FieldDescriptor[] TextFieldsOf(MessageDescriptor type) => TextFields.GetOrAdd(
        type,
        static type => [.. type.Fields.InFieldNumberOrder().Where(field => field.FieldType is FieldType.String or FieldType.Message)]);

    private static bool IsClean(IMessage message)
    {
        foreach (var field in TextFieldsOf(message.Descriptor))
        {
            var clean = field.Accessor.GetValue(message) switch
            {
                string text => TextCleaner.IsClean(text),
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
        string text => TextCleaner.IsClean(text),
        IMessage inner => IsClean(inner),
        _ => true,
    };

    private static void Clean(IMessage message)
    {
        foreach (var field in TextFieldsOf(message.Descriptor))
        {
            switch (field.Accessor.GetValue(message))
            {
                case string text when !TextCleaner.IsClean(text):
                    field.Accessor.SetValue(message, TextCleaner.Clean(text));
                    break;
                case IMessage inner:
                    Clean(inner);
                    break;
                case IDictionary map:
                    foreach (var (key, value) in EntriesOf(map))
                    {
                        var cleanValue = CleanItem(value);
                        if (key is string name && !TextCleaner.IsClean(name))
                        {
                            map.Remove(name);
                            map[TextCleaner.Clean(name)] = cleanValue;
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
