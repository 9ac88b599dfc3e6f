using Hub.Contracts.V1;

namespace Hub.Identity;

/// <summary>A role as code, as stored text and on the wire: the same three lists.</summary>
internal static class Roles
{
    public static TeamRole Parse(string stored) => Enum.Parse<TeamRole>(stored, ignoreCase: true);

    public static string ToText(this TeamRole role) => role.ToString().ToLowerInvariant();

    public static MemberRole ToMemberRole(this TeamRole role) => role switch
    {
        TeamRole.Owner => MemberRole.Owner,
        TeamRole.Admin => MemberRole.Admin,
        TeamRole.Member => MemberRole.Member,
        _ => MemberRole.Viewer,
    };

    /// <summary>The role asked for, or null if the request names none the Hub knows.</summary>
    public static TeamRole? ToTeamRole(this MemberRole role) => role switch
    {
        MemberRole.Owner => TeamRole.Owner,
        MemberRole.Admin => TeamRole.Admin,
        MemberRole.Member => TeamRole.Member,
        MemberRole.Viewer => TeamRole.Viewer,
        _ => null,
    };
}
