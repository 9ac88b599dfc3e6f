using Google.Protobuf;
using Google.Protobuf.Reflection;
using Hub.Options.V1;

namespace Hub.Transcoding.OpenApi;

/// <summary>
/// The comments of proto files. Generated code leaves them out, so they come from a descriptor set that protoc wrote with
/// <c>--include_imports --include_source_info</c>.
/// </summary>
internal sealed class ProtoComments
{
    private readonly Dictionary<string, string> _byName = [];

    private ProtoComments(IEnumerable<ByteString> files)
    {
        foreach (var file in FileDescriptor.BuildFromByteStrings(files, new ExtensionRegistry { RestExtensions.Surface }))
        {
            Add(file);
        }
    }

    public static ProtoComments Read(Func<Stream>? openDescriptorSet)
    {
        var files = new List<ByteString>();
        if (openDescriptorSet is not null)
        {
            // A set is a message of one field, the list of its files.
            using var input = new CodedInputStream(openDescriptorSet());
            while (input.ReadTag() != 0)
            {
                files.Add(input.ReadBytes());
            }
        }

        return new ProtoComments(files);
    }

    /// <summary>The comment in front of a message, field, enum, value, service or method, as one paragraph; empty where there is none.</summary>
    public string Of(IDescriptor descriptor) => _byName.GetValueOrDefault(descriptor.FullName, "");

    /// <summary>The first sentence of a comment, without its full stop.</summary>
    public static string FirstSentence(string comment)
    {
        var end = comment.IndexOfAny(['.', ';', ':']);
        while (end >= 0 && end + 1 < comment.Length && comment[end + 1] != ' ')
        {
            end = comment.IndexOfAny(['.', ';', ':'], end + 1); // A point inside a name or a number.
        }

        return end < 0 ? comment : comment[..end];
    }

    private void Add(FileDescriptor file)
    {
        foreach (var service in file.Services)
        {
            Add(service, service.Declaration);
            foreach (var method in service.Methods)
            {
                Add(method, method.Declaration);
            }
        }

        foreach (var message in file.MessageTypes)
        {
            Add(message);
        }

        foreach (var type in file.EnumTypes)
        {
            Add(type);
        }
    }

    private void Add(MessageDescriptor message)
    {
        Add(message, message.Declaration);
        foreach (var field in message.Fields.InDeclarationOrder())
        {
            Add(field, field.Declaration);
        }

        foreach (var nested in message.NestedTypes)
        {
            Add(nested);
        }

        foreach (var type in message.EnumTypes)
        {
            Add(type);
        }
    }

    private void Add(EnumDescriptor type)
    {
        Add(type, type.Declaration);
        foreach (var value in type.Values)
        {
            Add(value, value.Declaration);
        }
    }

    private void Add(IDescriptor descriptor, DescriptorDeclaration? declaration)
    {
        if (declaration is { LeadingComments.Length: > 0 })
        {
            _byName[descriptor.FullName] = string.Join(' ', declaration.LeadingComments.Split('\n', StringSplitOptions.TrimEntries | StringSplitOptions.RemoveEmptyEntries));
        }
    }
}
