-- When more of what a deleted host has left is due to be erased; null where nothing is.
alter table hosts add column erase_at bigint;
update hosts set erase_at = deleted_at where deleted_at is not null;
create index hosts_erase_at on hosts (erase_at) where erase_at is not null;
