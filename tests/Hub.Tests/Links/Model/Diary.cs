namespace Hub.Tests.Links.Model;

/// <summary>What a life did, so that a broken promise is shown with the steps that led to it.</summary>
internal sealed class Diary
{
    private const int LinesMax = 60;

    // Two people may act at once.
    private readonly Lock _gate = new();
    private readonly Queue<string> _lines = new();

    public int Step { get; set; }

    public void Note(string line)
    {
        lock (_gate)
        {
            _lines.Enqueue($"{Step,4} {line}");
            if (_lines.Count > LinesMax)
            {
                _lines.Dequeue();
            }
        }
    }

    public override string ToString() => string.Join('\n', _lines);
}

/// <summary>The oracle saw what must never be.</summary>
internal sealed class PromiseBrokenException(string promise) : Exception(promise)
{
    public static void Unless(bool kept, string promise)
    {
        if (!kept)
        {
            throw new PromiseBrokenException(promise);
        }
    }
}
