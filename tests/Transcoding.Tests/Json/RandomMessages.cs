using Google.Protobuf;
using Google.Protobuf.Reflection;
using Google.Protobuf.WellKnownTypes;
using Enum = System.Enum;

namespace Hub.Transcoding.Tests.Json;

/// <summary>Fills messages of any type with seeded random content that has a JSON form.</summary>
internal sealed class RandomMessages(int seed)
{
    private const int DepthMax = 4;
    private static readonly string[] Texts = ["", "a", "plain text", "quo\"te\\slash/", "tab\tnew\nline", "žluťoučký кот 猫", "😀 pair", "<b>&'", "\u2028\u007f\u0001"];
    private readonly Random _random = new(seed);

    public T Next<T>()
        where T : IMessage, new()
    {
        var message = new T();
        Fill(message, 0);
        return message;
    }

    private void Fill(IMessage message, int depth)
    {
        switch (message)
        {
            case Timestamp time:
                time.Seconds = _random.NextInt64(-62135596800, 253402300800);
                time.Nanos = Nanos();
                return;
            case Duration span:
                var sign = _random.Next(2) == 0 ? -1 : 1;
                span.Seconds = sign * _random.NextInt64(0, 315_576_000_000);
                span.Nanos = sign * Nanos();
                return;
            case FieldMask mask:
                mask.Paths.AddRange(Enumerable.Range(0, _random.Next(4)).Select(i => $"field_{(char)('a' + i)}.sub_path"));
                return;
            case Value value:
                FillValue(value, depth);
                return;
            case Any any:
                any.MergeFrom(Any.Pack(depth < DepthMax && _random.Next(2) == 0 ? new Protos.Inner { InnerText = Text(), InnerNumber = _random.Next() } : new Duration { Seconds = 5 }));
                return;
        }

        foreach (var field in message.Descriptor.Fields.InDeclarationOrder())
        {
            if (_random.Next(3) == 0 || (field.FieldType == FieldType.Message && depth >= DepthMax))
            {
                continue;
            }

            if (field.IsMap)
            {
                var map = (System.Collections.IDictionary)field.Accessor.GetValue(message);
                var value = field.MessageType.FindFieldByNumber(2);
                for (var i = _random.Next(4); i > 0; i--)
                {
                    var key = Scalar(field.MessageType.FindFieldByNumber(1), depth);
                    // Google's formatter refuses empty keys in Struct, which JSON and ours allow.
                    map["".Equals(key) ? "key" : key] = Scalar(value, depth);
                }
            }
            else if (field.IsRepeated)
            {
                var list = (System.Collections.IList)field.Accessor.GetValue(message);
                for (var i = _random.Next(4); i > 0; i--)
                {
                    list.Add(Scalar(field, depth));
                }
            }
            else
            {
                field.Accessor.SetValue(message, Scalar(field, depth));
            }
        }
    }

    private object Scalar(FieldDescriptor field, int depth)
    {
        switch (field.FieldType)
        {
            case FieldType.Bool:
                return _random.Next(2) == 0;
            case FieldType.Int32 or FieldType.SInt32 or FieldType.SFixed32:
                return _random.Next(3) == 0 ? int.MinValue : _random.Next();
            case FieldType.Int64 or FieldType.SInt64 or FieldType.SFixed64:
                return _random.Next(3) == 0 ? long.MinValue : _random.NextInt64();
            case FieldType.UInt32 or FieldType.Fixed32:
                return _random.Next(3) == 0 ? uint.MaxValue : (uint)_random.Next();
            case FieldType.UInt64 or FieldType.Fixed64:
                return _random.Next(3) == 0 ? ulong.MaxValue : (ulong)_random.NextInt64();
            case FieldType.Double:
                return Double();
            case FieldType.Float:
                return _random.Next(6) switch { 0 => float.NaN, 1 => float.PositiveInfinity, 2 => float.MaxValue, 3 => 0f, _ => (float)_random.NextDouble() };
            case FieldType.String:
                return Text();
            case FieldType.Bytes:
                var bytes = new byte[_random.Next(12)];
                _random.NextBytes(bytes);
                return ByteString.CopyFrom(bytes);
            case FieldType.Enum:
                var values = field.EnumType.Values;
                return Enum.ToObject(field.EnumType.ClrType, field.EnumType.FullName != "google.protobuf.NullValue" && _random.Next(5) == 0
                    ? 77 : values[_random.Next(values.Count)].Number);
            default:
                var message = (IMessage)Activator.CreateInstance(field.MessageType.ClrType)!;
                Fill(message, depth + 1);
                // A wrapper's value takes the wrapper's place in generated code.
                return field.MessageType.File == WrappersReflection.Descriptor
                    ? field.MessageType.FindFieldByNumber(1).Accessor.GetValue(message)
                    : message;
        }
    }

    private void FillValue(Value value, int depth)
    {
        switch (_random.Next(depth < DepthMax ? 6 : 4))
        {
            case 0:
                value.NullValue = NullValue.NullValue;
                break;
            case 1:
                value.BoolValue = true;
                break;
            case 2:
                value.NumberValue = _random.Next(2) == 0 ? _random.Next() : _random.NextDouble() * 1e30;
                break;
            case 3:
                value.StringValue = Text();
                break;
            case 4:
                value.ListValue = new ListValue();
                Fill(value.ListValue, depth + 1);
                break;
            default:
                value.StructValue = new Struct();
                Fill(value.StructValue, depth + 1);
                break;
        }
    }

    private double Double() => _random.Next(7) switch
    {
        0 => double.NaN,
        1 => double.NegativeInfinity,
        2 => double.MaxValue,
        3 => double.Epsilon,
        4 => _random.Next(),
        _ => _random.NextDouble() * 1e10,
    };

    private int Nanos() => _random.Next(4) switch { 0 => 0, 1 => _random.Next(1000) * 1_000_000, 2 => _random.Next(1_000_000) * 1_000, _ => _random.Next(1_000_000_000) };

    private string Text() => Texts[_random.Next(Texts.Length)];
}
