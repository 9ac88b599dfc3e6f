namespace Hub.Hosting;

/// <summary>The address of the Hub as written into texts: the one that was set, never one that a caller names in its Host header.</summary>
internal sealed class PublicAddress(HubSettings settings, ListenerPorts ports)
{
    /// <summary>Without a slash at its end.</summary>
    public string Url => (settings.PublicUrl ?? ports.Http()).AbsoluteUri.TrimEnd('/');
}
