-- +goose Up

-- What leaves, when, and what is left: partitions go by age, and the oldest when
-- there is no room.

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
grant select on parts.hour to flow_reader, flow_web;

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
grant select on parts.removal to flow_web;

create table parts.reach (
	cut_before timestamptz not null,
	source     text primary key
);
comment on table parts.reach is 'how far back retention has cut';
comment on column parts.reach.cut_before is 'what lies before may be incomplete or gone';
comment on column parts.reach.source is 'flows, traffic_1m, traffic_1h or traffic_1d';
alter table parts.reach owner to flow_writer;
grant select on parts.reach to flow_reader, flow_web;

create view reach as
select s.source, r.cut_before,
	case s.source
		when 'flows' then (select min(p.hour) from parts.partition p)
		when 'traffic_1m' then (select min(t.from_time) from parts.traffic t where t.grain = 0)
		when 'traffic_1h' then (select min(t.from_time) from parts.traffic t where t.grain = 1)
		else (select min(t.from_time) from parts.traffic t where t.grain = 2)
	end as first
from (values ('flows'), ('traffic_1m'), ('traffic_1h'), ('traffic_1d')) s (source)
left join parts.reach r on r.source = s.source;
comment on view reach is 'how far back flows and each roll-up reach, and whether retention cut them';
comment on column reach.source is 'flows, traffic_1m, traffic_1h or traffic_1d';
comment on column reach.cut_before is 'what lies before was, or may have been, removed by retention; null: nothing was';
comment on column reach.first is 'the begin of the earliest partition there is, null: there is none';
grant select on reach to flow_writer, flow_web, flow_reader;

-- How much room the database may take: what the collector's house-keeping goes by,
-- for the page to say.
create table parts.retention (
	checked_at timestamptz not null,
	size       bigint not null,
	size_limit bigint,
	one        boolean primary key default true check (one),
	set_by     text not null
);
comment on table parts.retention is 'how much room the database may take, as its Keeper has it; one row';
comment on column parts.retention.checked_at is 'when the Keeper looked last';
comment on column parts.retention.size is 'octets that the database took then, without what is on its way out';
comment on column parts.retention.size_limit is 'octets beyond which the oldest flows go, null: only their age counts';
comment on column parts.retention.one is 'true';
comment on column parts.retention.set_by is 'where the limit comes from, or why there is none';
grant select on parts.retention to flow_web, flow_reader;
grant select, insert, update, delete on parts.retention to flow_writer;

-- Where PostgreSQL keeps its data is for superusers to know, and for who may read
-- all settings. The collector's role asks for this alone, with the rights of
-- whoever migrates; when these do not reach it learns nothing. A directory of the
-- collector's machine that has the same name and has changed in the same second is
-- the same one.
-- +goose StatementBegin
create function parts.data_directory(out path text, out changed_at timestamptz)
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
	path := current_setting('data_directory');
	changed_at := (pg_stat_file('.')).modification;
exception when insufficient_privilege then
	path := null;
end
$$;
-- +goose StatementEnd
comment on function parts.data_directory() is 'where PostgreSQL keeps its data, and when that directory last changed; null when it may not be known';
revoke execute on function parts.data_directory() from public;
grant execute on function parts.data_directory() to flow_writer;
