-- The mark by which the Hub's role is granted no update and no delete.
comment on table audit_log is 'append only';
