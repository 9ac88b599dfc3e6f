-- A watch begins with the team's latest messages.
create index chat_messages_team on chat_messages (team_id, sent_at, message_id);
