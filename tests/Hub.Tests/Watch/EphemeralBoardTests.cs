using Google.Protobuf.WellKnownTypes;
using Hub.Contracts.V1;
using Hub.TestKit;
using Hub.Watch;

namespace Hub.Tests.Watch;

public sealed class EphemeralBoardTests
{
    private const string Team = "team";
    private const string Host = "host";
    private const string Kind = "kind";

    private readonly ManualTimeProvider _time = new();
    private readonly EphemeralBoard _board;

    public EphemeralBoardTests() => _board = new EphemeralBoard(_time);

    [Fact]
    public void Set_OneKeyMoreThanATeamMayHave_ReachesOnlyThoseWhoWatchNow()
    {
        Fill(EphemeralBoard.KeysMax);
        using var watch = _board.Watch(Team);
        watch.Take(_time.GetUtcNow());

        Set("one more");

        Assert.Equal("one more", Assert.Single(watch.Take(_time.GetUtcNow())).EntityId);
        Assert.DoesNotContain("one more", Keys());
        Assert.Equal(EphemeralBoard.KeysMax, Keys().Count);
    }

    [Fact]
    public void Set_WhenKeysHaveRunOut_TheyMakeRoom()
    {
        Fill(EphemeralBoard.KeysMax);
        _time.Advance(EphemeralBoard.LifetimeMax);

        Set("one more");

        Assert.Equal(["one more"], Keys());
    }

    [Fact]
    public void Set_MoreBytesThanATeamMayHave_IsNotRemembered()
    {
        var large = new string('x', EphemeralBoard.BytesMax / 4);
        for (var i = 0; i < 4; i++)
        {
            Set($"{i}", large); // Each with its key is a little more than a quarter.
        }

        Assert.Equal(["0", "1", "2"], Keys());
    }

    [Theory]
    [InlineData(EphemeralBoard.KindLengthMax, EphemeralBoard.KeyLengthMax, 1)]
    [InlineData(EphemeralBoard.KindLengthMax + 1, EphemeralBoard.KeyLengthMax, 0)]
    [InlineData(EphemeralBoard.KindLengthMax, EphemeralBoard.KeyLengthMax + 1, 0)]
    public void Set_KindOrKeyTooLong_IsDropped(int kindLength, int keyLength, int remembered)
    {
        var kind = new string('k', kindLength);
        _board.Set(Team, Host, new Ephemeral { Kind = kind, Key = new string('k', keyLength), Value = Value.ForBool(true) });

        Assert.Equal(remembered, _board.Read(Team, Host, kind).Count);
    }

    [Fact]
    public void Set_LongerThanAValueMayLive_EndsAtTheBound()
    {
        Set("key", ttl: EphemeralBoard.LifetimeMax * 2);

        _time.Advance(EphemeralBoard.LifetimeMax - TimeSpan.FromSeconds(1));
        var before = Keys();
        _time.Advance(TimeSpan.FromSeconds(1));

        Assert.Equal(["key"], before);
        Assert.Empty(Keys());
    }

    [Fact]
    public void Watch_ThatIsNotRead_HoldsAsManyKeysAsATeamMayHave()
    {
        using var watch = _board.Watch(Team);
        Fill(EphemeralBoard.KeysMax + 1);

        Assert.Equal(EphemeralBoard.KeysMax, watch.Take(_time.GetUtcNow()).Count);
    }

    private void Fill(int keys)
    {
        for (var i = 0; i < keys; i++)
        {
            Set($"{i}");
        }
    }

    private void Set(string key, string value = "", TimeSpan? ttl = null) => _board.Set(
        Team,
        Host,
        new Ephemeral { Kind = Kind, Key = key, Value = Value.ForString(value), Ttl = ttl is { } span ? Duration.FromTimeSpan(span) : null });

    private List<string> Keys() => [.. _board.Read(Team, Host, Kind).Select(entry => entry.Key)];
}
