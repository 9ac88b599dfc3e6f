using Grpc.AspNetCore.Server;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Connections;
using Microsoft.Extensions.DependencyInjection;

namespace Hub.GrpcRuntime.Tests;

public sealed class TransportMemoryTests
{
    [Fact]
    public async Task AddGrpc_OfAServer_GivesItsTransportsLargeBlocks()
    {
        var builder = WebApplication.CreateSlimBuilder();
        builder.Services.AddGrpc();
        await using var app = builder.Build();

        using var block = app.Services.GetRequiredService<IMemoryPoolFactory<byte>>().Create().Rent();

        Assert.True(block.Memory.Length >= TransportMemory.BlockBytes, $"{block.Memory.Length} bytes");
    }

    [Theory]
    [InlineData(-1)]
    [InlineData(0)]
    [InlineData(1)]
    [InlineData(TransportMemory.BlockBytes + 1)]
    public void Rent_AnySize_HasAtLeastThat(int bytes)
    {
        using var pool = new TransportMemory();

        using var block = pool.Rent(bytes);

        Assert.True(block.Memory.Length >= Math.Max(bytes, TransportMemory.BlockBytes), $"{block.Memory.Length} bytes");
    }

    [Fact]
    public void Dispose_OfABlock_TakesItsMemoryAway()
    {
        using var pool = new TransportMemory();
        var block = pool.Rent();

        block.Dispose();
        block.Dispose(); // Given back once, or two others would get the same array.

        Assert.Throws<ObjectDisposedException>(() => block.Memory);
        using var one = pool.Rent();
        using var other = pool.Rent();
        Assert.False(one.Memory.Equals(other.Memory));
    }

    [Fact]
    public void Rent_AfterMoreWereInUseThanAreKept_ReusesAsManyAsAreKept()
    {
        using var pool = new TransportMemory();
        var blocks = Enumerable.Range(0, TransportMemory.BlocksKeptMax + 1).Select(_ => pool.Rent()).ToArray();
        var arrays = blocks.Select(block => block.Memory).ToHashSet();
        Array.ForEach(blocks, block => block.Dispose());

        var again = Enumerable.Range(0, TransportMemory.BlocksKeptMax + 1).Select(_ => pool.Rent()).ToArray();

        Assert.Equal(TransportMemory.BlocksKeptMax, again.Count(block => arrays.Contains(block.Memory)));
    }
}
