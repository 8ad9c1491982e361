-- +goose Up

-- A record that was read by a template of another port says so, and one that is the rest
-- of a total.
comment on column parts.flows.marks is 'what was done to the record, a sum of: 1 times repaired, 2 a value clamped, 4 duplicates seen, 8 no room for its hour, so its times are those of receipt, 16 read by a template that came from another port of the address, 32 the rest of a total of which a part may have been counted before';
comment on column flows.marks is 'what was done to the record, a sum of: 1 times repaired, 2 a value clamped, 4 duplicates seen, 8 no room for its hour, so its times are those of receipt, 16 read by a template that came from another port of the address, 32 the rest of a total of which a part may have been counted before';
