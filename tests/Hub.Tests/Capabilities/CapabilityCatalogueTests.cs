using Hub.Capabilities;

namespace Hub.Tests.Capabilities;

public sealed class CapabilityCatalogueTests
{
    /// <summary>All that a node may ever be told to set. A line more is a decision, not a detail.</summary>
    [Fact]
    public void Variables_OfAllCapabilities_AreThese()
    {
        string[] expected =
        [
            "ANTHROPIC_API_KEY", "BROWSERBASE_API_KEY", "BROWSERBASE_PROJECT_ID", "ELEVENLABS_API_KEY", "GITHUB_ACCESS_TOKEN", "LINEAR_API_KEY",
            "NOTION_API_KEY", "OPENAI_API_KEY", "RESEND_API_KEY", "SLACK_BOT_TOKEN", "TWILIO_ACCOUNT_SID", "TWILIO_AUTH_TOKEN", "TWILIO_PHONE_NUMBER",
        ];

        Assert.Equal(expected, CapabilityCatalogue.All.SelectMany(kind => kind.Keys.Select(kind.VariableOf)));
    }
}
