using Hub.Commands;
using Hub.Hosting;
using Hub.Links;
using Hub.TestKit;
using Microsoft.Extensions.Hosting;

namespace Hub.IntegrationTests;

/// <summary>
/// Does now what the Hub does at its next tick. A test that moved the clock does not have to wait until the Hub's own timers, which fire on
/// other threads, have done their work.
/// </summary>
internal static class Sweeps
{
    public static Task SweepCommandsAsync(this HubHost hub) =>
        hub.Service<IEnumerable<IHostedService>>().OfType<CommandClock>().Single().SweepAsync(CancellationToken.None).Within();

    public static Task RenewReplicaAsync(this HubHost hub) =>
        hub.Service<IEnumerable<IHostedService>>().OfType<LinkClock>().Single().RenewReplicaAsync(CancellationToken.None).Within();

    public static Task SweepRetentionAsync(this HubHost hub) =>
        hub.Service<IEnumerable<IHostedService>>().OfType<Retention>().Single().SweepAsync(CancellationToken.None).Within();

    public static Task SweepQuarantinesAsync(this HubHost hub) =>
        hub.Service<CloneQuarantine>().SweepAsync(CancellationToken.None).Within();

    public static Task SweepPresenceAsync(this HubHost hub) =>
        hub.Service<Hub.Hosts.Presence>().SweepAsync(CancellationToken.None).Within();
}
