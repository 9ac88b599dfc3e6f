namespace Hub.AgentClient;

/// <summary>The journal could not be written, as when the disk is full; nothing of the step was stored.</summary>
/// <param name="message">What went wrong.</param>
/// <param name="inner">The database's own error.</param>
public sealed class JournalException(string message, Exception inner) : IOException(message, inner);
