namespace Hub.Benchmarks.Runtime;

/// <summary>
/// Pairs of other makers, taken where they are installed: @grpc/grpc-js from the modules of .ci, C++ where Peers/build-cpp.sh has been run.
/// </summary>
internal static class Peers
{
    private static readonly string Folder = Path.Combine(AppContext.BaseDirectory, "Peers");

    public static IEnumerable<Peer> Available()
    {
        if (NodeModules() is { } modules)
        {
            var proto = Path.Combine(AppContext.BaseDirectory, "Runtime", "bench.proto");
            string[] Node(params string[] arguments) => ["env", $"NODE_PATH={modules}", "node", Path.Combine(Folder, "grpc-js.js"), proto, .. arguments];
            yield return new Peer("grpc-js", _ => Node("server"), (figure, port, seconds) => Node("load", figure, port, seconds));
        }
        else
        {
            Console.WriteLine("grpc-js is left out: npm ci --prefix .ci installs it.");
        }

        var cpp = Path.Combine(Path.GetTempPath(), "hub-bench-cpp", "bench");
        if (File.Exists(cpp))
        {
            yield return new Peer("C++", _ => [cpp, "server"], (figure, port, seconds) => [cpp, "load", figure, port, seconds]);
        }
        else
        {
            Console.WriteLine("C++ is left out: tests/Benchmarks/Peers/build-cpp.sh builds it.");
        }
    }

    private static string? NodeModules()
    {
        for (var folder = new DirectoryInfo(AppContext.BaseDirectory); folder is not null; folder = folder.Parent)
        {
            var modules = Path.Combine(folder.FullName, ".ci", "node_modules");
            if (Directory.Exists(Path.Combine(modules, "@grpc", "grpc-js")))
            {
                return modules;
            }
        }

        return null;
    }
}
