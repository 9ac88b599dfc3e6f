using Google.Protobuf.Reflection;

namespace Grpc.Reflection;

/// <summary>The files behind a set of descriptors, with all their imports, and the symbols in them.</summary>
public sealed class SymbolRegistry
{
    private readonly Dictionary<string, FileDescriptor> _files = new(StringComparer.Ordinal);
    private readonly Dictionary<string, FileDescriptor> _symbols = new(StringComparer.Ordinal);
    private readonly Dictionary<(string Type, int Number), FileDescriptor> _extensions = [];

    private SymbolRegistry()
    {
    }

    /// <summary>Makes a registry of files and everything they import.</summary>
    public static SymbolRegistry FromFiles(IEnumerable<FileDescriptor> fileDescriptors)
    {
        ArgumentNullException.ThrowIfNull(fileDescriptors);
        var registry = new SymbolRegistry();
        foreach (var file in fileDescriptors)
        {
            registry.Add(file);
        }

        return registry;
    }

    /// <summary>The file of that name, or null.</summary>
    public FileDescriptor? FileByName(string filename) => _files.GetValueOrDefault(filename);

    /// <summary>The file that declares the symbol (service, method, message, field, enum, extension), or null.</summary>
    public FileDescriptor? FileContainingSymbol(string symbol) => _symbols.GetValueOrDefault(symbol);

    /// <summary>The file that declares the extension of a message by number, or null.</summary>
    internal FileDescriptor? FileContainingExtension(string type, int number) => _extensions.GetValueOrDefault((type, number));

    /// <summary>The numbers of all extensions of a message; null if there is no such message.</summary>
    internal IEnumerable<int>? ExtensionNumbersOf(string type) =>
        _symbols.ContainsKey(type) ? _extensions.Keys.Where(key => key.Type == type).Select(key => key.Number).Order() : null;

    private void Add(FileDescriptor file)
    {
        if (!_files.TryAdd(file.Name, file))
        {
            return;
        }

        foreach (var import in file.Dependencies)
        {
            Add(import);
        }

        foreach (var service in file.Services)
        {
            _symbols[service.FullName] = file;
            foreach (var method in service.Methods)
            {
                _symbols[method.FullName] = file;
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

        foreach (var extension in file.Extensions.UnorderedExtensions)
        {
            Add(extension);
        }
    }

    private void Add(MessageDescriptor message)
    {
        _symbols[message.FullName] = message.File;
        foreach (var field in message.Fields.InDeclarationOrder())
        {
            _symbols[field.FullName] = message.File;
        }

        foreach (var oneof in message.Oneofs)
        {
            _symbols[oneof.FullName] = message.File;
        }

        foreach (var nested in message.NestedTypes)
        {
            Add(nested);
        }

        foreach (var type in message.EnumTypes)
        {
            Add(type);
        }

        foreach (var extension in message.Extensions.UnorderedExtensions)
        {
            Add(extension);
        }
    }

    private void Add(EnumDescriptor type)
    {
        _symbols[type.FullName] = type.File;
        foreach (var value in type.Values)
        {
            _symbols[value.FullName] = type.File;
        }
    }

    private void Add(FieldDescriptor extension)
    {
        _symbols[extension.FullName] = extension.File;
        _extensions[(extension.ExtendeeType.FullName, extension.FieldNumber)] = extension.File;
    }
}
