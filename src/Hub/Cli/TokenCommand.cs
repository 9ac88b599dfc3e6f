using System.CommandLine;
using Hub.Audit;
using Hub.Hosts;
using Hub.Identity;
using Hub.Orgs;
using Hub.Storage;
using Microsoft.Extensions.Logging.Abstractions;

namespace Hub.Cli;

/// <summary>`hub token join|api-key|user`: prints a credential and nothing else, for scripts.</summary>
internal static class TokenCommand
{
    private const string CreatedBy = "hub token";

    public static Command Create()
    {
        var team = new Option<string>("--team") { Description = "The team it is for; created if it is the default one.", DefaultValueFactory = _ => Accounts.DefaultTeam };
        var command = new Command("token", "Prints a credential. It speaks to the database directly, so it needs the settings of `hub serve`.")
        {
            Join(team),
            ApiKey(team),
            User(team),
        };
        return command;
    }

    private static Command Join(Option<string> team)
    {
        var host = new Option<string?>("--host") { Description = "Id of the host it leads back to; a new host without it." };
        var command = new Command("join", "A join token, with which a node registers.") { team, host };
        command.SetAction((parsed, cancellation) => PrintAsync(
            parsed.GetValue(team)!,
            async tools =>
            {
                var token = await tools.Enrolment.IssueJoinTokenAsync(parsed.GetValue(team)!, parsed.GetValue(host), Actor.Operator with { Name = CreatedBy }, cancellation);
                return token.Token;
            },
            cancellation));
        return command;
    }

    private static Command ApiKey(Option<string> team)
    {
        var name = new Option<string>("--name") { Description = "What it is for.", DefaultValueFactory = _ => "api-key" };
        var role = RoleOption(TeamRole.Member);
        var command = new Command("api-key", "An API key, for scripts.") { team, name, role };
        command.SetAction((parsed, cancellation) => PrintAsync(
            parsed.GetValue(team)!,
            tools => tools.Accounts.IssueApiKeyAsync(parsed.GetValue(team)!, parsed.GetValue(name)!, parsed.GetValue(role), CreatedBy, cancellation),
            cancellation));
        return command;
    }

    private static Command User(Option<string> team)
    {
        var email = new Option<string>("--email") { Description = "The person; created if new.", Required = true };
        var role = RoleOption(TeamRole.Owner);
        var days = new Option<int>("--days") { Description = "Days until it ends, 1 to 365.", DefaultValueFactory = _ => (int)UserTokens.LifetimeDefault.TotalDays };
        days.Validators.Add(result =>
        {
            if (result.GetValue(days) is < 1 or > 365)
            {
                result.AddError("--days is 1 to 365.");
            }
        });
        var command = new Command("user", "A user token (JWT), for people and dashboards.") { team, email, role, days };
        command.SetAction((parsed, cancellation) => PrintAsync(
            parsed.GetValue(team)!,
            tools => tools.Accounts.IssueUserTokenAsync(
                parsed.GetValue(email)!, parsed.GetValue(team)!, parsed.GetValue(role), TimeSpan.FromDays(parsed.GetValue(days)), cancellation),
            cancellation));
        return command;
    }

    private static Option<TeamRole> RoleOption(TeamRole role) =>
        new("--role") { Description = "viewer, member, admin or owner.", DefaultValueFactory = _ => role };

    private static async Task<int> PrintAsync(string team, Func<Tools, Task<string>> issue, CancellationToken cancellation)
    {
        var settings = HubCommandLine.ReadSettings();
        Directory.CreateDirectory(settings.DataDirectory);
        var time = TimeProvider.System;
        await using var store = await Store.OpenAsync(settings.Store, time, NullLoggerFactory.Instance, cancellation);
        using var tokens = settings.SigningKeyPem is { } pem ? UserTokens.FromPem(pem, time) : UserTokens.FromFile(settings.SigningKeyPath, time);
        var accounts = new Accounts(store, tokens, new ApiKeys(store), time);
        if (team == Accounts.DefaultTeam)
        {
            await accounts.EnsureTeamAsync(team, cancellation);
        }
        else if (!await accounts.TeamExistsAsync(team, cancellation))
        {
            await Console.Error.WriteLineAsync($"There is no team '{team}'.");
            return 1;
        }

        Console.WriteLine(await issue(new Tools(accounts, new Enrolment(store, time))));
        return 0;
    }

    private sealed record Tools(Accounts Accounts, Enrolment Enrolment);
}
