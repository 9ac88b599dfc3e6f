namespace Hub.AgentClient.Internal;

/// <summary>Who the node is to the Hub: its credential, and the host id the Hub told it. Read and replaced from several loops.</summary>
internal sealed class NodeIdentity(CredentialFile file, string? given)
{
    // The file goes before what was given: the Hub may have replaced that since.
    private volatile string? _credential = file.Read() ?? given;
    private volatile string? _hostId;

    public string? Credential => _credential;

    public string? HostId => _hostId;

    /// <summary>Takes a new credential, which is on the disk when this returns.</summary>
    public void Replace(string token)
    {
        file.Write(token);
        _credential = token;
    }

    public void Learn(string id)
    {
        if (id.Length > 0)
        {
            _hostId = id;
        }
    }
}
