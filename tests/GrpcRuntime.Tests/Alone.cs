namespace Hub.GrpcRuntime.Tests;

/// <summary>Tests that measure the process run one by one, after all others.</summary>
[CollectionDefinition(DisableParallelization = true)]
public sealed class Alone;
