-- +goose Up

-- What firewalls and translators did is no flow: a relation of its own, a partition a
-- day. There are many of them where a carrier's translator logs, so a row has what the
-- event says and no more; the view says in words what the numbers are.
create table parts.events (
	time           timestamptz not null,
	received_at    timestamptz not null,
	exporter_id    int not null,
	batch          int not null,
	in_if          int,
	out_if         int,
	src_port       int,
	dst_port       int,
	nat_src_port   int,
	nat_dst_port   int,
	block_first    int,
	block_last     int,
	marks          smallint not null,
	protocol       smallint,
	firewall_event smallint,
	nat_event      smallint,
	icmp_type      smallint,
	icmp_code      smallint,
	src_addr       inet,
	dst_addr       inet,
	nat_src_addr   inet,
	nat_dst_addr   inet,
	user_name      text,
	extra          jsonb
) partition by range (time);
comment on table parts.events is 'what firewalls and translators did, one partition a day (UTC) of time';
comment on column parts.events.time is 'when it happened, by the exporter''s clock, in whole milliseconds; observationTimeMilliseconds (323) and its kin; the partition key';
comment on column parts.events.received_at is 'when the collector received it, in whole milliseconds';
comment on column parts.events.exporter_id is 'who sent it: exporters.id';
comment on column parts.events.batch is 'the batch in which the row was stored: batches.id';
comment on column parts.events.in_if is 'the exporter''s ifIndex where it came in, null when not said; ingressInterface (10); 32 bits of which the uppermost is the sign';
comment on column parts.events.out_if is 'the exporter''s ifIndex where it went out, null when not said; egressInterface (14); 32 bits of which the uppermost is the sign';
comment on column parts.events.src_port is 'source port, null when not said or when the protocol has none; sourceTransportPort (7)';
comment on column parts.events.dst_port is 'destination port, null when not said or when the protocol has none; destinationTransportPort (11)';
comment on column parts.events.nat_src_port is 'source port after translation, null when not said; postNAPTSourceTransportPort (227)';
comment on column parts.events.nat_dst_port is 'destination port after translation, null when not said; postNAPTDestinationTransportPort (228)';
comment on column parts.events.block_first is 'the first port of a block that a subscriber was given, null when there is none; portRangeStart (361)';
comment on column parts.events.block_last is 'the last port of that block; portRangeEnd (362), or by portRangeNumPorts (364)';
comment on column parts.events.marks is 'what was done to the row, a sum of: 1 time repaired, 2 a value clamped, 8 no room for its day, so its time is that of receipt';
comment on column parts.events.protocol is 'IP protocol number, null when not said; protocolIdentifier (4)';
comment on column parts.events.firewall_event is 'what a firewall did, null when not said: 0 ignore, 1 create, 2 teardown, 3 denied, 4 alert, 5 update; firewallEvent (233)';
comment on column parts.events.nat_event is 'what a translator did, null when not said, by IANA''s numbers: 4 NAT44 session created, 5 deleted, 16 port block allocated, 17 released, …; natEvent (230)';
comment on column parts.events.icmp_type is 'ICMP or ICMPv6 type, null for other protocols; icmpTypeCodeIPv4 (32), icmpTypeCodeIPv6 (139)';
comment on column parts.events.icmp_code is 'ICMP or ICMPv6 code, null for other protocols; icmpTypeCodeIPv4 (32), icmpTypeCodeIPv6 (139)';
comment on column parts.events.src_addr is 'source address, null when not said; sourceIPv4Address (8), sourceIPv6Address (27)';
comment on column parts.events.dst_addr is 'destination address, null when not said; destinationIPv4Address (12), destinationIPv6Address (28)';
comment on column parts.events.nat_src_addr is 'source address after translation, null when not said; postNATSourceIPv4Address (225), postNATSourceIPv6Address (281)';
comment on column parts.events.nat_dst_addr is 'destination address after translation, null when not said; postNATDestinationIPv4Address (226), postNATDestinationIPv6Address (282)';
comment on column parts.events.user_name is 'whose connection it is, null when not said; userName (371)';
comment on column parts.events.extra is 'what else it says, by IANA name, null when nothing';
alter table parts.events owner to flow_writer;
grant select on parts.events to flow_web;

create table parts.event_day (
	day           timestamptz primary key,
	created_at    timestamptz not null default now(),
	last_received timestamptz not null,
	sealed_at     timestamptz,
	name          text not null unique
);
comment on table parts.event_day is 'the partitions of parts.events; who removes one deletes its row here first';
comment on column parts.event_day.day is 'the day of time it holds, its begin, UTC';
comment on column parts.event_day.created_at is 'when it was made';
comment on column parts.event_day.last_received is 'the latest received_at in it, to the minute; its age is counted from there';
comment on column parts.event_day.sealed_at is 'when it was given indexes and statistics, null while it is written';
comment on column parts.event_day.name is 'the table''s name in schema parts';
alter table parts.event_day owner to flow_writer;
grant select on parts.event_day to flow_web, flow_reader;

create view events as
select v.time, v.received_at,
	case
		when v.firewall_event is not null then coalesce((array['ignore', 'create', 'teardown', 'denied', 'alert', 'update'])[v.firewall_event + 1], 'other')
		when v.nat_event is not null then coalesce((array['nat create', 'nat delete', 'addresses exhausted', 'nat44 create', 'nat44 delete',
			'nat64 create', 'nat64 delete', 'nat44 bib create', 'nat44 bib delete', 'nat64 bib create', 'nat64 bib delete', 'ports exhausted',
			'quota exceeded', 'address binding create', 'address binding delete', 'port block allocated', 'port block released',
			'threshold reached'])[v.nat_event], 'other')
		when v.block_first is not null or v.block_last is not null then 'port block'
		else 'translation'
	end as kind,
	e.label as exporter, v.exporter_id, e.addr as exporter_addr, e.observation_domain,
	v.src_addr, v.dst_addr, v.src_port, v.dst_port, v.protocol, v.icmp_type, v.icmp_code,
	v.nat_src_addr, v.nat_dst_addr, v.nat_src_port, v.nat_dst_port, v.block_first, v.block_last, v.user_name,
	v.in_if::bigint & 4294967295 as in_if, v.out_if::bigint & 4294967295 as out_if,
	v.firewall_event, v.nat_event, v.extra, v.batch, v.marks
from parts.events v
left join parts.exporter e on e.id = v.exporter_id;
comment on view events is 'what firewalls and translators did: connections created, torn down and denied, translations, blocks of ports; say time >= … and time < … and only those days are read';
grant select on events to flow_writer, flow_web, flow_reader;

-- +goose StatementBegin
do $$
declare
	a record;
begin
	for a in
		select v.attname, replace(col_description('parts.events'::regclass, f.attnum),
			'; 32 bits of which the uppermost is the sign', '') as text
		from pg_attribute v
		join pg_attribute f on f.attrelid = 'parts.events'::regclass and f.attname = v.attname
		where v.attrelid = 'events'::regclass and v.attnum > 0
	loop
		execute format('comment on column events.%I is %L', a.attname, a.text);
	end loop;
end
$$;
-- +goose StatementEnd
comment on column events.kind is 'what happened, in words: create, teardown, denied, alert, update (of a connection that had nothing to count); nat44 create, nat44 delete, port block allocated, … by nat_event; translation or port block where no number is said; other for a number without a word';
comment on column events.exporter is 'who sent it: the name people gave it, else its address; null until its first status is stored';
comment on column events.exporter_addr is 'the source address of the exporter''s packets; null until its first status is stored';
comment on column events.observation_domain is 'observationDomainId (149) of the exporter; null until its first status is stored';

-- What a translator made of a flow has columns. They are null for nearly all flows, which
-- take no more room for it; rows from before have it in extra.
alter table parts.flows add column nat_src_addr inet, add column nat_dst_addr inet, add column nat_src_port int, add column nat_dst_port int;
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
	coalesce(f.nat_src_addr, substring(coalesce(f.extra ->> 'postNATSourceIPv4Address', f.extra ->> 'postNATSourceIPv6Address') from '^.*[.:].*$')::inet) as nat_src_addr,
	coalesce(f.nat_dst_addr, substring(coalesce(f.extra ->> 'postNATDestinationIPv4Address', f.extra ->> 'postNATDestinationIPv6Address') from '^.*[.:].*$')::inet) as nat_dst_addr,
	coalesce(f.nat_src_port, substring(f.extra ->> 'postNAPTSourceTransportPort' from '^[0-9]{1,9}$')::int) as nat_src_port,
	coalesce(f.nat_dst_port, substring(f.extra ->> 'postNAPTDestinationTransportPort' from '^[0-9]{1,9}$')::int) as nat_dst_port,
	f.extra, f.batch, f.marks
from parts.flows f
left join parts.exporter e on e.id = f.exporter_id
left join console.exporters c on c.id = f.exporter_id;
comment on column parts.flows.nat_src_addr is 'source address after translation; postNATSourceIPv4Address (225), postNATSourceIPv6Address (281)';
comment on column parts.flows.nat_dst_addr is 'destination address after translation; postNATDestinationIPv4Address (226), postNATDestinationIPv6Address (282)';
comment on column parts.flows.nat_src_port is 'source port after translation; postNAPTSourceTransportPort (227)';
comment on column parts.flows.nat_dst_port is 'destination port after translation; postNAPTDestinationTransportPort (228)';

alter table batches add column events int not null default 0;
comment on column batches.events is 'how many rows it has in events';

comment on column exporter_status.records is 'flow records and events decoded';

comment on column loss.unit is 'what count counts: packet, record, event, datagram, set';

comment on column parts.reach.source is 'flows, events, traffic_1m, traffic_1h or traffic_1d';
