-- What a team's plan no longer keeps is found by its date.
create index records_dated on records (team_id, collection, version) where deleted_at is null;
