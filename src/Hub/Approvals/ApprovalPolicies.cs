using System.Text.RegularExpressions;
using Hub.Audit;
using Hub.Contracts.V1;
using Hub.Errors;
using Hub.Identity;
using Hub.Storage;

namespace Hub.Approvals;

/// <summary>The rule that holds a command, as it is written into the command's row.</summary>
internal sealed record ApprovalGate(string PolicyName, TeamRole ApproverRole, bool CreatorMayDecide)
{
    /// <summary>Of a command whose creator asked for the approval; no policy holds it.</summary>
    public static ApprovalGate Asked { get; } = new("", TeamRole.Admin, true);
}

/// <summary>Which commands of a team wait for a person, and who decides.</summary>
internal sealed partial class ApprovalPolicies(Store store)
{
    private const int PoliciesMax = 50;
    private const int TypesMax = 50;
    private const int NameLengthMax = 200;
    private const char Any = '*';

    private const string AllSql = """
        select team_id, policy_id, name, command_types, approver_role, creator_may_decide, updated_by, updated_at
        from approval_policies where team_id = @teamId order by policy_id
        """;

    private const string PutSql = """
        insert into approval_policies (team_id, policy_id, name, command_types, approver_role, creator_may_decide, updated_by, updated_at)
        values (@TeamId, @PolicyId, @Name, @CommandTypes, @ApproverRole, @CreatorMayDecide, @UpdatedBy, @UpdatedAt)
        on conflict (team_id, policy_id) do update set name = excluded.name, command_types = excluded.command_types,
            approver_role = excluded.approver_role, creator_may_decide = excluded.creator_may_decide, updated_by = excluded.updated_by,
            updated_at = excluded.updated_at
        """;

    public async Task<IReadOnlyList<ApprovalPolicy>> ListAsync(string teamId, CancellationToken cancellation)
    {
        var rows = await store.QueryAsync<PolicyRow>(TeamScope.Of(teamId), AllSql, new { teamId }, cancellation);
        return [.. rows.Select(row => row.ToPolicy())];
    }

    /// <exception cref="HubException">INVALID_FIELD, ITEMS_MAX.</exception>
    public async Task<ApprovalPolicy> PutAsync(TeamAccess team, PutApprovalPolicyRequest request, CancellationToken cancellation)
    {
        if (!IdPattern().IsMatch(request.PolicyId))
        {
            throw HubException.InvalidField("policy_id", "An id has 1 to 100 letters, digits, dots, dashes and underscores.");
        }

        if (request.Name.Length > NameLengthMax)
        {
            throw HubException.InvalidField("name", $"A name has at most {NameLengthMax} characters.");
        }

        if (request.CommandTypes.Count is 0 or > TypesMax || !request.CommandTypes.All(TypePattern().IsMatch))
        {
            throw HubException.InvalidField(
                "command_types", $"Name 1 to {TypesMax} command types, exactly or with an asterisk at the end, such as vm.*.");
        }

        var row = new PolicyRow
        {
            TeamId = team.TeamId,
            PolicyId = request.PolicyId,
            Name = request.Name.Length == 0 ? request.PolicyId : request.Name,
            CommandTypes = TextList.Write(request.CommandTypes),
            ApproverRole = RoleText(RoleOf(request.ApproverRole)),
            CreatorMayDecide = request.CreatorMayDecide,
            UpdatedBy = team.Caller.Name,
        };
        return await store.WriteAsync(
            team.TeamId,
            tx =>
            {
                var written = row with { UpdatedAt = tx.NowMs };
                tx.Execute(PutSql, written);
                var use = tx.QuerySingle<long>("select count(*) from approval_policies where team_id = @TeamId", written);
                if (use > PoliciesMax)
                {
                    throw new HubException(
                        ErrorReason.ItemsMax, $"A team has at most {PoliciesMax} policies.", ("limit", $"{PoliciesMax}"), ("use", $"{use - 1}"));
                }

                AuditLog.Append(
                    tx, team.TeamId, Actor.Of(team.Caller), AuditAction.ApprovalPolicyStored, written.PolicyId,
                    detail: $"{written.CommandTypes} by {written.ApproverRole}");
                return written.ToPolicy();
            },
            cancellation);
    }

    public Task DeleteAsync(TeamAccess team, string policyId, CancellationToken cancellation) =>
        store.WriteAsync(
            team.TeamId,
            tx =>
            {
                if (tx.Execute("delete from approval_policies where team_id = @TeamId and policy_id = @policyId", new { team.TeamId, policyId }) == 1)
                {
                    AuditLog.Append(tx, team.TeamId, Actor.Of(team.Caller), AuditAction.ApprovalPolicyRemoved, policyId);
                }
            },
            cancellation);

    /// <summary>The strictest of the team's rules for a command type, or null if none holds it.</summary>
    public static ApprovalGate? GateOf(StoreTransaction tx, string teamId, string commandType)
    {
        var holding = tx.Query<PolicyRow>(AllSql, new { teamId }).Where(row => TextList.Read(row.CommandTypes).Any(type => Fits(type, commandType)));
        return holding
            .Select(row => new ApprovalGate(row.Name, RoleOf(row.ApproverRole), row.CreatorMayDecide))
            .OrderByDescending(gate => gate.ApproverRole).ThenBy(gate => gate.CreatorMayDecide)
            .FirstOrDefault();
    }

    public static string RoleText(TeamRole role) => role.ToString().ToLowerInvariant();

    public static TeamRole RoleOf(string text) => text switch
    {
        "" or "admin" => TeamRole.Admin,
        "member" => TeamRole.Member,
        "owner" => TeamRole.Owner,
        _ => throw HubException.InvalidField("approver_role", "approver_role is member, admin or owner."),
    };

    private static bool Fits(string pattern, string type) =>
        pattern[^1] == Any ? type.StartsWith(pattern[..^1], StringComparison.Ordinal) : type == pattern;

    [GeneratedRegex(@"^[A-Za-z0-9._-]{1,100}\z")]
    private static partial Regex IdPattern();

    [GeneratedRegex(@"^(\*|[A-Za-z0-9._:-]{1,99}\*|[A-Za-z0-9._:-]{1,100})\z")]
    private static partial Regex TypePattern();

    private sealed record PolicyRow
    {
        public required string TeamId { get; init; }
        public required string PolicyId { get; init; }
        public required string Name { get; init; }
        public required string CommandTypes { get; init; }
        public required string ApproverRole { get; init; }
        public bool CreatorMayDecide { get; init; }
        public required string UpdatedBy { get; init; }
        public long UpdatedAt { get; init; }

        public ApprovalPolicy ToPolicy() => new()
        {
            Id = PolicyId,
            TeamId = TeamId,
            Name = Name,
            CommandTypes = { TextList.Read(CommandTypes) },
            ApproverRole = ApproverRole,
            CreatorMayDecide = CreatorMayDecide,
            UpdatedBy = UpdatedBy,
            UpdatedAt = EpochMs.ToTimestamp(UpdatedAt),
        };
    }
}
