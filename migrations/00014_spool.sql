-- +goose Up

-- A batch that waits on the collector's disk may get its identifier long after it
-- was made, and one that was restored from an old copy of the database may be
-- another's: the key tells whether the batch that has an identifier is this one.
alter table batches add column key bigint;
comment on column batches.key is 'drawn at random when the batch was made; tells it from every other, also from one with its id; null before there were keys';

-- Where each export session stood when the last of its batches was stored: what
-- comes after a crash is compared with it, and the gap is known.
create table parts.sequence (
	next               bigint not null,
	at                 timestamptz not null,
	observation_domain bigint not null,
	port               int not null,
	version            int not null,
	addr               inet not null,
	primary key (addr, port, observation_domain, version)
) with (fillfactor = 50);
comment on table parts.sequence is 'where each export session stood with its last stored batch, written in that batch''s transaction';
comment on column parts.sequence.next is 'the sequence number its next message is to carry, in flows (v5), datagrams (v9) or data records (IPFIX)';
comment on column parts.sequence.at is 'when its last message was received';
comment on column parts.sequence.observation_domain is 'observationDomainId (149); v9: source id; v5: engine type * 256 + engine id';
comment on column parts.sequence.port is 'the port its messages come from';
comment on column parts.sequence.version is '5, 9 or 10';
comment on column parts.sequence.addr is 'the source address of its messages';
alter table parts.sequence owner to flow_writer;
grant select on parts.sequence to flow_web, flow_reader;
