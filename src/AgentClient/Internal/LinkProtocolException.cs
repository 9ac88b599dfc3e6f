namespace Hub.AgentClient.Internal;

/// <summary>The Hub sent something the protocol does not allow. The link is closed and dialled again after a back-off.</summary>
internal sealed class LinkProtocolException(string message) : Exception(message);
