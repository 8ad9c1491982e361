-- +goose Up

-- What a crash must not hide, besides where a session stood: the numbers that were
-- passed over and might still have come; and from which run of the collector on it
-- was followed, so that one that could not ask (the database was away when it
-- began) books the gap before it with its first batch.
alter table parts.sequence
	add column holes bigint[] not null default '{}',
	add column epoch bigint not null default 0;
comment on column parts.sequence.holes is 'ranges of numbers before next that were passed over and not yet booked as missing: from, to (excluded), from, to, …';
comment on column parts.sequence.epoch is 'drawn by the run of the collector that began to follow the session; later runs that knew where it stood keep it';
