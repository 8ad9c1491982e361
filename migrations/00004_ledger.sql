-- +goose Up

-- A batch is what the collector commits at once. Its identifier is leased in
-- blocks, 64 at a time, before the rows are made; the same batch sent twice finds
-- its own row here, and stores nothing the second time.
create sequence parts.batch_block as int increment by 64;
comment on sequence parts.batch_block is 'the first of 64 batch identifiers that a collector may use';

create table batches (
	committed_at  timestamptz not null default clock_timestamp(),
	received_from timestamptz not null,
	received_to   timestamptz not null,
	min_end       timestamptz not null,
	max_end       timestamptz not null,
	packets       bigint not null,
	bytes         bigint not null,
	summed_at     timestamptz,
	id            int primary key,
	records       int not null
);
create index batches_not_summed on batches (id) where summed_at is null;
comment on table batches is 'what was stored at once, and whether the roll-ups have it';
comment on column batches.committed_at is 'when it was stored';
comment on column batches.received_from is 'the earliest received_at in it';
comment on column batches.received_to is 'the latest received_at in it';
comment on column batches.min_end is 'the earliest flow_end in it';
comment on column batches.max_end is 'the latest flow_end in it';
comment on column batches.packets is 'sum of packets, at most 2^63-1';
comment on column batches.bytes is 'sum of bytes, at most 2^63-1';
comment on column batches.summed_at is 'when the roll-ups took it in, null before';
comment on column batches.id is 'flows.batch';
comment on column batches.records is 'how many rows it has in flows';

create table exporter_status (
	exporter_id     int primary key,
	version         int not null,
	first_seen      timestamptz not null,
	last_seen       timestamptz not null,
	updated_at      timestamptz not null,
	clock_offset_ms bigint not null,
	datagrams       bigint not null,
	records         bigint not null,
	packets         bigint not null,
	bytes           bigint not null,
	templates       bigint not null,
	sampling_rate   bigint
) with (fillfactor = 50);
comment on table exporter_status is 'what the collector knows of each exporter, renewed every second; the counts are of this run of the collector';
comment on column exporter_status.exporter_id is 'exporters.id';
comment on column exporter_status.version is 'the last NetFlow version seen: 5, 9 or 10';
comment on column exporter_status.first_seen is 'when its first message of this run was received';
comment on column exporter_status.last_seen is 'when its last message was received';
comment on column exporter_status.updated_at is 'when the collector wrote this row';
comment on column exporter_status.clock_offset_ms is 'export time of its last message less its time of receipt, milliseconds';
comment on column exporter_status.datagrams is 'datagrams decoded';
comment on column exporter_status.records is 'flow records decoded';
comment on column exporter_status.packets is 'packets in these records, as sent';
comment on column exporter_status.bytes is 'IP octets in these records, as sent';
comment on column exporter_status.templates is 'templates known now';
comment on column exporter_status.sampling_rate is 'N of 1:N last announced, null when not known';

create table interfaces (
	exporter_id int not null,
	if_index    bigint not null,
	speed       bigint,
	updated_at  timestamptz not null default now(),
	name        text,
	description text,
	primary key (exporter_id, if_index)
);
comment on table interfaces is 'what exporters say about their interfaces';
comment on column interfaces.exporter_id is 'exporters.id';
comment on column interfaces.if_index is 'ifIndex, as in flows.in_if and flows.out_if';
comment on column interfaces.speed is 'bits per second, null when not known';
comment on column interfaces.updated_at is 'when this was last said';
comment on column interfaces.name is 'interfaceName (82)';
comment on column interfaces.description is 'interfaceDescription (83)';

create table loss (
	minute      timestamptz not null,
	exporter_id int not null,
	stage       text not null,
	cause       text not null,
	unit        text not null,
	count       bigint not null,
	primary key (minute, exporter_id, stage, cause, unit)
);
comment on table loss is 'what was lost, by minute, exporter, stage and cause';
comment on column loss.minute is 'the minute in which the loss was noticed, its begin, UTC';
comment on column loss.exporter_id is 'exporters.id, 0 when it cannot be told whose it was';
comment on column loss.stage is 'where: way, receive, decode, store';
comment on column loss.cause is 'why, a word of the stage''s own list';
comment on column loss.unit is 'what count counts: packet, record, datagram, set';
comment on column loss.count is 'how many';
