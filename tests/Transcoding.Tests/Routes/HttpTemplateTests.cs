using Hub.Transcoding.Routes;

namespace Hub.Transcoding.Tests.Routes;

public sealed class HttpTemplateTests
{
    [Theory]
    [InlineData("/", "", "")]
    [InlineData("/api/hosts", "api/hosts", "")]
    [InlineData("/api/hosts/{host_id}", "api/hosts/*", "host_id=2..3")]
    [InlineData("/api/{task.id}/x/{b}", "api/*/x/*", "task.id=1..2 b=3..4")]
    [InlineData("/v1/{name=teams/*/hosts/*}", "v1/teams/*/hosts/*", "name=1..5")]
    [InlineData("/v1/{path=**}", "v1/**", "path=1..2")]
    [InlineData("/v1/{path=files/**}:copy", "v1/files/** :copy", "path=1..3")]
    [InlineData("/v1/*/a/**", "v1/*/a/**", "")]
    [InlineData("/v1/hosts/{id}:restart", "v1/hosts/* :restart", "id=2..3")]
    public void Parse_Template_GivesSegmentsAndVariables(string text, string segments, string variables)
    {
        var template = HttpTemplate.Parse(text);

        var shown = string.Join('/', template.Segments.Select(s => s.Kind switch { SegmentKind.Any => "*", SegmentKind.Rest => "**", _ => s.Text }));
        Assert.Equal(segments, template.Verb is null ? shown : $"{shown} :{template.Verb}");
        Assert.Equal(variables, string.Join(' ', template.Variables.Select(v => $"{v.FieldPath}={v.Start}..{v.End}")));
    }

    [Theory]
    [InlineData("")]
    [InlineData("api")]
    [InlineData("/api//x")]
    [InlineData("/api/")]
    [InlineData("/api/{}")]
    [InlineData("/api/{a")]
    [InlineData("/api/{a}/{a}")]
    [InlineData("/api/{a={b}}")]
    [InlineData("/api/**/x")]
    [InlineData("/api/{a=**}/x")]
    [InlineData("/api/x:")]
    [InlineData("/api/a*b")]
    public void Parse_WrongTemplate_Throws(string text) => Assert.Throws<FormatException>(() => HttpTemplate.Parse(text));
}
