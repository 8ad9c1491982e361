-- +goose Up

-- Interfaces and autonomous systems have 32 bits. As bigint, for the sake of the
-- upper half of them, they were 8 to 16 octets a flow of nothing. They become int,
-- the same 32 bits with a sign, and the view makes of them what they are.
--
-- Partitions are written anew: some two minutes for a hundred million flows,
-- during which nobody reads or stores any. Collectors spool meanwhile.
drop view flows;
alter table parts.flows
	alter column in_if type int using (case when in_if > 2147483647 then in_if - 4294967296 else in_if end)::int,
	alter column out_if type int using (case when out_if > 2147483647 then out_if - 4294967296 else out_if end)::int,
	alter column src_as type int using (case when src_as > 2147483647 then src_as - 4294967296 else src_as end)::int,
	alter column dst_as type int using (case when dst_as > 2147483647 then dst_as - 4294967296 else dst_as end)::int;

-- The view of 00002, but for these columns.
create view flows as
select f.flow_start, f.flow_end, f.received_at,
	e.label as exporter, f.exporter_id, e.addr as exporter_addr, e.observation_domain,
	f.src_addr, f.dst_addr, f.src_port, f.dst_port,
	f.protocol, f.icmp_type, f.icmp_code, f.tcp_flags, f.tos, f.vlan,
	f.packets, f.bytes,
	case when f.sampling_rate > 1
		then least(f.packets, 9223372036854775807 / f.sampling_rate) * f.sampling_rate
		else f.packets end as packets_scaled,
	case when f.sampling_rate > 1
		then least(f.bytes, 9223372036854775807 / f.sampling_rate) * f.sampling_rate
		else f.bytes end as bytes_scaled,
	f.sampling_rate,
	f.in_if::bigint & 4294967295 as in_if, f.out_if::bigint & 4294967295 as out_if,
	f.src_as::bigint & 4294967295 as src_as, f.dst_as::bigint & 4294967295 as dst_as, f.next_hop,
	f.end_reason, f.direction, f.src_mask, f.dst_mask,
	substring(coalesce(f.extra ->> 'postNATSourceIPv4Address', f.extra ->> 'postNATSourceIPv6Address') from '^.*[.:].*$')::inet as nat_src_addr,
	substring(coalesce(f.extra ->> 'postNATDestinationIPv4Address', f.extra ->> 'postNATDestinationIPv6Address') from '^.*[.:].*$')::inet as nat_dst_addr,
	substring(f.extra ->> 'postNAPTSourceTransportPort' from '^[0-9]{1,9}$')::int as nat_src_port,
	substring(f.extra ->> 'postNAPTDestinationTransportPort' from '^[0-9]{1,9}$')::int as nat_dst_port,
	f.extra, f.batch, f.marks
from parts.flows f
left join parts.exporter e on e.id = f.exporter_id;
comment on view flows is 'flow records, each one direction of a conversation; say flow_end >= … and flow_end < … and only those hours are read';

-- +goose StatementBegin
do $$
declare
	a record;
begin
	for a in
		select v.attname, col_description('parts.flows'::regclass, f.attnum) as text
		from pg_attribute v
		join pg_attribute f on f.attrelid = 'parts.flows'::regclass and f.attname = v.attname
		where v.attrelid = 'flows'::regclass and v.attnum > 0
	loop
		execute format('comment on column flows.%I is %L', a.attname, a.text);
	end loop;
end
$$;
-- +goose StatementEnd
comment on column flows.exporter is 'who sent the record: the name people gave it, else its address; null until its first status is stored';
comment on column flows.exporter_addr is 'the source address of the exporter''s packets; null until its first status is stored';
comment on column flows.observation_domain is 'observationDomainId (149) of the exporter; null until its first status is stored';
comment on column flows.packets_scaled is 'packets multiplied by sampling_rate, by 1 when that is not known';
comment on column flows.bytes_scaled is 'bytes multiplied by sampling_rate, by 1 when that is not known';
comment on column flows.nat_src_addr is 'source address after translation; postNATSourceIPv4Address (225), postNATSourceIPv6Address (281)';
comment on column flows.nat_dst_addr is 'destination address after translation; postNATDestinationIPv4Address (226), postNATDestinationIPv6Address (282)';
comment on column flows.nat_src_port is 'source port after translation; postNAPTSourceTransportPort (227)';
comment on column flows.nat_dst_port is 'destination port after translation; postNAPTDestinationTransportPort (228)';

grant select on flows to flow_writer, flow_web, flow_reader;

-- In the table they are not what the view has.
-- +goose StatementBegin
do $$
declare
	a record;
begin
	for a in
		select attname, col_description(attrelid, attnum) as text from pg_attribute
		where attrelid = 'parts.flows'::regclass and attname in ('in_if', 'out_if', 'src_as', 'dst_as')
	loop
		execute format('comment on column parts.flows.%I is %L', a.attname, a.text || '; 32 bits of which the uppermost is the sign');
	end loop;
end
$$;
-- +goose StatementEnd
