using System.Globalization;
using System.Text;
using System.Text.Json.Nodes;
using Google.Api;
using Google.Protobuf.Reflection;
using Hub.Options.V1;
using Hub.Transcoding.Json;
using Hub.Transcoding.Routes;

namespace Hub.Transcoding.OpenApi;

/// <summary>
/// The OpenAPI 3.1 document of all REST endpoints, made from descriptors and their comments. The same contract gives the same text.
/// </summary>
internal sealed class OpenApiDocument(SurfaceTable surfaces, ProtoComments comments, string title)
{
    private const string Json = "application/json";

    private const string Description =
        "Requests may use camelCase and proto names, numbers as text and text as numbers; unknown fields are ignored. "
        + "Every GET also answers HEAD. The header grpc-timeout (such as 5S or 500m) sets a deadline; bodies may come in gzip.";

    private static readonly string[] Methods = ["GET", "PUT", "POST", "DELETE", "OPTIONS", "HEAD", "PATCH", "TRACE"];

    private readonly OpenApiSchemas _schemas = new(comments);

    public JsonObject Build(IEnumerable<RestEndpointMetadata> endpoints)
    {
        var paths = new SortedDictionary<string, JsonObject>(StringComparer.Ordinal);
        var services = new SortedDictionary<string, ServiceDescriptor>(StringComparer.Ordinal);
        foreach (var group in endpoints.GroupBy(endpoint => endpoint.Method).OrderBy(group => group.Key.FullName, StringComparer.Ordinal))
        {
            var method = group.Key;
            services.TryAdd(method.Service.Name, method.Service);
            foreach (var (index, endpoint) in group.Index())
            {
                var (verb, path) = HttpRules.Pattern(endpoint.HttpRule, method);
                if (!Methods.Contains(verb))
                {
                    continue; // The format knows no others.
                }

                var options = method.GetOptions()?.GetExtension(RestExtensions.Rest) ?? new RestMethod();
                var rule = new Rule(method, endpoint.HttpRule, verb, HttpTemplate.Parse(path), surfaces.Register(method.File), options);
                var (text, names) = PathOf(rule);
                if (!paths.TryGetValue(text, out var item))
                {
                    paths.Add(text, item = []);
                }

                item[verb.ToLowerInvariant()] = Operation(rule, names, index);
            }
        }

        return new JsonObject
        {
            ["openapi"] = "3.1.0",
            ["info"] = new JsonObject { ["title"] = title, ["version"] = "1", ["description"] = Description },
            ["servers"] = new JsonArray(new JsonObject { ["url"] = "/" }),
            ["security"] = new JsonArray(new JsonObject { ["bearer"] = new JsonArray() }, new JsonObject()),
            ["tags"] = new JsonArray([.. services.Select(service => Tag(service.Value))]),
            ["paths"] = new JsonObject(paths.Select(path => KeyValuePair.Create<string, JsonNode?>(path.Key, path.Value))),
            ["components"] = new JsonObject
            {
                ["securitySchemes"] = new JsonObject { ["bearer"] = new JsonObject { ["type"] = "http", ["scheme"] = "bearer" } },
                ["schemas"] = _schemas.Components,
            },
        };
    }

    private JsonObject Tag(ServiceDescriptor service)
    {
        var tag = new JsonObject { ["name"] = service.Name };
        if (comments.Of(service) is { Length: > 0 } comment)
        {
            tag["description"] = comment;
        }

        return tag;
    }

    private JsonObject Operation(Rule rule, IReadOnlyList<string> names, int index)
    {
        var method = rule.Method;
        var comment = comments.Of(method);
        var operation = new JsonObject
        {
            ["operationId"] = string.Create(CultureInfo.InvariantCulture, $"{method.Service.Name}_{method.Name}{(index > 0 ? $"_{index + 1}" : "")}"),
            ["tags"] = new JsonArray(method.Service.Name),
            ["summary"] = comment.Length > 0 ? ProtoComments.FirstSentence(comment) : method.Name,
        };
        if (comment.Length > 0)
        {
            operation["description"] = comment;
        }

        var parameters = Parameters(rule, names);
        if (parameters.Count > 0)
        {
            operation["parameters"] = parameters;
        }

        if (rule.Http.Body.Length > 0)
        {
            operation["requestBody"] = new JsonObject { ["content"] = RequestContent(rule) };
        }

        operation["responses"] = Responses(rule);
        return operation;
    }

    private JsonArray Parameters(Rule rule, IReadOnlyList<string> names)
    {
        var (method, http, verb, template, surface, options) = rule;
        var parameters = new JsonArray();
        var bound = template.Variables.Select(variable => variable.FieldPath).ToHashSet(StringComparer.Ordinal);
        var wildcards = Enumerable.Range(0, template.Segments.Count).Where(i => template.Segments[i].Kind != SegmentKind.Literal);
        foreach (var (name, segment) in names.Zip(wildcards))
        {
            parameters.Add(VariableAt(template, segment) is { } variable
                ? Parameter(name, "path", FieldOf(variable, rule).Field.Descriptor, surface, isRequired: true)
                : new JsonObject { ["name"] = name, ["in"] = "path", ["required"] = true, ["schema"] = Text() });
        }

        if (http.Body != "*")
        {
            bound.Add(http.Body);
            AddQuery(parameters, method.InputType, new QueryPrefix("", ""), bound, surface, []);
        }

        if (method.InputType.FindFieldByName("idempotency_key") is { } key && verb != "GET")
        {
            parameters.Add(Parameter(RestHeaders.IdempotencyKey, "header", key, surface));
        }

        if (verb == "GET" && HasTag(rule))
        {
            parameters.Add(Header("If-None-Match", "Entity tags the client has; 304 answers if the present one is among them."));
        }

        if (verb != "GET" && options.Version is { IfMatchField.Length: > 0 })
        {
            parameters.Add(Header("If-Match", "Entity tag the change is meant for; 412 answers if it is no longer the present one."));
        }

        return parameters;
    }

    // Every leaf that neither path nor body binds is a parameter, named by its path.
    private void AddQuery(
        JsonArray parameters, MessageDescriptor type, QueryPrefix prefix, HashSet<string> bound, RestSurface surface, MessageDescriptor[] within)
    {
        foreach (var field in type.Fields.InDeclarationOrder())
        {
            var proto = prefix.Proto + field.Name;
            var name = prefix.Json + surface.Codec.Style.NameOf(field);
            var message = field.FieldType == FieldType.Message ? field.MessageType : null;
            var isOpaque = message is not null && !IsText(message) && (field.IsRepeated || within.Contains(message));
            if (bound.Contains(proto) || field.IsMap || isOpaque)
            {
                continue;
            }

            if (message is null || IsText(message))
            {
                parameters.Add(Parameter(name, "query", field, surface));
            }
            else if (surface.Codec.For(message) is IObjectCodec)
            {
                AddQuery(parameters, message, new QueryPrefix($"{proto}.", $"{name}."), bound, surface, [.. within, message]);
            }
        }
    }

    // Messages that a parameter can hold as text.
    private static bool IsText(MessageDescriptor message) =>
        message.FullName is "google.protobuf.Timestamp" or "google.protobuf.Duration" or "google.protobuf.FieldMask"
        || message.File.Name == "google/protobuf/wrappers.proto";

    private JsonObject Parameter(string name, string place, FieldDescriptor field, RestSurface surface, bool isRequired = false)
    {
        var schema = _schemas.Field(field, surface);
        var parameter = new JsonObject { ["name"] = name, ["in"] = place };
        if (isRequired)
        {
            parameter["required"] = true;
        }

        if (schema["description"] is { } description)
        {
            schema.Remove("description");
            parameter["description"] = description;
        }

        parameter["schema"] = schema;
        return parameter;
    }

    private static JsonObject Header(string name, string description) => new()
    {
        ["name"] = name,
        ["in"] = "header",
        ["description"] = description,
        ["schema"] = new JsonObject { ["type"] = "string" },
    };

    private JsonObject RequestContent(Rule rule)
    {
        var (type, surface) = (rule.Method.InputType, rule.Surface);
        var field = rule.Http.Body == "*" ? null : type.FindFieldByName(rule.Http.Body);
        if ((field is null ? type : field.FieldType == FieldType.Message ? field.MessageType : null) == HttpBody.Descriptor)
        {
            return Content("*/*", []);
        }

        // Fields of the path are not said twice.
        var inPath = rule.Template.Variables.Select(variable => type.FindFieldByName(variable.FieldPath)).OfType<FieldDescriptor>().ToArray();
        return Content(Json, field is not null ? _schemas.Field(field, surface)
            : inPath.Length > 0 ? _schemas.Object(type, surface, inPath)
            : _schemas.Message(type, surface));
    }

    /// <summary>A version, or else, of what is read whole and may be stored, its bytes (<see cref="Calls.EntityVersion"/>).</summary>
    private static bool HasTag(Rule rule) => rule.Options.Version is { } version
        ? version.EtagField.Length > 0
        : rule.Verb == "GET" && !rule.Options.NoStore && !rule.Method.IsServerStreaming;

    private JsonObject Responses(Rule rule)
    {
        var (method, _, verb, _, surface, options) = rule;
        var responses = new JsonObject();
        var hasTag = HasTag(rule);
        var content = AnswerContent(rule);
        var comment = comments.Of(method.OutputType);
        var statuses = new SortedSet<int> { options.SuccessStatus > 0 ? options.SuccessStatus : 200 };
        if (options.SuccessWhen is { } condition)
        {
            statuses.Add(condition.Status);
        }

        foreach (var status in statuses)
        {
            var response = new JsonObject { ["description"] = comment.Length > 0 ? comment : "Success." };
            if (hasTag)
            {
                var tag = new JsonObject { ["description"] = options.Version is null ? "Stands for these very bytes." : "The resource's version.", ["schema"] = Text() };
                response["headers"] = new JsonObject { ["ETag"] = tag };
            }

            if (status != 204)
            {
                response["content"] = content.DeepClone();
            }

            responses[status.ToString(CultureInfo.InvariantCulture)] = response;
        }

        if (hasTag && verb == "GET")
        {
            responses["304"] = new JsonObject { ["description"] = "The client has this version." };
        }

        responses["4XX"] = Refusal("The request is refused.", surface);
        responses["5XX"] = Refusal("The server failed, or is not ready.", surface);
        return responses;
    }

    private JsonObject AnswerContent(Rule rule)
    {
        var (method, http, _, _, surface, options) = rule;
        var part = http.ResponseBody.Length > 0 ? http.ResponseBody : options.ResponseField;
        var field = part.Length > 0 ? FieldPath.Require(surface.Codec, method.OutputType, part, method.FullName).Field.Descriptor : null;
        if ((field is null ? method.OutputType : field.FieldType == FieldType.Message ? field.MessageType : null) == HttpBody.Descriptor)
        {
            return Content("*/*", []);
        }

        var schema = field is null ? _schemas.Message(method.OutputType, surface) : _schemas.Field(field, surface);
        if (method.IsServerStreaming)
        {
            return new JsonObject
            {
                ["application/x-ndjson"] = new JsonObject { ["schema"] = schema.DeepClone() },
                ["text/event-stream"] = new JsonObject { ["schema"] = schema },
            };
        }

        return Content(Json, surface.Envelope == Envelope.SuccessData && !options.NoEnvelope
            ? Object([("success", Constant(true)), ("data", OpenApiSchemas.OrNull(schema))])
            : schema);
    }

    private JsonObject Refusal(string description, RestSurface surface) => new()
    {
        ["description"] = description,
        ["content"] = Content(Json, surface.ErrorShape switch
        {
            ErrorShape.SuccessError => _schemas.Reference("ErrorInEnvelope", () => Object(
                [("success", Constant(false)), ("error", Object([("code", Text()), ("message", Text())], ("details", Details())))])),
            ErrorShape.MessageCode => _schemas.Reference(
                "ErrorMessage", () => Object([("message", Text()), ("code", Text())], ("details", Details()))),
            _ => _schemas.Reference("Error", () => Object([("error", Text()), ("code", Text())], ("reason", Text()), ("details", Details()))),
        }),
    };

    private static JsonObject Object((string Name, JsonObject Schema)[] required, params (string Name, JsonObject Schema)[] optional) => new()
    {
        ["type"] = "object",
        ["properties"] = new JsonObject([.. required.Select(Entry), .. optional.Select(Entry)]),
        ["required"] = new JsonArray([.. required.Select(member => JsonValue.Create(member.Name))]),
    };

    private static KeyValuePair<string, JsonNode?> Entry((string Name, JsonObject Schema) member) => new(member.Name, member.Schema);

    private static JsonObject Constant(bool value) => new() { ["const"] = value };

    private static JsonObject Text() => new() { ["type"] = "string" };

    private static JsonObject Details() => new() { ["type"] = "object", ["additionalProperties"] = Text() };

    private static JsonObject Content(string type, JsonObject schema) => new() { [type] = new JsonObject { ["schema"] = schema } };

    private static TemplateVariable? VariableAt(HttpTemplate template, int segment) =>
        template.Variables.FirstOrDefault(variable => variable.Start <= segment && segment < variable.End);

    private static FieldPath FieldOf(TemplateVariable variable, Rule rule) =>
        FieldPath.Require(rule.Surface.Codec, rule.Method.InputType, variable.FieldPath, rule.Template.Text);

    // OpenAPI has one parameter per segment, so a variable of several segments becomes several.
    private static (string Text, IReadOnlyList<string> Names) PathOf(Rule rule)
    {
        var template = rule.Template;
        var text = new StringBuilder();
        var names = new List<string>();
        for (var i = 0; i < template.Segments.Count; i++)
        {
            var segment = template.Segments[i];
            text.Append('/');
            if (segment.Kind == SegmentKind.Literal)
            {
                text.Append(segment.Text);
                continue;
            }

            var variable = VariableAt(template, i);
            var name = variable is null ? $"segment{i}" : FieldOf(variable, rule).NameIn(rule.Surface.Codec.Style);
            var wildcards = variable is null ? [i] : Enumerable.Range(variable.Start, variable.End - variable.Start)
                .Where(at => template.Segments[at].Kind != SegmentKind.Literal).ToArray();
            name = wildcards.Length == 1 ? name : $"{name}_{Array.IndexOf(wildcards, i) + 1}";
            names.Add(name);
            text.Append('{').Append(name).Append('}');
        }

        text.Append(template.Segments.Count == 0 ? "/" : "").Append(template.Verb is null ? "" : $":{template.Verb}");
        return (text.ToString(), names);
    }

    /// <summary>One HTTP rule of one method, and how its surface differs.</summary>
    private sealed record Rule(
        MethodDescriptor Method, HttpRule Http, string Verb, HttpTemplate Template, RestSurface Surface, RestMethod Options);

    /// <summary>The path to the message whose fields are parameters, in both kinds of names.</summary>
    private readonly record struct QueryPrefix(string Proto, string Json);
}
