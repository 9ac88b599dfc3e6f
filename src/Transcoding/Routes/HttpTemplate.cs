using System.Buffers;

namespace Hub.Transcoding.Routes;

/// <summary>What one segment of a path template matches.</summary>
internal enum SegmentKind
{
    /// <summary>Exactly its text.</summary>
    Literal,

    /// <summary>Any one segment.</summary>
    Any,

    /// <summary>All remaining segments, none included.</summary>
    Rest,
}

/// <summary>One segment of a path template.</summary>
internal readonly record struct TemplateSegment(SegmentKind Kind, string Text = "");

/// <summary>A variable and the segments it spans, from <paramref name="Start"/> up to but not including <paramref name="End"/>.</summary>
internal sealed record TemplateVariable(string FieldPath, int Start, int End);

/// <summary>
/// A parsed path template of google.api.http:
/// <code>
/// Template = "/" Segments [ ":" LITERAL ]
/// Segments = Segment { "/" Segment }
/// Segment  = "*" | "**" | LITERAL | "{" FieldPath [ "=" Segments ] "}"
/// </code>
/// </summary>
internal sealed record HttpTemplate(string Text, IReadOnlyList<TemplateSegment> Segments, IReadOnlyList<TemplateVariable> Variables, string? Verb)
{
    public static HttpTemplate Parse(string text) => new Parser(text).Parse();

    private sealed class Parser(string text)
    {
        private static readonly SearchValues<char> Delimiters = SearchValues.Create("/{}*:=");

        private readonly List<TemplateSegment> _segments = [];
        private readonly List<TemplateVariable> _variables = [];
        private int _at;

        private char Current => _at < text.Length ? text[_at] : '\0';

        public HttpTemplate Parse()
        {
            Take('/');
            if (_at < text.Length)
            {
                ReadSegments(insideVariable: false);
            }

            var verb = default(string);
            if (Current == ':')
            {
                _at++;
                verb = ReadLiteral();
            }

            if (_at < text.Length)
            {
                throw Fault("unexpected character");
            }

            if (_segments.FindIndex(segment => segment.Kind == SegmentKind.Rest) is >= 0 and var rest && rest < _segments.Count - 1)
            {
                throw Fault("** must be the last segment");
            }

            return new HttpTemplate(text, _segments, _variables, verb);
        }

        private void ReadSegments(bool insideVariable)
        {
            ReadSegment(insideVariable);
            while (Current == '/')
            {
                _at++;
                ReadSegment(insideVariable);
            }
        }

        private void ReadSegment(bool insideVariable)
        {
            switch (Current)
            {
                case '*' when _at + 1 < text.Length && text[_at + 1] == '*':
                    _at += 2;
                    _segments.Add(new TemplateSegment(SegmentKind.Rest));
                    break;
                case '*':
                    _at++;
                    _segments.Add(new TemplateSegment(SegmentKind.Any));
                    break;
                case '{' when insideVariable:
                    throw Fault("a variable inside a variable");
                case '{':
                    ReadVariable();
                    break;
                default:
                    _segments.Add(new TemplateSegment(SegmentKind.Literal, ReadLiteral()));
                    break;
            }
        }

        private void ReadVariable()
        {
            Take('{');
            var end = text.AsSpan(_at).IndexOfAny('=', '}');
            if (end <= 0)
            {
                throw Fault("a variable needs a field path and a closing brace");
            }

            var path = text.Substring(_at, end);
            if (_variables.Exists(variable => variable.FieldPath == path))
            {
                throw Fault("a variable occurs twice");
            }

            _at += end;
            var start = _segments.Count;
            if (Current == '=')
            {
                _at++;
                ReadSegments(insideVariable: true);
            }
            else
            {
                _segments.Add(new TemplateSegment(SegmentKind.Any));
            }

            Take('}');
            _variables.Add(new TemplateVariable(path, start, _segments.Count));
        }

        private string ReadLiteral()
        {
            var rest = text.AsSpan(_at);
            var length = rest.IndexOfAny(Delimiters);
            length = length < 0 ? rest.Length : length;
            if (length == 0)
            {
                throw Fault("an empty segment");
            }

            _at += length;
            return rest[..length].ToString();
        }

        private void Take(char expected)
        {
            if (Current != expected)
            {
                throw Fault($"expected '{expected}'");
            }

            _at++;
        }

        private FormatException Fault(string problem) => new($"Path template \"{text}\", character {_at + 1}: {problem}.");
    }
}
