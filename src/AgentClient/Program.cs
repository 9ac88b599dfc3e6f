Console.WriteLine("agent-client");
