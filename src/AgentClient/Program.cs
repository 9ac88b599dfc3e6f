using Hub.AgentClient.Node;

return await NodeCommandLine.Build().Parse(args).InvokeAsync(NodeCommandLine.Invocation);
