using System.Globalization;
using System.Text.RegularExpressions;

namespace Hub.Storage;

/// <summary>
/// One step of the schema; numbers are 1, 2, 3 … without a gap. <paramref name="Sql"/> is shared by the engines, <c>{blob}</c> in it stands
/// for the type of opaque bytes; what one engine has more runs right after it, in the same transaction.
/// </summary>
internal sealed partial record Migration(int Number, string Name, string Sql, string? PostgresSql = null, string? SqliteSql = null)
{
    /// <summary>Those of this assembly: <c>Migrations/NNNN_name.sql</c> with extras in <c>Migrations/postgres</c> and <c>Migrations/sqlite</c> under the same names.</summary>
    public static IReadOnlyList<Migration> Embedded()
    {
        var shared = new SortedDictionary<int, Migration>();
        var extras = new Dictionary<(string Engine, int Number), string>();
        var assembly = typeof(Migration).Assembly;
        foreach (var resource in assembly.GetManifestResourceNames())
        {
            var match = ResourceName().Match(resource);
            if (!match.Success)
            {
                continue;
            }
            using var text = new StreamReader(assembly.GetManifestResourceStream(resource)!);
            var number = int.Parse(match.Groups["number"].Value, CultureInfo.InvariantCulture);
            var added = match.Groups["engine"] is { Success: true, Value: var engine }
                ? extras.TryAdd((engine, number), text.ReadToEnd())
                : shared.TryAdd(number, new Migration(number, match.Groups["name"].Value, text.ReadToEnd()));
            if (!added)
            {
                throw new StoreRefusedException(StoreRefusal.BadMigrations, $"Two migrations have the number {number}.");
            }
        }
        if (extras.Keys.Where(extra => !shared.ContainsKey(extra.Number)).Select(extra => $"{extra.Engine}/{extra.Number}").FirstOrDefault() is { } orphan)
        {
            throw new StoreRefusedException(StoreRefusal.BadMigrations, $"The migration {orphan} has no shared file of that number.");
        }
        return [.. shared.Values.Select(m => m with
        {
            PostgresSql = extras.GetValueOrDefault(("postgres", m.Number)),
            SqliteSql = extras.GetValueOrDefault(("sqlite", m.Number)),
        })];
    }

    [GeneratedRegex(@"^Migrations/((?<engine>postgres|sqlite)/)?(?<number>\d{4})_(?<name>\w+)\.sql$", RegexOptions.CultureInvariant)]
    private static partial Regex ResourceName();
}
