-- +goose Up

-- A partition of flows holds an hour, or, where flows are old and few, a day, a
-- month or years: a stranger whose times are anywhere makes some hundred tables
-- and not a table for each hour of his times.
alter table parts.partition add column until timestamptz;
update parts.partition set until = hour + interval '1 hour';
alter table parts.partition alter column until set not null;
comment on column parts.partition.hour is 'the begin of the flow_end it holds, a whole hour, UTC';
comment on column parts.partition.until is 'the end of the flow_end it holds, excluded: an hour later, or, for flows that were few and old when they came, up to years';
comment on table parts.flows is 'flow records, one partition an hour (UTC) of flow_end, longer ones where flows are old and few; a flow is one direction of a conversation';

-- +goose StatementBegin
create or replace function flows_until("to" timestamptz) returns timestamptz
language sql stable parallel safe as $$
	select coalesce(max(p.until), "to") from parts.partition p where p.min_start < "to"
$$;
-- +goose StatementEnd

-- What is known of exporters whose times are scattered.
create table parts.moved (
	last_at     timestamptz not null,
	records     bigint not null,
	exporter_id int primary key
);
comment on table parts.moved is 'flows that were given their time of receipt (marks & 8), because their exporter sent flows of too many hours that are past';
comment on column parts.moved.last_at is 'when the last of them was received, to the report';
comment on column parts.moved.records is 'how many';
comment on column parts.moved.exporter_id is 'exporters.id';
alter table parts.moved owner to flow_writer;
grant select on parts.moved to flow_reader, flow_web;

-- What the page says of a collector that cannot store: the collector writes it
-- with its reports, as long as these can be stored.
create table parts.writer (
	reported_at   timestamptz not null default clock_timestamp(),
	stopped_since timestamptz,
	waiting       bigint not null,
	name          text primary key,
	reason        text
);
comment on table parts.writer is 'what each collector last said of its storing';
comment on column parts.writer.reported_at is 'when it said so';
comment on column parts.writer.stopped_since is 'since when it cannot store, null: it can';
comment on column parts.writer.waiting is 'batches that wait in its spool';
comment on column parts.writer.name is 'the name of its machine, and its spool';
comment on column parts.writer.reason is 'why it cannot store, null: it can';
alter table parts.writer owner to flow_writer;
grant select on parts.writer to flow_reader, flow_web;

-- An exporter that was made up can be forgotten, by who describes exporters: what
-- is known of it goes, and its part of the ledger. Its flows stay, under its
-- number. When it sends again, it is an exporter that is new.
-- +goose StatementBegin
create function parts.forget_exporter(gone int) returns boolean
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
	known boolean;
begin
	delete from parts.sequence s using parts.exporter e
		where e.id = gone and s.addr = e.addr and s.observation_domain = e.observation_domain;
	delete from parts.exporter where id = gone;
	known := found;
	delete from public.exporter_status where exporter_id = gone;
	delete from public.interfaces where exporter_id = gone;
	delete from public.loss where exporter_id = gone and gone <> 0;
	delete from parts.moved where exporter_id = gone;
	return known;
end
$$;
-- +goose StatementEnd
comment on function parts.forget_exporter(int) is 'deletes what is known of an exporter, and its part of the ledger; its flows stay; false: there was none';
revoke execute on function parts.forget_exporter(int) from public;
alter function parts.forget_exporter(int) owner to flow_writer;
grant execute on function parts.forget_exporter(int) to flow_web;

create table console.left_out (
	changed_at timestamptz not null default now(),
	id         int primary key
);
comment on table console.left_out is 'the exporters whose losses people leave out of the totals of all';
comment on column console.left_out.changed_at is 'when a person said so';
comment on column console.left_out.id is 'parts.exporter.id';
grant select, insert, update, delete on console.left_out to flow_web;
