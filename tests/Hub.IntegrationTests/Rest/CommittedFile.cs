using Hub.GrpcRuntime.Tests;

namespace Hub.IntegrationTests.Rest;

/// <summary>A generated file of the repository that must say what the code says.</summary>
internal static class CommittedFile
{
    private const string UpdateVariable = "UPDATE_FILES";

    /// <summary>Compares, or writes the file anew where UPDATE_FILES=1 asks for it.</summary>
    public static void AssertCurrent(string path, string content)
    {
        var file = Path.Combine(NodeTools.RepositoryRoot, path);
        if (Environment.GetEnvironmentVariable(UpdateVariable) == "1")
        {
            File.WriteAllText(file, content);
        }

        var committed = File.Exists(file) ? File.ReadAllText(file) : "";
        Assert.True(committed == content, $"{path} is out of date: run this test with {UpdateVariable}=1 and commit the file.");
    }
}
