-- A watch begins with the team's latest messages.
create index chat_messages_team on chat_messages (team_id, sent_at, message_id);
-- And with its open conflicts.
create index sync_conflicts_open on sync_conflicts (team_id, created_at, conflict_id) where resolved_at is null;
