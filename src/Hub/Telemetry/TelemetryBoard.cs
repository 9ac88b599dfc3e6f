using Hub.Contracts.V1;
using Hub.Errors;
using Hub.Storage;

namespace Hub.Telemetry;

/// <summary>
/// The latest report that names each host. Anybody can send one, so it stays in memory, bounded in number, size and rate, and nothing but
/// its display depends on it.
/// </summary>
internal sealed class TelemetryBoard(TimeProvider time)
{
    /// <summary>Reports kept; the one longest unheard of goes first. With 32 KiB each this bounds the memory too.</summary>
    public const int ReportsMax = 1_000;

    /// <summary>Reports of one address in one window; a node sends one in five minutes.</summary>
    public const int PerAddressMax = 12;

    /// <summary>Addresses counted in one window; beyond it new ones are refused until the next.</summary>
    public const int AddressesMax = 10_000;

    private static readonly TimeSpan Window = TimeSpan.FromMinutes(1);

    private readonly Lock _gate = new();
    private readonly Dictionary<string, (IngestTelemetryRequest Report, long At)> _reports = new(StringComparer.Ordinal);
    private readonly Dictionary<string, int> _addresses = new(StringComparer.Ordinal);
    private long _windowStart;

    /// <exception cref="HubException">RATE_LIMITED.</exception>
    public void Take(string address, IngestTelemetryRequest report)
    {
        var now = time.NowMs();
        lock (_gate)
        {
            Count(address, now);
            if (_reports.Count >= ReportsMax && !_reports.ContainsKey(report.HostId))
            {
                _reports.Remove(_reports.MinBy(pair => pair.Value.At).Key);
            }

            _reports[report.HostId] = (report, now);
        }
    }

    public (IngestTelemetryRequest Report, long At)? Find(string hostId)
    {
        lock (_gate)
        {
            return _reports.TryGetValue(hostId, out var found) ? found : null;
        }
    }

    private void Count(string address, long now)
    {
        if (now - _windowStart >= Window.TotalMilliseconds)
        {
            _addresses.Clear();
            _windowStart = now;
        }

        var use = _addresses.GetValueOrDefault(address);
        if (use >= PerAddressMax || (use == 0 && _addresses.Count >= AddressesMax))
        {
            var reset = TimeSpan.FromMilliseconds(_windowStart + Window.TotalMilliseconds - now);
            throw new HubException(
                ErrorReason.RateLimited, $"At most {PerAddressMax} reports a minute from one address.",
                ("limit", $"{PerAddressMax}"), ("use", $"{use}"), ("reset_seconds", $"{Math.Ceiling(reset.TotalSeconds)}"))
            { RetryAfter = reset };
        }

        _addresses[address] = use + 1;
    }
}
