namespace Hub.AgentClient;

/// <summary>The outbox holds as many unacknowledged rows as it may; nothing was added.</summary>
/// <param name="message">What is full, and the bound.</param>
public sealed class OutboxFullException(string message) : InvalidOperationException(message);
