namespace Hub.AgentClient.Internal;

/// <summary>Who the node is to the Hub: its credential, and the host id the Hub told it. Read and replaced from several loops.</summary>
internal sealed class NodeIdentity(CredentialFile file, string? given)
{
    // The file goes before what was given: the Hub may have replaced that since.
    private volatile string? credential = file.Read() ?? given;
    private volatile string? hostId;

    public string? Credential => credential;

    public string? HostId => hostId;

    /// <summary>Takes a new credential, which is on the disk when this returns.</summary>
    public void Replace(string token)
    {
        file.Write(token);
        credential = token;
    }

    public void Learn(string id)
    {
        if (id.Length > 0)
        {
            hostId = id;
        }
    }
}
