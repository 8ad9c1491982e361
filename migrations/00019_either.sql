-- +goose Up

-- Flows whose two sides are equal, also when neither is said: whoever asks about
-- either side adds both and takes these off once. (A value that an enum gets may
-- not be used in the same transaction.)
alter type traffic_dimension add value 'same_addr';
alter type traffic_dimension add value 'same_port';
alter type traffic_dimension add value 'same_if';
alter type traffic_dimension add value 'same_as';

create table parts.dimension (
	since timestamptz not null,
	name  text primary key
);
comment on table parts.dimension is 'the dimensions of the roll-ups that were added later, and since when they are complete';
comment on column parts.dimension.since is 'no bucket before has it; -infinity: all have it';
comment on column parts.dimension.name is 'the dimension';
alter table parts.dimension owner to flow_writer;
grant select on parts.dimension to flow_reader, flow_web;

-- What waits to be settled does not have them either.
insert into parts.dimension (name, since)
select name, (select coalesce(max(bucket) + interval '1 minute', '-infinity')
	from (select max(bucket) as bucket from parts.traffic_1m union all select max(bucket) from parts.pending) b)
from (values ('same_addr'), ('same_port'), ('same_if'), ('same_as')) d (name);

-- +goose StatementBegin
do $$
declare
	grain text;
	a record;
begin
	foreach grain in array array['traffic_1m', 'traffic_1h', 'traffic_1d'] loop
		for a in values
			('dimension', 'which of addr, addr2 and number the row has; same_… are flows whose two sides are equal, also when neither is said'),
			('addr', 'the address of src_addr, dst_addr and same_addr, the source of pair; null when the flows did not say')
		loop
			execute format('comment on column parts.%I.%I is %L', grain, a.column1, a.column2);
			execute format('comment on column %I.%I is %L', grain, a.column1, a.column2);
		end loop;
	end loop;
end
$$;
-- +goose StatementEnd
