-- A re-sync compares ranges of ids in the order of their bytes, whatever language the database sorts by.
alter table records alter column record_id type text collate "C";
