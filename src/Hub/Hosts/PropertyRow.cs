using Hub.Contracts.V1;
using Hub.Storage;

namespace Hub.Hosts;

/// <summary>A property of a host as one query reads it.</summary>
internal sealed record PropertyRow
{
    public const string Columns = """
        p.team_id, p.host_id, p.name, p.desired, p.desired_generation, p.desired_by, p.desired_at, p.reported, p.reported_generation,
        p.reported_at, p.error
        """;

    public required string TeamId { get; init; }
    public required string HostId { get; init; }
    public required string Name { get; init; }
    public string? Desired { get; init; }
    public long DesiredGeneration { get; init; }
    public required string DesiredBy { get; init; }
    public long? DesiredAt { get; init; }
    public string? Reported { get; init; }
    public long ReportedGeneration { get; init; }
    public long? ReportedAt { get; init; }
    public required string Error { get; init; }

    public bool Converged => Desired is null || (ReportedGeneration >= DesiredGeneration && Error.Length == 0);

    public HostProperty ToProperty() => new()
    {
        Key = Name,
        Desired = StoredJson.ReadValue(Desired),
        DesiredGeneration = DesiredGeneration,
        DesiredBy = DesiredBy,
        DesiredAt = EpochMs.ToTimestamp(DesiredAt),
        Reported = StoredJson.ReadValue(Reported),
        ReportedGeneration = ReportedGeneration,
        ReportedAt = EpochMs.ToTimestamp(ReportedAt),
        Error = Error,
        Converged = Converged,
    };
}
