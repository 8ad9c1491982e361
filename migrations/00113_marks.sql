-- +goose Up

-- A record that was read by a template of another port says so.
comment on column parts.flows.marks is 'what was done to the record, a sum of: 1 times repaired, 2 a value clamped, 4 duplicates seen, 8 no room for its hour, so its times are those of receipt, 16 read by a template that came from another port of the address';
comment on column flows.marks is 'what was done to the record, a sum of: 1 times repaired, 2 a value clamped, 4 duplicates seen, 8 no room for its hour, so its times are those of receipt, 16 read by a template that came from another port of the address';
