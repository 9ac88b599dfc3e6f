using Hub.Storage;
using Hub.TestKit;

namespace Hub.IntegrationTests.Storage;

public sealed class SqliteConstraintTests(SqliteStoreFixture fixture) : ConstraintTests(fixture), IClassFixture<SqliteStoreFixture>
{
    protected override string ForeignKey(string name) => ""; // SQLite does not say which one.
}

public sealed class PostgresConstraintTests(PostgresStoreFixture fixture) : ConstraintTests(fixture), IClassFixture<PostgresStoreFixture>
{
    protected override string ForeignKey(string name) => name;
}

public abstract class ConstraintTests(StoreFixture fixture)
{
    private static readonly Migration Shapes = new(2, "shapes", """
        create table shapes (
            a text not null, b text not null, c text unique, d text, e text not null,
            primary key (a, b),
            constraint "shapes_named" unique (d, e));
        create unique index shapes_lower on shapes (lower(e));
        create unique index shapes_partial on shapes (b) where e = 'x';
        insert into shapes values ('a', 'b', 'c', 'd', 'x');
        """);

    public static TheoryData<string, string, string> Violations => new()
    {
        { "('a', 'b', 'c2', 'd2', 'e2')", "shapes_pkey", nameof(ConstraintKind.Unique) },
        { "('a2', 'b2', 'c', 'd2', 'e2')", "shapes_c_key", nameof(ConstraintKind.Unique) },
        { "('a2', 'b', 'c2', 'd2', 'X')", "shapes_lower", nameof(ConstraintKind.Unique) },
        { "('a2', 'b2', 'c2', 'd2', null)", "shapes.e", nameof(ConstraintKind.NotNull) },
    };

    [Theory]
    [MemberData(nameof(Violations))]
    public async Task Violation_OfAShape_NamesTheConstraint(string values, string constraint, string kind)
    {
        await using var store = await fixture.OpenTestStoreAsync(options => options with { Migrations = [TestSchema.First, Shapes] });

        await ViolatesAsync(store, $"insert into shapes values {values}", constraint, Enum.Parse<ConstraintKind>(kind));
    }

    [Theory]
    [InlineData("('n2', 'team-a', 'n1', 1, false, null, null)", "notes_body", nameof(ConstraintKind.Unique))]
    [InlineData("('n2', 'team-a', 'n2', 0, true, null, null)", "notes_pinned", nameof(ConstraintKind.Unique))]
    [InlineData("('n1', 'team-a', 'n2', 1, false, null, null)", "notes_pkey", nameof(ConstraintKind.Unique))]
    [InlineData("('n2', 'team-a', 'n2', -1, false, null, null)", "notes_size", nameof(ConstraintKind.Check))]
    public async Task Violation_OfANote_NamesTheConstraint(string values, string constraint, string kind)
    {
        await using var store = await NotesAsync();

        await ViolatesAsync(store, Insert(values), constraint, Enum.Parse<ConstraintKind>(kind));
    }

    [Theory]
    [InlineData("('n2', 'team-a', 'n2', 1, false, 'nobody', null)", "notes_parent")]
    [InlineData("('n2', 'team-a', 'n2', 1, false, null, 'nobody')", "notes_late_parent")]
    public async Task Violation_OfAForeignKey_IsOneAtOnceAndAtTheCommit(string values, string constraint)
    {
        await using var store = await NotesAsync();

        await ViolatesAsync(store, Insert(values), ForeignKey(constraint), ConstraintKind.ForeignKey);
    }

    protected abstract string ForeignKey(string name);

    private static string Insert(string values) =>
        $"insert into notes(note_id, team_id, body, size, pinned, parent_id, late_parent_id) values {values}";

    private static async Task ViolatesAsync(Store store, string sql, string constraint, ConstraintKind kind)
    {
        var violation = await Assert.ThrowsAsync<ConstraintException>(
            () => store.WriteAsync(TestSchema.Team, transaction => transaction.Execute(sql)).Within());
        Assert.Equal((constraint, kind), (violation.Constraint, violation.Kind));
    }

    private async Task<Store> NotesAsync()
    {
        var store = await fixture.OpenTestStoreAsync();
        await store.WriteAsync(TestSchema.Team, transaction => transaction.Execute(Insert("('n1', 'team-a', 'n1', 0, true, null, null)"))).Within();
        return store;
    }
}
