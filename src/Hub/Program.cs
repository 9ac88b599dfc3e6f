using Hub.Cli;

return await HubCommandLine.RunAsync(args);
