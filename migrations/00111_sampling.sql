-- +goose Up

-- A sampling rate that people say counts in every sum, also of rows that were stored
-- before: rows keep what was announced, and one function says which of the two counts.
-- Whoever takes the rate back has what was announced again.
--
-- From when on it holds is cut to the minute: a minute of a roll-up then lies on one side.
alter table console.exporters
	add column sampling_from timestamptz check (sampling_from = date_bin('1 minute', sampling_from, 'epoch')),
	add column sampling_instead boolean not null default true;
comment on column console.exporters.sampling_rate is 'N of 1:N, to be used instead of what it announces, or where it announces nothing';
comment on column console.exporters.sampling_from is 'from when on sampling_rate holds, a whole minute; null: always';
comment on column console.exporters.sampling_instead is 'whether sampling_rate holds in place of what is announced, else only where nothing is';

-- An expression with a name, as flow_share: plain SQL, not strict, of immutable parts.
-- +goose StatementBegin
create function effective_sampling(announced int, said int, instead boolean, since timestamptz, at timestamptz) returns int
language sql immutable parallel safe as $$
	select case when said is not null and (instead or coalesce(announced, 0) = 0) and (since is null or at >= since)
		then said else announced end
$$;
-- +goose StatementEnd
comment on function effective_sampling(int, int, boolean, timestamptz, timestamptz) is
	'N of 1:N that counts at a time: what people say from since on, in place of what was announced or, with instead false, where nothing was; else what was announced';

create or replace view exporters as
select e.id, coalesce(c.name, '') as name, e.label, e.addr, e.observation_domain, e.first_seen,
	c.color, c.sampling_rate, c.note, c.sampling_from, c.sampling_instead
from parts.exporter e
left join console.exporters c on c.id = e.id;
comment on column exporters.sampling_rate is 'N of 1:N that people say, null: as announced';
comment on column exporters.sampling_from is 'from when on the rate that people say holds, null: always';
comment on column exporters.sampling_instead is 'whether the rate that people say holds in place of what is announced, else only where nothing is';

-- The second join is as the first: by primary key and outer, so that only a question
-- that asks for the rate pays for it.
create or replace view flows as
select f.flow_start, f.flow_end, f.received_at,
	e.label as exporter, f.exporter_id, e.addr as exporter_addr, e.observation_domain,
	f.src_addr, f.dst_addr, f.src_port, f.dst_port,
	f.protocol, f.icmp_type, f.icmp_code, f.tcp_flags, f.tos, f.vlan,
	f.packets, f.bytes,
	least(f.packets, 9223372036854775807 / greatest(effective_sampling(f.sampling_rate, c.sampling_rate, c.sampling_instead, c.sampling_from, f.flow_start), 1))
		* greatest(effective_sampling(f.sampling_rate, c.sampling_rate, c.sampling_instead, c.sampling_from, f.flow_start), 1) as packets_scaled,
	least(f.bytes, 9223372036854775807 / greatest(effective_sampling(f.sampling_rate, c.sampling_rate, c.sampling_instead, c.sampling_from, f.flow_start), 1))
		* greatest(effective_sampling(f.sampling_rate, c.sampling_rate, c.sampling_instead, c.sampling_from, f.flow_start), 1) as bytes_scaled,
	effective_sampling(f.sampling_rate, c.sampling_rate, c.sampling_instead, c.sampling_from, f.flow_start) as sampling_rate,
	f.in_if::bigint & 4294967295 as in_if, f.out_if::bigint & 4294967295 as out_if,
	f.src_as::bigint & 4294967295 as src_as, f.dst_as::bigint & 4294967295 as dst_as, f.next_hop,
	f.end_reason, f.direction, f.src_mask, f.dst_mask,
	substring(coalesce(f.extra ->> 'postNATSourceIPv4Address', f.extra ->> 'postNATSourceIPv6Address') from '^.*[.:].*$')::inet as nat_src_addr,
	substring(coalesce(f.extra ->> 'postNATDestinationIPv4Address', f.extra ->> 'postNATDestinationIPv6Address') from '^.*[.:].*$')::inet as nat_dst_addr,
	substring(f.extra ->> 'postNAPTSourceTransportPort' from '^[0-9]{1,9}$')::int as nat_src_port,
	substring(f.extra ->> 'postNAPTDestinationTransportPort' from '^[0-9]{1,9}$')::int as nat_dst_port,
	f.extra, f.batch, f.marks
from parts.flows f
left join parts.exporter e on e.id = f.exporter_id
left join console.exporters c on c.id = f.exporter_id;
comment on column parts.flows.sampling_rate is 'N of 1:N packet sampling as announced, or as the collector was told; null when not known; samplingInterval (34), samplingPacketInterval (305) and their kin';
comment on column flows.sampling_rate is 'N of 1:N packet sampling that counts when the flow starts: as people say for the exporter, else as announced; null when not known; samplingInterval (34), samplingPacketInterval (305) and their kin';

-- +goose StatementBegin
do $$
declare
	grain text;
begin
	foreach grain in array array['traffic_1m', 'traffic_1h', 'traffic_1d'] loop
		execute format('create or replace view %I as select t.bucket, t.exporter_id,
			effective_sampling(t.sampling_rate, c.sampling_rate, c.sampling_instead, c.sampling_from, t.bucket) as sampling_rate,
			t.protocol, t.dimension, t.addr, t.addr2, t.number, t.remainder, t.cut, t.flows, t.packets, t.bytes, t.part,
			t.sampling_rate as announced_rate
			from parts.%1$I t
			left join console.exporters c on c.id = t.exporter_id', grain);
		execute format('comment on column %I.sampling_rate is %L', grain,
			'N of 1:N that counts in the bucket: as people say for the exporter, else announced_rate; null when not known');
		execute format('comment on column %I.announced_rate is %L', grain,
			'N of 1:N as announced, null when not known: a value has a row, and its dimension a remainder, for each');
		execute format('comment on column parts.%I.sampling_rate is %L', grain,
			'N of 1:N as announced, or as the collector was told; null when not known');
	end loop;
end
$$;
-- +goose StatementEnd

-- Whoever scales sums of hours or days reads these hours by their minutes.
create view sampling_begins as
select distinct date_bin('1 hour', c.sampling_from, 'epoch') as hour
from console.exporters c
where c.sampling_rate is not null
	and c.sampling_from >= coalesce((select cut_before from reach where source = 'traffic_1m'), '-infinity');
comment on view sampling_begins is
	'the hours in which a sampling rate that people say begins, while there are minutes: a row of traffic_1h or traffic_1d has one rate, that of its bucket''s begin';
comment on column sampling_begins.hour is 'the hour''s begin';
grant select on sampling_begins to flow_writer, flow_web, flow_reader;
