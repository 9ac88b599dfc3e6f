using Hub.AgentClient.Internal;
using Hub.Contracts.V1;
using Microsoft.Data.Sqlite;

namespace Hub.AgentClient.Tests;

public sealed class OutboxTests : IDisposable
{
    private readonly TemporaryDirectory _directory = new();

    public void Dispose() => _directory.Dispose();

    [Fact]
    public void Outbox_Full_TakesNothingUntilThereIsRoom()
    {
        var file = _directory.File("journal.db");
        Journal.Open(file).Dispose();
        Fill(file);

        using var journal = Journal.Open(file);
        Assert.Throws<OutboxFullException>(journal.EnsureOutboxRoom);
        journal.Write(() =>
        {
            journal.Withdraw(Lane.Chat, "message-1");
            return true;
        });
        journal.EnsureOutboxRoom();
    }

    private static void Fill(string file)
    {
        using var connection = new SqliteConnection($"Data Source={file};Pooling=False");
        connection.Open();
        using var fill = connection.CreateCommand();
        fill.CommandText = """
            insert into outbox(lane, record_key, entry)
            with recursive n(i) as (select 1 union all select i + 1 from n where i < $rows) select $lane, 'message-' || i, x'' from n
            """;
        fill.Parameters.AddWithValue("$rows", Journal.OutboxRowsMax);
        fill.Parameters.AddWithValue("$lane", (int)Lane.Chat);
        fill.ExecuteNonQuery();
    }
}
