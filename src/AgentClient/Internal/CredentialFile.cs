namespace Hub.AgentClient.Internal;

/// <summary>The host credential on disk, readable by its owner only.</summary>
internal sealed class CredentialFile(string path)
{
    // Longest credential worth reading; anything larger is another file.
    private const int CharsMax = 4_096;

    public string? Read()
    {
        if (!File.Exists(path) || new FileInfo(path).Length > CharsMax)
        {
            return null;
        }

        var token = File.ReadAllText(path).Trim();
        return token.Length == 0 ? null : token;
    }

    /// <summary>Replaces the credential. It is on the disk when this returns: the Hub ends the old one once it was told so.</summary>
    public void Write(string token)
    {
        var next = path + ".new";
        File.Delete(next);
        var options = new FileStreamOptions { Mode = FileMode.CreateNew, Access = FileAccess.Write };
        if (!OperatingSystem.IsWindows())
        {
            options.UnixCreateMode = UnixFileMode.UserRead | UnixFileMode.UserWrite;
        }

        using (var file = new FileStream(next, options))
        {
            file.Write(System.Text.Encoding.UTF8.GetBytes(token));
            file.Flush(flushToDisk: true);
        }

        File.Move(next, path, overwrite: true);
    }
}
