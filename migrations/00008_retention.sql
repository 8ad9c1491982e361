-- +goose Up

create table parts.hour (
	hour          timestamptz primary key,
	last_received timestamptz not null,
	records       bigint not null
);
comment on table parts.hour is 'what the roll-ups took in of each partition of parts.flows; the age of a partition is that of its last receipt';
comment on column parts.hour.hour is 'parts.partition.hour';
comment on column parts.hour.last_received is 'the latest received_at in it';
comment on column parts.hour.records is 'how many rows of it are summed';
alter table parts.hour owner to flow_writer;

-- A partition that leaves is in this table from before it is detached until it is
-- dropped: whoever finds it here, after a crash, goes on. It is known by its oid,
-- because another one of the same name may have been made meanwhile.
create table parts.removal (
	since  timestamptz not null default now(),
	id     oid primary key,
	parent text not null,
	name   text not null
);
comment on table parts.removal is 'partitions on their way out: to be detached, then dropped';
comment on column parts.removal.since is 'when it was decided';
comment on column parts.removal.id is 'the table''s oid';
comment on column parts.removal.parent is 'the table in schema parts that it is, or was, a partition of';
comment on column parts.removal.name is 'its name in schema parts, when it was decided';
alter table parts.removal owner to flow_writer;

create table parts.reach (
	cut_before timestamptz not null,
	source     text primary key
);
comment on table parts.reach is 'how far back retention has cut';
comment on column parts.reach.cut_before is 'what lies before may be incomplete or gone';
comment on column parts.reach.source is 'flows, traffic_1m, traffic_1h or traffic_1d';
alter table parts.reach owner to flow_writer;

grant select on parts.hour, parts.reach to flow_reader, flow_web;
grant select on parts.removal to flow_web;
grant delete on batches to flow_writer;
