using System.Text;

namespace Hub.AgentClient.Node;

/// <summary>A file of lines, each on the disk before the call returns: what a test reads after the process was killed is what happened.</summary>
internal sealed class DurableLines(string path) : IDisposable
{
    private readonly Lock _gate = new();
    private readonly FileStream _file = new(path, FileMode.Append, FileAccess.Write, FileShare.ReadWrite);

    public void Append(string line)
    {
        lock (_gate)
        {
            _file.Write(Encoding.UTF8.GetBytes(line + "\n"));
            _file.Flush(flushToDisk: true);
        }
    }

    public void Dispose() => _file.Dispose();
}
