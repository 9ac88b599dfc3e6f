using System.Globalization;
using System.Text;
using System.Text.Json.Nodes;

namespace Hub.Transcoding.Tests.Calls;

/// <summary>
/// google.api.http line by line: request → method and the message it got, or the status of a refusal. Requests go out as raw bytes,
/// because HTTP clients tidy addresses up.
/// </summary>
public sealed class RuleTableTests(RestFixture fixture)
{
    private const int CasesMin = 200;

    public static TheoryData<string> Cases =>
        [.. Table.Split('\n', StringSplitOptions.RemoveEmptyEntries | StringSplitOptions.TrimEntries).Where(line => line[0] != '#')];

    [Fact]
    public void Table_OfRules_IsLongEnough() => Assert.True(Cases.Count >= CasesMin, $"{Cases.Count} cases");

    [Theory]
    [MemberData(nameof(Cases))]
    public async Task Request_OfTable_ReachesItsMethodAsItsMessage(string line)
    {
        var (request, expected) = line.Split(" => ") is [var left, var right] ? (left, right) : throw new InvalidOperationException($"No => in '{line}'.");
        var parts = request.Split(' ', 3);
        var body = Encoding.UTF8.GetBytes(parts.ElementAtOrDefault(2) ?? "");

        var (status, answer) = await SendAsync(parts[0], parts[1], body);

        if (int.TryParse(expected, CultureInfo.InvariantCulture, out var refused))
        {
            Assert.Equal(refused, status);
            return;
        }

        Assert.True(status == 200, answer);
        var space = expected.IndexOf(' ', StringComparison.Ordinal);
        var node = JsonNode.Parse(answer)!;
        Assert.Equal(expected[..space], (string?)node["method"]);
        Assert.True(JsonNode.DeepEquals(JsonNode.Parse(expected[space..]), node["got"]), answer);
    }

    private async Task<(int Status, string Body)> SendAsync(string method, string target, byte[] body)
    {
        var length = body.Length > 0 ? string.Create(CultureInfo.InvariantCulture, $"Content-Type: application/json\nContent-Length: {body.Length}\n") : "";
        var answer = await fixture.Host.SendRawAsync($"{method} {target} HTTP/1.1\nHost: x\nConnection: close\n{length}\n", body);
        var end = answer.IndexOf("\r\n\r\n", StringComparison.Ordinal);
        return (int.Parse(answer.AsSpan("HTTP/1.1 ".Length, 3), CultureInfo.InvariantCulture), answer[(end + 4)..]);
    }

    private const string Table = """
        # The examples of google/api/http.proto.
        GET /v1/messages/123456 => GetByName {"name":"messages/123456"}
        GET /v1/m/123456?revision=2&sub.subfield=foo => GetMessage {"messageId":"123456","revision":"2","sub":{"subfield":"foo"}}
        PATCH /v1/m/123456 {"text":"Hi!"} => UpdateMessage {"messageId":"123456","message":{"text":"Hi!"},"updateMask":"text"}
        PATCH /v1/whole/123456 {"message":{"text":"Hi!"}} => UpdateWhole {"messageId":"123456","message":{"text":"Hi!"}}
        GET /v1/m/123456 => GetMessage {"messageId":"123456"}
        GET /v1/users/me/messages/123456 => GetMessage {"userId":"me","messageId":"123456"}
        GET /v1/nested/123456/foo => GetNested {"messageId":"123456","sub":{"subfield":"foo"}}
        GET /v1/shelves/1/books/2 => Rest {"name":"shelves/1/books/2"}

        # A variable of several segments starts with its literal.
        GET /v1/messages/a.b-c_d~e => GetByName {"name":"messages/a.b-c_d~e"}
        GET /v1/messages/a/b => 404
        GET /v1/messages => 404
        GET /v1/shelves/1/books => 404
        GET /v1/shelves/1/books/2/3 => 404
        GET /v1/shelves/1/pages/2 => 404
        GET /v1/users/u/posts/p/tail => Rest {"name":"users/u","messageId":"posts/p"}
        GET /v1/users/u/posts/p => 404
        GET /v1/users/u/messages/p/tail => 404
        GET /v1/shelves/a%20b/books/%C5%BE => Rest {"name":"shelves/a b/books/ž"}

        # One segment is decoded wholly; in several, %2F stays.
        GET /v1/m/a%2Fb => GetMessage {"messageId":"a/b"}
        GET /v1/m/a%2fb => GetMessage {"messageId":"a/b"}
        GET /v1/m/a%252Fb => GetMessage {"messageId":"a%2Fb"}
        GET /v1/m/a%252Fb%2Fc => GetMessage {"messageId":"a%2Fb/c"}
        GET /v1/m/%252F => GetMessage {"messageId":"%2F"}
        GET /v1/m/a%2Fb?sub.subfield=c/d => GetMessage {"messageId":"a/b","sub":{"subfield":"c/d"}}
        GET /v1/m/x%20y => GetMessage {"messageId":"x y"}
        GET /v1/m/x+y => GetMessage {"messageId":"x+y"}
        GET /v1/m/%E2%82%AC => GetMessage {"messageId":"€"}
        GET /v1/m/%F0%9F%98%80 => GetMessage {"messageId":"😀"}
        GET /v1/m/a%25b => GetMessage {"messageId":"a%b"}
        GET /v1/m/a%3Ab => GetMessage {"messageId":"a:b"}
        GET /v1/m/a:b => GetMessage {"messageId":"a:b"}
        GET /v1/m/a;b=1 => GetMessage {"messageId":"a;b=1"}
        GET /v1/m/a%3Fb => GetMessage {"messageId":"a?b"}
        GET /v1/m/a%23b => GetMessage {"messageId":"a#b"}
        GET /v1/m/* => GetMessage {"messageId":"*"}
        GET /v1/m/** => GetMessage {"messageId":"**"}
        GET /v1/m/{messageId} => GetMessage {"messageId":"{messageId}"}
        GET /v1/m/null => GetMessage {"messageId":"null"}
        GET /v1/m/0 => GetMessage {"messageId":"0"}
        GET /v1/m/%22quoted%22 => GetMessage {"messageId":"\"quoted\""}
        GET /v1/m/back%5Cslash => GetMessage {"messageId":"back\\slash"}
        GET /v1/messages/a%2Fb => GetByName {"name":"messages/a%2Fb"}
        GET /v1/messages/a%2fb => GetByName {"name":"messages/a%2fb"}
        GET /v1/messages/a%20b => GetByName {"name":"messages/a b"}
        GET /v1/users/me%2Fyou/messages/1 => GetMessage {"userId":"me/you","messageId":"1"}
        GET /v1/users/%252F/messages/%2F => GetMessage {"userId":"%2F","messageId":"/"}

        # ** takes none, one or many segments.
        GET /v1/files => Rest {}
        GET /v1/files/a => Rest {"name":"a"}
        GET /v1/files/a/b/c.txt => Rest {"name":"a/b/c.txt"}
        GET /v1/files/a%2Fb/c => Rest {"name":"a%2Fb/c"}
        GET /v1/files/a%20b/%C5%BE => Rest {"name":"a b/ž"}
        GET /v1/files/a//b => Rest {"name":"a//b"}
        GET /v1/files/a:copy => Rest {"name":"a:copy"}
        GET /v1/folders => Rest {"name":"folders"}
        GET /v1/folders/a => Rest {"name":"folders/a"}
        GET /v1/folders/a/b => Rest {"name":"folders/a/b"}
        POST /v1/folders/a/b:copy {"revision":"1"} => Rest {"name":"folders/a/b","revision":"1"}
        POST /v1/folders/a:copy {} => Rest {"name":"folders/a"}
        POST /v1/folders/a:b:copy {} => Rest {"name":"folders/a:b"}
        POST /v1/folders/a {} => 405
        GET /v1/any/x/end => Any {}
        GET /v1/any/x/stop => 404
        GET /v1/any/end => 404
        GET /v1/anyrest/x => Any {}
        GET /v1/anyrest/x/y/z => Any {}
        GET /v1/anyrest => 404

        # Literal before variable before **.
        GET /v1/order/literal => Literal {}
        GET /v1/order/other => Variable {"name":"other"}
        GET /v1/order => Tail {}
        GET /v1/order/a/b/c => Tail {"name":"a/b/c"}
        GET /v1/order/a/end => LaterLiteral {"name":"a"}
        GET /v1/order/a/other => LaterVariable {"name":"a","messageId":"other"}
        GET /v1/order/literal/end => LaterLiteral {"name":"literal"}
        GET /v1/order/literal/x => LaterVariable {"name":"literal","messageId":"x"}
        GET /v1/order/literal/x/y => Tail {"name":"literal/x/y"}
        GET /v1/order/literal? => Literal {}
        GET /v1/order/%6Citeral => Literal {}
        GET /v1/caf%C3%A9/x => Any {"name":"x"}
        GET /v1/order/literally => Variable {"name":"literally"}

        # Methods.
        DELETE /v1/order/literal => 405
        POST /v1/m/1 {} => 405
        PUT /v1/nothing {} => 404
        OPTIONS /v1/m/1 => 405
        REPORT /v1/custom/x => Custom {"name":"x"}
        GET /v1/custom/x => 405
        report /v1/custom/x => Custom {"name":"x"}
        GET /v1/wild/x => Custom {"name":"x"}
        POST /v1/wild/x => Custom {"name":"x"}
        PURGE /v1/wild/x?revision=3 => Custom {"name":"x","revision":"3"}
        HEAD /v1/head/x => 204
        GET /v1/head/x => Get {"name":"x"}
        HEAD /v1/m/1 => 200
        HEAD /v1/nothing => 404
        HEAD /v1/slowstream => 405

        # Verbs.
        POST /v1/jobs/j1:cancel {"revision":"5"} => Cancel {"name":"j1","revision":"5"}
        POST /v1/jobs/j1:cancel => Cancel {"name":"j1"}
        POST /v1/jobs:purge => Cancel {}
        POST /v1/jobs:purge?name=n => Cancel {"name":"n"}
        GET /v1/jobs/j1:show => Cancel {"name":"j1"}
        GET /v1/jobs/j1:other => GetJob {"name":"j1:other"}
        GET /v1/jobs/j1 => GetJob {"name":"j1"}
        GET /v1/jobs/a:b:show => Cancel {"name":"a:b"}
        GET /v1/jobs/a%2Fb:show => Cancel {"name":"a/b"}
        GET /v1/jobs/a%252Fb:show => Cancel {"name":"a%2Fb"}
        GET /v1/jobs => GetJob {}
        POST /v1/jobs/j1:stop {} => 405
        POST /v1/jobs/j1 {} => 405
        GET /v1/jobs/j1:cancel => GetJob {"name":"j1:cancel"}

        # Typed and nested variables.
        GET /v1/typed/7/true => Any {"int32Value":7,"boolValue":true}
        GET /v1/typed/-7/false => Any {"int32Value":-7}
        GET /v1/typed/2147483647/1 => Any {"int32Value":2147483647,"boolValue":true}
        GET /v1/typed/2147483648/true => 400
        GET /v1/typed/x/true => 400
        GET /v1/typed/1/maybe => 400
        GET /v1/typed/1.5/true => 400
        GET /v1/deep/leaf => Any {"sub":{"deep":{"leaf":"leaf"}}}
        GET /v1/deep/leaf?sub.deep.size=3&sub.subfield=s => Any {"sub":{"subfield":"s","deep":{"leaf":"leaf","size":3}}}
        GET /v1/big/9223372036854775807/18446744073709551615/1e300 => Any {"int64Value":"9223372036854775807","uint64Value":"18446744073709551615","doubleValue":1e300}
        GET /v1/big/-9223372036854775808/0/-0.5 => Any {"int64Value":"-9223372036854775808","doubleValue":-0.5}
        GET /v1/big/9223372036854775808/0/0 => 400
        GET /v1/big/1/-1/0 => 400
        GET /v1/big/1/1/NaN => Any {"int64Value":"1","uint64Value":"1","doubleValue":"NaN"}
        GET /v1/big/1/1/-Infinity => Any {"int64Value":"1","uint64Value":"1","doubleValue":"-Infinity"}
        GET /v1/state/HOST_STATE_ONLINE => Any {"state":"HOST_STATE_ONLINE"}
        GET /v1/state/online => Any {"state":"HOST_STATE_ONLINE"}
        GET /v1/state/2 => Any {"state":"HOST_STATE_OFFLINE"}
        GET /v1/state/77 => Any {"state":77}
        GET /v1/state/nonsense => 400
        GET /v1/bytes/AQID => Any {"bytesValue":"AQID"}
        GET /v1/bytes/-_8 => Any {"bytesValue":"+/8="}
        GET /v1/bytes/%2B%2F8%3D => Any {"bytesValue":"+/8="}
        GET /v1/bytes/! => 400

        # Query parameters of every kind.
        GET /v1/query => Query {}
        GET /v1/query?name=n => Query {"name":"n"}
        GET /v1/query?name=a%20b+c%2Bd => Query {"name":"a b c+d"}
        GET /v1/query?name=a=b => Query {"name":"a=b"}
        GET /v1/query?name= => Query {}
        GET /v1/query?name => Query {}
        GET /v1/query?name=first&name=last => Query {"name":"last"}
        GET /v1/query?messageId=camel => Query {"messageId":"camel"}
        GET /v1/query?message_id=snake => Query {"messageId":"snake"}
        GET /v1/query?asClientsSay=own => Query {"asClientsSay":"own"}
        GET /v1/query?renamed_field=proto => Query {"asClientsSay":"proto"}
        GET /v1/query?renamedField=camel => Query {"asClientsSay":"camel"}
        GET /v1/query?boolValue=true => Query {"boolValue":true}
        GET /v1/query?bool_value=0 => Query {}
        GET /v1/query?boolValue=yes => 400
        GET /v1/query?int32Value=-5 => Query {"int32Value":-5}
        GET /v1/query?int32Value=%2B5 => Query {"int32Value":5}
        GET /v1/query?int32Value=1e2 => Query {"int32Value":100}
        GET /v1/query?int32Value= => Query {}
        GET /v1/query?int32Value=%20 => 400
        GET /v1/query?int32Value=0x10 => 400
        GET /v1/query?int64Value=9007199254740993 => Query {"int64Value":"9007199254740993"}
        GET /v1/query?uint32Value=4294967295 => Query {"uint32Value":4294967295}
        GET /v1/query?uint32Value=-1 => 400
        GET /v1/query?floatValue=1.5 => Query {"floatValue":1.5}
        GET /v1/query?floatValue=1e39 => 400
        GET /v1/query?doubleValue=Infinity => Query {"doubleValue":"Infinity"}
        GET /v1/query?doubleValue=1,5 => 400
        GET /v1/query?bytesValue=AQ== => Query {"bytesValue":"AQ=="}
        GET /v1/query?state=OFFLINE => Query {"state":"HOST_STATE_OFFLINE"}
        GET /v1/query?state=-1 => Query {"state":"HOST_STATE_MINUS"}
        GET /v1/query?maybe=0 => Query {"maybe":0}
        GET /v1/query?names=a&names=b&names=a => Query {"names":["a","b","a"]}
        GET /v1/query?names=a,b => Query {"names":["a,b"]}
        GET /v1/query?names= => Query {"names":[""]}
        GET /v1/query?numbers=1&numbers=2 => Query {"numbers":[1,2]}
        GET /v1/query?numbers=1&numbers=x => 400
        GET /v1/query?states=1&states=OFFLINE => Query {"states":["HOST_STATE_ONLINE","HOST_STATE_OFFLINE"]}
        GET /v1/query?chosenText=a => Query {"chosenText":"a"}
        GET /v1/query?chosenText=a&chosenNumber=0 => Query {"chosenNumber":0}
        GET /v1/query?unknown=1&sub.unknown=2&name.x=3 => Query {}
        GET /v1/query?sub=x => 400
        GET /v1/query?sub= => Query {}
        GET /v1/query?messages=x => 400
        GET /v1/query?messages.text=x => Query {}
        GET /v1/query?labels=x => 400
        GET /v1/query?name=%00 => Query {"name":"␀"}
        GET /v1/query?name=%FF => Query {"name":"%FF"}
        GET /v1/query?name=%zz => Query {"name":"%zz"}
        GET /v1/query?&&name=n& => Query {"name":"n"}
        GET /v1/query?=x => Query {}
        GET /v1/query?NAME=n => Query {}

        # Nested ones.
        GET /v1/query?sub.subfield=s => Query {"sub":{"subfield":"s"}}
        GET /v1/query?sub.deep.leaf=l&sub.deep.size=2 => Query {"sub":{"deep":{"leaf":"l","size":2}}}
        GET /v1/query?sub.counts=1&sub.counts=2 => Query {"sub":{"counts":[1,2]}}
        GET /v1/query?sub.span=1.5s => Query {"sub":{"span":"1.500s"}}
        GET /v1/query?sub.deep.size=x => 400
        GET /v1/query?message.called=c => Query {"message":{"called":"c"}}
        GET /v1/query?message.given_name=c => Query {"message":{"called":"c"}}
        GET /v1/query?message.sub.deep.leaf=l => Query {"message":{"sub":{"deep":{"leaf":"l"}}}}
        GET /v1/query?message.tags=a&message.tags=b => Query {"message":{"tags":["a","b"]}}
        GET /v1/query?message.note=n => Query {"message":{"note":"n"}}

        # Messages with a text of their own.
        GET /v1/query?wrappedText=t => Query {"wrappedText":"t"}
        GET /v1/query?wrappedText= => Query {}
        GET /v1/query?wrappedLong=5 => Query {"wrappedLong":"5"}
        GET /v1/query?wrappedLong=0 => Query {"wrappedLong":"0"}
        GET /v1/query?wrappedLong=x => 400
        GET /v1/query?wrappedBool=false => Query {"wrappedBool":false}
        GET /v1/query?wrappedDouble=NaN => Query {"wrappedDouble":"NaN"}
        GET /v1/query?wrappedBytes=AQ => Query {"wrappedBytes":"AQ=="}
        GET /v1/query?since=2024-02-29T10:00:00Z => Query {"since":"2024-02-29T10:00:00Z"}
        GET /v1/query?since=2024-02-29T10:00:00%2B02:00 => Query {"since":"2024-02-29T08:00:00Z"}
        GET /v1/query?since=2023-02-29T10:00:00Z => 400
        GET /v1/query?since=now => 400
        GET /v1/query?within=3s => Query {"within":"3s"}
        GET /v1/query?within=-0.000000001s => Query {"within":"-0.000000001s"}
        GET /v1/query?within=3 => 400
        GET /v1/query?within=3m => 400
        GET /v1/query?spans=1s&spans=2s => Query {"spans":["1s","2s"]}
        GET /v1/query?fields=name,sub.deepLeaf => Query {"fields":"name,sub.deepLeaf"}
        GET /v1/query?fields=message_id => Query {"fields":"messageId"}
        GET /v1/query?fields= => Query {}
        GET /v1/query?value=text => Query {"value":"text"}
        GET /v1/query?free=x => 400

        # What the path binds no parameter can change.
        GET /v1/m/1?messageId=2 => GetMessage {"messageId":"1"}
        GET /v1/m/1?message_id=2&name=n => GetMessage {"messageId":"1","name":"n"}
        GET /v1/messages/1?name=other => GetByName {"name":"messages/1"}
        GET /v1/nested/1/foo?sub.subfield=bar => GetNested {"messageId":"1","sub":{"subfield":"foo"}}

        # Bodies: all of the message, one field, none.
        POST /v1/body/whole/n {"messageId":"m"} => Whole {"name":"n","messageId":"m"}
        POST /v1/body/whole/n {"name":"other"} => Whole {"name":"n"}
        POST /v1/body/whole/n?messageId=m {} => Whole {"name":"n"}
        POST /v1/body/whole/n => Whole {"name":"n"}
        POST /v1/body/whole/n [] => 400
        POST /v1/body/whole/n null => 400
        POST /v1/body/whole/n {"sub":{"deep":{"size":"4"}},"unknown":[1]} => Whole {"name":"n","sub":{"deep":{"size":4}}}
        PUT /v1/body/none/n {"messageId":"m"} => Whole {"name":"n"}
        PUT /v1/body/none/n?messageId=m => Whole {"name":"n","messageId":"m"}
        POST /v1/body/sub/n {"subfield":"s"} => Whole {"name":"n","sub":{"subfield":"s"}}
        POST /v1/body/sub/n?messageId=m&revision=2 {"subfield":"s"} => Whole {"name":"n","messageId":"m","revision":"2","sub":{"subfield":"s"}}
        POST /v1/body/sub/n?sub.subfield=q {"deep":{"leaf":"l"}} => Whole {"name":"n","sub":{"deep":{"leaf":"l"}}}
        POST /v1/body/sub/n?sub.subfield=q => Whole {"name":"n"}
        POST /v1/body/sub/n null => Whole {"name":"n"}
        POST /v1/body/sub/n "text" => 400
        POST /v1/body/list/n [{"text":"a"},{"text":"b"}] => Whole {"name":"n","messages":[{"text":"a"},{"text":"b"}]}
        POST /v1/body/list/n [] => Whole {"name":"n"}
        POST /v1/body/list/n {"text":"a"} => 400
        POST /v1/body/names/m ["a","b"] => Whole {"messageId":"m","names":["a","b"]}
        POST /v1/body/text/m "plain" => Whole {"messageId":"m","name":"plain"}
        POST /v1/body/text/m 12 => Whole {"messageId":"m","name":"12"}
        POST /v1/body/free/n {"a":[1,null,{"b":true}]} => Whole {"name":"n","free":{"a":[1,null,{"b":true}]}}
        POST /v1/body/map/n {"k":"v"} => Whole {"name":"n","labels":{"k":"v"}}
        DELETE /v1/body/whole/n {"subfield":"s"} => Whole {"name":"n","sub":{"subfield":"s"}}
        DELETE /v1/body/whole/n?messageId=m => Whole {"name":"n","messageId":"m"}

        # PATCH without a mask means the fields of its body.
        PATCH /v1/m/1 {"text":"t","tags":[]} => UpdateMessage {"messageId":"1","message":{"text":"t"},"updateMask":"text,tags"}
        PATCH /v1/m/1 {"sub":{"subfield":"s","deep":{"leaf":"l"}}} => UpdateMessage {"messageId":"1","message":{"sub":{"subfield":"s","deep":{"leaf":"l"}}},"updateMask":"sub.subfield,sub.deep.leaf"}
        PATCH /v1/m/1 {"sub":{}} => UpdateMessage {"messageId":"1","message":{"sub":{}},"updateMask":"sub"}
        PATCH /v1/m/1 {"sub":null} => UpdateMessage {"messageId":"1","message":{},"updateMask":"sub"}
        PATCH /v1/m/1 {"labels":{"a":"b"},"at":"2024-01-01T00:00:00Z","note":"n"} => UpdateMessage {"messageId":"1","message":{"labels":{"a":"b"},"at":"2024-01-01T00:00:00Z","note":"n"},"updateMask":"labels,at,note"}
        PATCH /v1/m/1 {"called":"c","unknown":1} => UpdateMessage {"messageId":"1","message":{"called":"c"},"updateMask":"givenName"}
        PATCH /v1/m/1 {"given_name":"c","text":"a","text":"b"} => UpdateMessage {"messageId":"1","message":{"called":"c","text":"b"},"updateMask":"givenName,text"}
        PATCH /v1/m/1?updateMask=text {"text":"t","tags":["x"]} => UpdateMessage {"messageId":"1","message":{"text":"t","tags":["x"]},"updateMask":"text"}
        PATCH /v1/m/1?update_mask=tags,sub.deep {"text":"t"} => UpdateMessage {"messageId":"1","message":{"text":"t"},"updateMask":"tags,sub.deep"}
        PATCH /v1/m/1 {} => UpdateMessage {"messageId":"1","message":{},"updateMask":""}
        PATCH /v1/m/1 => UpdateMessage {"messageId":"1"}
        PATCH /v1/whole/1 {"name":"n"} => UpdateWhole {"messageId":"1","name":"n"}
        """;
}
