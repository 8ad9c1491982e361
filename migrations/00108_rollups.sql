-- +goose Up

-- Traffic summed by minute, hour and day. As with flows, the tables belong to the
-- collector, which makes their partitions, so that they leave by partition; people
-- see views.

-- The same_… are flows whose two sides are equal, also when neither is said:
-- whoever asks about either side adds both and takes these off once.
create type traffic_dimension as enum
	('total', 'src_addr', 'dst_addr', 'pair', 'src_port', 'dst_port', 'in_if', 'out_if', 'src_as', 'dst_as',
	'same_addr', 'same_port', 'same_if', 'same_as');
comment on type traffic_dimension is 'what a roll-up row is a sum over';

-- +goose StatementBegin
do $$
declare
	grain record;
	a record;
begin
	for grain in values ('traffic_1m', 'minute', 'one partition a day'), ('traffic_1h', 'hour', 'one partition a month'), ('traffic_1d', 'day', 'one partition a year') loop
		-- Wide columns first: no byte is lost to alignment.
		execute format('create table parts.%I (
			bucket        timestamptz not null,
			flows         bigint not null,
			packets       bigint not null,
			bytes         bigint not null,
			number        bigint,
			exporter_id   int not null,
			dimension     traffic_dimension not null,
			sampling_rate int,
			part          int,
			protocol      smallint,
			remainder     boolean not null default false,
			addr          inet,
			addr2         inet,
			cut           bigint[]
		) partition by range (bucket)', grain.column1);

		-- Who follows a few values over time, or asks what may be missing of them,
		-- reads their rows and the remainders, not all rows of a dimension. Of
		-- minutes, hosts alone have that: an index costs as much as a quarter of
		-- their rows, 6 bytes a flow at 20 million flows a day.
		execute format('create index on parts.%I (dimension, bucket)', grain.column1);
		execute format($f$create index on parts.%I (dimension, addr, bucket) where dimension in ('src_addr', 'dst_addr')$f$, grain.column1);
		execute format('create index on parts.%I (dimension, bucket) where remainder', grain.column1);
		if grain.column1 <> 'traffic_1m' then
			execute format($f$create index on parts.%I (dimension, number, bucket) where dimension in ('src_port', 'dst_port')$f$, grain.column1);
		end if;

		execute format('comment on table parts.%I is %L', grain.column1,
			'traffic by ' || grain.column2 || ', ' || grain.column3 || ' (UTC) of bucket');
		for a in values
			('bucket', 'begin of the ' || grain.column2 || ', UTC'),
			('flows', 'flows that start in the bucket'),
			('packets', 'packets as sent that lie in the bucket'),
			('bytes', 'IP octets as sent that lie in the bucket'),
			('number', 'the port, ifIndex or AS number of those dimensions; null when the flows did not say'),
			('exporter_id', 'exporters.id'),
			('dimension', 'which of addr, addr2 and number the row has; same_… are flows whose two sides are equal, also when neither is said'),
			('sampling_rate', 'N of 1:N, null when not known'),
			('part', 'null once the bucket is settled; before, the first batch of those that were summed at once: a value then has a row for each part'),
			('protocol', 'IP protocol number'),
			('remainder', 'true: the sum of all values of the dimension that have no row of their own'),
			('addr', 'the address of src_addr, dst_addr and same_addr, the source of pair; null when the flows did not say'),
			('addr2', 'the destination of pair; null when the flows did not say'),
			('cut', 'flows, packets and bytes. In a remainder row: the most that any value without a row can have of each. In another: how much more of its value the remainder can hold, null: nothing, the row is exact')
		loop
			execute format('comment on column parts.%I.%I is %L', grain.column1, a.column1, a.column2);
		end loop;
		execute format('alter table parts.%I owner to flow_writer', grain.column1);

		execute format('create view %I as select bucket, exporter_id, sampling_rate, protocol, dimension, addr, addr2, number,
			remainder, cut, flows, packets, bytes, part from parts.%1$I', grain.column1);
		execute format('comment on view %I is %L', grain.column1,
			'traffic by ' || grain.column2 || ': flows where they start, packets and bytes pro rata over the life of each flow');
		for a in
			select v.attname, col_description(format('parts.%I', grain.column1)::regclass, f.attnum) as text
			from pg_attribute v
			join pg_attribute f on f.attrelid = format('parts.%I', grain.column1)::regclass and f.attname = v.attname
			where v.attrelid = grain.column1::regclass and v.attnum > 0
		loop
			execute format('comment on column %I.%I is %L', grain.column1, a.attname, a.text);
		end loop;
		execute format('grant select on %I to flow_writer, flow_web, flow_reader', grain.column1);
		execute format('grant select on parts.%I to flow_web', grain.column1);
	end loop;
end
$$;
-- +goose StatementEnd

create table parts.pending (
	bucket     timestamptz not null,
	created_at timestamptz not null default clock_timestamp(),
	part       int not null,
	grain      smallint not null,
	sums       bytea not null
);
-- They are packed already: the server need not try to compress them.
alter table parts.pending alter column sums set storage external;
create index pending_bucket on parts.pending (grain, bucket);
comment on table parts.pending is 'sums that a bucket of a roll-up still has to take in when it is settled; the minutes'' are in traffic_1m, too, as parts';
comment on column parts.pending.bucket is 'begin of the bucket, UTC';
comment on column parts.pending.created_at is 'since when';
comment on column parts.pending.part is 'the part that they are of';
comment on column parts.pending.grain is '0 a minute, 1 an hour, 2 a day';
comment on column parts.pending.sums is 'every value and its sums, in the collector''s own form';
alter table parts.pending owner to flow_writer;
grant select on parts.pending to flow_web;
grant select (bucket, created_at, part, grain) on parts.pending to flow_reader;

create table parts.settled (
	bucket     timestamptz not null,
	settled_at timestamptz not null,
	grain      smallint not null,
	primary key (grain, bucket)
);
comment on table parts.settled is 'the buckets of the roll-ups that were settled: ended, and cut to the largest values and a remainder; an hour or a day has rows from then on';
comment on column parts.settled.bucket is 'begin of the bucket, UTC';
comment on column parts.settled.settled_at is 'when, the last time';
comment on column parts.settled.grain is '0 a minute, 1 an hour, 2 a day';
alter table parts.settled owner to flow_writer;
grant select on parts.settled to flow_reader, flow_web;

create table parts.traffic (
	from_time  timestamptz not null,
	to_time    timestamptz not null,
	changed_at timestamptz not null default now(),
	grain      smallint not null,
	name       text primary key
);
comment on table parts.traffic is 'the partitions of the roll-ups';
comment on column parts.traffic.from_time is 'the first bucket it holds';
comment on column parts.traffic.to_time is 'the first bucket it does not hold';
comment on column parts.traffic.changed_at is 'when something was added last, to the hour';
comment on column parts.traffic.grain is '0 minutes, 1 hours, 2 days';
comment on column parts.traffic.name is 'the table''s name in schema parts';
alter table parts.traffic owner to flow_writer;
grant select on parts.traffic to flow_web;

-- A roll-up may have been summed when one of its dimensions was not known yet; a
-- question then has to read flows. A new database has none that is so old.
create table parts.dimension (
	since timestamptz not null,
	name  text primary key
);
comment on table parts.dimension is 'the dimensions of the roll-ups that were added later, and since when they are complete';
comment on column parts.dimension.since is 'no bucket before has it; -infinity: all have it';
comment on column parts.dimension.name is 'the dimension';
alter table parts.dimension owner to flow_writer;
grant select on parts.dimension to flow_reader, flow_web;
insert into parts.dimension (name, since) values
	('same_addr', '-infinity'), ('same_port', '-infinity'), ('same_if', '-infinity'), ('same_as', '-infinity');
