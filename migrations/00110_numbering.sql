-- +goose Up

-- What an exporter's sequence numbers count, since when its sampling rate is known,
-- and who sends what cannot be read.

alter table exporter_status
	add column unexplained bigint not null default 0,
	add column numbering text,
	add column numbering_shared boolean not null default false,
	add column sampling_at timestamptz,
	add column sampling_provisional boolean not null default false;
comment on column exporter_status.unexplained is 'how often its numbers jumped by more than it can have sent, or its totals by more than it can have lost; taken for a new beginning';
comment on column exporter_status.numbering is 'what its sequence numbers count: records, messages, flows (without those of options), all (with templates), data_messages, nothing; with _after, what a message has itself is in its number';
comment on column exporter_status.numbering_shared is 'the numbers of several observation domains are those of one counter';
comment on column exporter_status.sampling_at is 'when sampling_rate was announced last in options, null when not known';
comment on column exporter_status.sampling_provisional is 'the exporter started again since, and has not announced it again yet';

alter table parts.sequence
	add column numbering smallint not null default 0,
	add column rate bigint not null default 0,
	add column member boolean not null default false;
comment on column parts.sequence.numbering is 'what its numbers were found to count, 0 when they were not yet (see exporter_status.numbering)';
comment on column parts.sequence.rate is 'how many of these came in its best second, 0 when not known';
comment on column parts.sequence.member is 'its numbers are those of another session of its address, port and version';

create table unreadable (
	first_seen timestamptz not null,
	last_seen  timestamptz not null,
	datagrams  bigint not null,
	addr       inet primary key,
	first_bytes bytea not null,
	guess      text not null,
	error      text
) with (fillfactor = 50);
comment on table unreadable is 'who sent what cannot be read, of the last seven days';
comment on column unreadable.first_seen is 'when the first came';
comment on column unreadable.last_seen is 'when the last came';
comment on column unreadable.datagrams is 'how many came in this run of the collector';
comment on column unreadable.addr is 'the source address';
comment on column unreadable.first_bytes is 'how the last one began';
comment on column unreadable.guess is 'what it probably is';
comment on column unreadable.error is 'why it could not be read, null when it is no flow export at all';
grant select, insert, update, delete on unreadable to flow_writer;
grant select on unreadable to flow_web, flow_reader;
