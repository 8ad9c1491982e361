-- +goose Up

-- The ledger: what did not become a row of flows, and why. It is asked by range,
-- which the primary key answers, and by exporter.

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
comment on column loss.stage is 'where: exporter (by its own word), way, receive, decode, store';
comment on column loss.cause is 'why, a word of the stage''s own list';
comment on column loss.unit is 'what count counts: packet, record, datagram, set';
comment on column loss.count is 'how many';
create index loss_exporter on loss (exporter_id, minute);
grant select, insert, update, delete on loss to flow_writer;
grant select on loss to flow_web, flow_reader;
