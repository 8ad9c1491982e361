-- +goose Up

-- A batch is what the collector commits at once. Its identifier is leased in
-- blocks, 64 at a time, before the rows are made; the same batch sent twice finds
-- its own row here, and stores nothing the second time. A batch that waits on the
-- collector's disk may get its identifier long after it was made, and one that was
-- restored from an old copy of the database may be another's: the key tells whether
-- the batch that has an identifier is this one.
create sequence parts.batch_block as int increment by 64;
comment on sequence parts.batch_block is 'the first of 64 batch identifiers that a collector may use';
alter sequence parts.batch_block owner to flow_writer;

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
	records       int not null,
	key           bigint
);
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
comment on column batches.key is 'drawn at random when the batch was made; tells it from every other, also from one with its id; null before there were keys';
-- What the roll-ups have still to take in.
create index batches_not_summed on batches (id) where summed_at is null;
-- What was received in a range is counted against what was lost in it, and only
-- batches tell which hours of flow_end that is in.
create index batches_received on batches (received_to, received_from);
-- What a question has to know of the roll-ups before it reads them.
create index batches_max_end on batches (max_end);
grant select, insert, update, delete on batches to flow_writer;
grant select on batches to flow_web, flow_reader;

-- Where each export session stood when the last of its batches was stored: what
-- comes after a crash is compared with it, and the gap is known. A crash must not
-- hide the numbers that were passed over and might still have come, nor from which
-- run of the collector on the session was followed: one that could not ask (the
-- database was away when it began) books the gap before it with its first batch.
create table parts.sequence (
	next               bigint not null,
	at                 timestamptz not null,
	observation_domain bigint not null,
	port               int not null,
	version            int not null,
	addr               inet not null,
	holes              bigint[] not null default '{}',
	epoch              bigint not null default 0,
	primary key (addr, port, observation_domain, version)
) with (fillfactor = 50);
comment on table parts.sequence is 'where each export session stood with its last stored batch, written in that batch''s transaction';
comment on column parts.sequence.next is 'the sequence number its next message is to carry, in flows (v5), datagrams (v9) or data records (IPFIX)';
comment on column parts.sequence.at is 'when its last message was received';
comment on column parts.sequence.observation_domain is 'observationDomainId (149); v9: source id; v5: engine type * 256 + engine id';
comment on column parts.sequence.port is 'the port its messages come from';
comment on column parts.sequence.version is '5, 9 or 10';
comment on column parts.sequence.addr is 'the source address of its messages';
comment on column parts.sequence.holes is 'ranges of numbers before next that were passed over and not yet booked as missing: from, to (excluded), from, to, …';
comment on column parts.sequence.epoch is 'drawn by the run of the collector that began to follow the session; later runs that knew where it stood keep it';
alter table parts.sequence owner to flow_writer;
grant select on parts.sequence to flow_web, flow_reader;
