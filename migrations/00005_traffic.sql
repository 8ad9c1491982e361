-- +goose Up

create type traffic_dimension as enum
	('total', 'src_addr', 'dst_addr', 'pair', 'src_port', 'dst_port', 'in_if', 'out_if', 'src_as', 'dst_as');
comment on type traffic_dimension is 'what a roll-up row is a sum over';

create table traffic_1m (
	bucket        timestamptz not null,
	number        bigint,
	flows         bigint not null,
	packets       bigint not null,
	bytes         bigint not null,
	exporter_id   int not null,
	sampling_rate int,
	dimension     traffic_dimension not null,
	protocol      smallint,
	remainder     boolean not null default false,
	addr          inet,
	addr2         inet,
	cut           bigint[]
);
comment on table traffic_1m is 'traffic by minute: flows where they start, packets and bytes pro rata over the life of each flow';
comment on column traffic_1m.bucket is 'begin of the minute, UTC';
comment on column traffic_1m.number is 'the port, ifIndex or AS number of those dimensions';
comment on column traffic_1m.flows is 'flows that start in the bucket';
comment on column traffic_1m.packets is 'packets as sent that lie in the bucket';
comment on column traffic_1m.bytes is 'IP octets as sent that lie in the bucket';
comment on column traffic_1m.exporter_id is 'exporters.id';
comment on column traffic_1m.sampling_rate is 'N of 1:N, null when not known';
comment on column traffic_1m.dimension is 'which of addr, addr2 and number the row has';
comment on column traffic_1m.protocol is 'IP protocol number';
comment on column traffic_1m.remainder is 'true: the sum of all values of the dimension that were too small to keep a row';
comment on column traffic_1m.addr is 'the address of src_addr and dst_addr, the source of pair';
comment on column traffic_1m.addr2 is 'the destination of pair';
comment on column traffic_1m.cut is 'in a remainder row: the largest flows, packets and bytes of a value that was cut';

create table traffic_1h (like traffic_1m including all);
comment on table traffic_1h is 'traffic by hour, otherwise like traffic_1m';
comment on column traffic_1h.bucket is 'begin of the hour, UTC';
create table traffic_1d (like traffic_1m including all);
comment on table traffic_1d is 'traffic by day, otherwise like traffic_1m';
comment on column traffic_1d.bucket is 'begin of the day, UTC';
