using Hub.Errors;
using Hub.Hosting;
using Hub.Identity;
using Microsoft.Extensions.Configuration;

namespace Hub.Tests.Identity;

public sealed class SecretBoxTests
{
    [Fact]
    public void Open_WhatWasSealed_IsTheText()
    {
        var box = Box(1);

        Assert.Equal("väl\u00fce", box.Open("a", box.Seal("a", "väl\u00fce")));
        Assert.NotEqual(box.Seal("a", "same"), box.Seal("a", "same"));
    }

    [Fact]
    public void Open_ForAnotherPurposeOrWithAnotherKey_IsNothing()
    {
        var sealedText = Box(1).Seal("team-1", "secret");

        Assert.Null(Box(1).Open("team-2", sealedText));
        Assert.Null(Box(2).Open("team-1", sealedText));
        Assert.Null(Box(null).Open("team-1", sealedText));
    }

    [Fact]
    public void Open_WithAnyByteChanged_IsNothing()
    {
        var box = Box(1);
        var bytes = Convert.FromBase64String(box.Seal("a", "secret"));

        for (var i = 0; i < bytes.Length; i++)
        {
            var changed = bytes.ToArray();
            changed[i] ^= 1;
            Assert.Null(box.Open("a", Convert.ToBase64String(changed)));
        }
    }

    [Fact]
    public void Seal_WithoutAKey_IsRefused()
    {
        var refusal = Assert.Throws<HubException>(() => Box(null).Seal("a", "secret"));

        Assert.Contains(HubSettings.SecretsKeyKey, refusal.Message, StringComparison.Ordinal);
    }

    private static SecretBox Box(byte? key) =>
        new(HubSettings.Read(new ConfigurationBuilder().Build()) with { SecretsKey = key is { } value ? [.. Enumerable.Repeat(value, SecretBox.KeyBytes)] : null });
}
