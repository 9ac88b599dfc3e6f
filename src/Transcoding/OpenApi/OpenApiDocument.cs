using System.Globalization;
using System.Text;
using System.Text.Json.Nodes;
using Google.Api;
using Google.Protobuf.Reflection;
using Hub.Options.V1;
using Hub.Transcoding.Json;
using Hub.Transcoding.Routes;

namespace Hub.Transcoding.OpenApi;

/// <summary>The OpenAPI 3.1 document of all REST endpoints, made from descriptors and their comments. The same contract gives the same text.</summary>
internal sealed class OpenApiDocument(SurfaceTable surfaces, ProtoComments comments, string title)
{
    private const string Json = "application/json";

    private const string Description =
        "Requests may use camelCase and proto names, numbers as text and text as numbers; unknown fields are ignored. "
        + "Every GET also answers HEAD. The header grpc-timeout (such as 5S or 500m) sets a deadline; bodies may come in gzip.";

    private readonly OpenApiSchemas _schemas = new(comments);

    public JsonObject Build(IEnumerable<RestEndpointMetadata> endpoints)
    {
        var paths = new SortedDictionary<string, JsonObject>(StringComparer.Ordinal);
        var services = new SortedDictionary<string, ServiceDescriptor>(StringComparer.Ordinal);
        foreach (var (method, rules) in endpoints.GroupBy(endpoint => endpoint.Method, endpoint => endpoint.HttpRule).OrderBy(group => group.Key.FullName, StringComparer.Ordinal)
            .Select(group => (group.Key, group)))
        {
            services.TryAdd(method.Service.Name, method.Service);
            var number = 0;
            foreach (var rule in rules)
            {
                number++;
                var (verb, path) = HttpRules.Pattern(rule, method);
                if (!IsOpenApiMethod(verb))
                {
                    continue; // The format knows no others.
                }

                var template = HttpTemplate.Parse(path);
                var (text, names) = PathOf(template, method, surfaces.Register(method.File));
                if (!paths.TryGetValue(text, out var item))
                {
                    paths.Add(text, item = []);
                }

                item[verb.ToLowerInvariant()] = Operation(method, rule, verb, template, names, number);
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

    private JsonObject Operation(MethodDescriptor method, HttpRule rule, string verb, HttpTemplate template, IReadOnlyList<string> names, int number)
    {
        var surface = surfaces.Register(method.File);
        var options = method.GetOptions()?.GetExtension(RestExtensions.Rest) ?? new RestMethod();
        var comment = comments.Of(method);
        var operation = new JsonObject
        {
            ["operationId"] = $"{method.Service.Name}_{method.Name}{(number > 1 ? $"_{number.ToString(CultureInfo.InvariantCulture)}" : "")}",
            ["tags"] = new JsonArray(method.Service.Name),
            ["summary"] = comment.Length > 0 ? ProtoComments.FirstSentence(comment) : method.Name,
        };
        if (comment.Length > 0)
        {
            operation["description"] = comment;
        }

        var parameters = Parameters(method, rule, verb, template, names, surface, options);
        if (parameters.Count > 0)
        {
            operation["parameters"] = parameters;
        }

        if (rule.Body.Length > 0)
        {
            operation["requestBody"] = new JsonObject { ["content"] = RequestContent(method, rule, template, surface) };
        }

        operation["responses"] = Responses(method, rule, verb, surface, options);
        return operation;
    }

    private JsonArray Parameters(
        MethodDescriptor method, HttpRule rule, string verb, HttpTemplate template, IReadOnlyList<string> names, RestSurface surface, RestMethod options)
    {
        var parameters = new JsonArray();
        var bound = new HashSet<string>(StringComparer.Ordinal);
        var next = 0;
        foreach (var variable in template.Variables)
        {
            bound.Add(variable.FieldPath);
            var field = FieldPath.Require(surface.Codec, method.InputType, variable.FieldPath, template.Text).Field.Descriptor;
            for (var i = variable.Start; i < variable.End; i++)
            {
                if (template.Segments[i].Kind != SegmentKind.Literal)
                {
                    parameters.Add(Parameter(names[next++], "path", field, surface, isRequired: true));
                }
            }
        }

        if (rule.Body != "*")
        {
            bound.Add(rule.Body);
            AddQuery(parameters, method.InputType, "", "", bound, surface, []);
        }

        if (method.InputType.FindFieldByName("idempotency_key") is { } key && verb != "GET")
        {
            parameters.Add(Parameter(RestHeaders.IdempotencyKey, "header", key, surface));
        }

        if (options.Version is { } version)
        {
            if (verb == "GET" && version.EtagField.Length > 0)
            {
                parameters.Add(Header("If-None-Match", "Entity tags the client has; 304 answers if the present one is among them."));
            }

            if (version.IfMatchField.Length > 0 && verb != "GET")
            {
                parameters.Add(Header("If-Match", "Entity tag the change is meant for; 412 answers if it is no longer the present one."));
            }
        }

        return parameters;
    }

    // Every leaf that neither path nor body binds is a parameter, named by its path.
    private void AddQuery(
        JsonArray parameters, MessageDescriptor type, string protoPrefix, string jsonPrefix, HashSet<string> bound, RestSurface surface, MessageDescriptor[] within)
    {
        foreach (var field in type.Fields.InDeclarationOrder())
        {
            var proto = protoPrefix + field.Name;
            var name = jsonPrefix + surface.Codec.Style.NameOf(field);
            var message = field.FieldType == FieldType.Message ? field.MessageType : null;
            if (bound.Contains(proto) || field.IsMap || (message is not null && !IsText(message) && (field.IsRepeated || within.Contains(message))))
            {
                continue;
            }

            if (message is null || IsText(message))
            {
                parameters.Add(Parameter(name, "query", field, surface));
            }
            else if (surface.Codec.For(message) is IObjectCodec)
            {
                AddQuery(parameters, message, $"{proto}.", $"{name}.", bound, surface, [.. within, message]);
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

    private JsonObject RequestContent(MethodDescriptor method, HttpRule rule, HttpTemplate template, RestSurface surface)
    {
        var type = method.InputType;
        var field = rule.Body == "*" ? null : FieldPath.Require(surface.Codec, type, rule.Body, template.Text).Field.Descriptor;
        if ((field is null ? type : field.FieldType == FieldType.Message ? field.MessageType : null) == HttpBody.Descriptor)
        {
            return Content("*/*", []);
        }

        // Fields of the path are not said twice.
        var inPath = template.Variables.Select(variable => type.FindFieldByName(variable.FieldPath)).OfType<FieldDescriptor>().ToArray();
        return Content(Json, field is not null ? _schemas.Field(field, surface)
            : inPath.Length > 0 ? _schemas.Object(type, surface, inPath)
            : _schemas.Message(type, surface));
    }

    private JsonObject Responses(MethodDescriptor method, HttpRule rule, string verb, RestSurface surface, RestMethod options)
    {
        var responses = new JsonObject();
        var hasTag = options.Version is { EtagField.Length: > 0 };
        var content = AnswerContent(method, rule, surface, options);
        foreach (var status in new SortedSet<int>([options.SuccessStatus > 0 ? options.SuccessStatus : 200, .. options.SuccessWhen is { } when ? [when.Status] : Array.Empty<int>()]))
        {
            var response = new JsonObject { ["description"] = comments.Of(method.OutputType) is { Length: > 0 } comment ? comment : "Success." };
            if (hasTag)
            {
                response["headers"] = new JsonObject
                {
                    ["ETag"] = new JsonObject { ["description"] = "The resource's version.", ["schema"] = new JsonObject { ["type"] = "string" } },
                };
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

    private JsonObject AnswerContent(MethodDescriptor method, HttpRule rule, RestSurface surface, RestMethod options)
    {
        var part = rule.ResponseBody.Length > 0 ? rule.ResponseBody : options.ResponseField;
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
            ? new JsonObject
            {
                ["type"] = "object",
                ["properties"] = new JsonObject { ["success"] = new JsonObject { ["const"] = true }, ["data"] = OpenApiSchemas.OrNull(schema) },
                ["required"] = new JsonArray("success", "data"),
            }
            : schema);
    }

    private JsonObject Refusal(string description, RestSurface surface) => new()
    {
        ["description"] = description,
        ["content"] = Content(Json, surface.ErrorShape switch
        {
            ErrorShape.SuccessError => _schemas.Reference("ErrorInEnvelope", () => ErrorObject(
                ("success", new JsonObject { ["const"] = false }, true), ("error", ErrorObject(("code", Text(), true), ("message", Text(), true), ("details", Details(), false)), true))),
            ErrorShape.MessageCode => _schemas.Reference("ErrorMessage", () => ErrorObject(("message", Text(), true), ("code", Text(), true), ("details", Details(), false))),
            _ => _schemas.Reference("Error", () => ErrorObject(("error", Text(), true), ("code", Text(), true), ("reason", Text(), false), ("details", Details(), false))),
        }),
    };

    private static JsonObject ErrorObject(params (string Name, JsonObject Schema, bool IsRequired)[] members) => new()
    {
        ["type"] = "object",
        ["properties"] = new JsonObject(members.Select(member => KeyValuePair.Create<string, JsonNode?>(member.Name, member.Schema))),
        ["required"] = new JsonArray([.. members.Where(member => member.IsRequired).Select(member => JsonValue.Create(member.Name))]),
    };

    private static JsonObject Text() => new() { ["type"] = "string" };

    private static JsonObject Details() => new() { ["type"] = "object", ["additionalProperties"] = Text() };

    private static JsonObject Content(string type, JsonObject schema) => new() { [type] = new JsonObject { ["schema"] = schema } };

    private static bool IsOpenApiMethod(string verb) => verb is "GET" or "PUT" or "POST" or "DELETE" or "OPTIONS" or "HEAD" or "PATCH" or "TRACE";

    // OpenAPI has one parameter per segment, so a variable of several segments becomes several.
    private static (string Text, IReadOnlyList<string> Names) PathOf(HttpTemplate template, MethodDescriptor method, RestSurface surface)
    {
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

            var variable = template.Variables.FirstOrDefault(v => v.Start <= i && i < v.End);
            var name = variable is null ? $"segment{i}" : FieldPath.Require(surface.Codec, method.InputType, variable.FieldPath, template.Text).NameIn(surface.Codec.Style);
            var wildcards = variable is null ? 1 : template.Segments.Skip(variable.Start).Take(variable.End - variable.Start).Count(s => s.Kind != SegmentKind.Literal);
            name = wildcards == 1 ? name : $"{name}_{names.Count(known => known.StartsWith($"{name}_", StringComparison.Ordinal)) + 1}";
            names.Add(name);
            text.Append('{').Append(name).Append('}');
        }

        text.Append(template.Segments.Count == 0 ? "/" : "").Append(template.Verb is null ? "" : $":{template.Verb}");
        return (text.ToString(), names);
    }
}
