-- +goose Up

-- Wide columns first: no byte is lost to alignment. Interfaces and autonomous
-- systems have 32 bits, which an int has with a sign; the view makes of them what
-- they are. No index, no key: rows come by COPY at the rate of the wire, and the
-- indexes that are worth having are made when a partition is past.
create table parts.flows (
	flow_start    timestamptz not null,
	flow_end      timestamptz not null,
	received_at   timestamptz not null,
	packets       bigint not null,
	bytes         bigint not null,
	in_if         int,
	out_if        int,
	src_as        int,
	dst_as        int,
	exporter_id   int not null,
	batch         int not null,
	sampling_rate int,
	src_port      int,
	dst_port      int,
	vlan          int,
	protocol      smallint not null,
	marks         smallint not null,
	tcp_flags     smallint,
	tos           smallint,
	end_reason    smallint,
	icmp_type     smallint,
	icmp_code     smallint,
	direction     smallint,
	src_mask      smallint,
	dst_mask      smallint,
	src_addr      inet,
	dst_addr      inet,
	next_hop      inet,
	extra         jsonb
) partition by range (flow_end);
comment on table parts.flows is 'flow records, one partition an hour (UTC) of flow_end; a flow is one direction of a conversation';
comment on column parts.flows.flow_start is 'time of the first packet, in whole milliseconds; flowStartMilliseconds (152) and its kin';
comment on column parts.flows.flow_end is 'time of the last packet, in whole milliseconds; flowEndMilliseconds (153) and its kin; the partition key';
comment on column parts.flows.received_at is 'when the collector received the record, in whole milliseconds';
comment on column parts.flows.packets is 'packets as sent, not multiplied by the sampling rate; packetDeltaCount (2)';
comment on column parts.flows.bytes is 'IP octets with headers as sent, not multiplied by the sampling rate; octetDeltaCount (1)';
comment on column parts.flows.in_if is 'the exporter''s ifIndex where the flow came in, null when not said; ingressInterface (10); 32 bits of which the uppermost is the sign';
comment on column parts.flows.out_if is 'the exporter''s ifIndex where the flow went out, null when not said; egressInterface (14); 32 bits of which the uppermost is the sign';
comment on column parts.flows.src_as is 'autonomous system of the source, null when not said; bgpSourceAsNumber (16); 32 bits of which the uppermost is the sign';
comment on column parts.flows.dst_as is 'autonomous system of the destination, null when not said; bgpDestinationAsNumber (17); 32 bits of which the uppermost is the sign';
comment on column parts.flows.exporter_id is 'who sent the record: exporters.id';
comment on column parts.flows.batch is 'the batch in which the row was stored: batches.id';
comment on column parts.flows.sampling_rate is 'N of 1:N packet sampling, null when not known; samplingInterval (34), samplingPacketInterval (305) and their kin';
comment on column parts.flows.src_port is 'source port, null when the protocol has none; sourceTransportPort (7)';
comment on column parts.flows.dst_port is 'destination port, null when the protocol has none; destinationTransportPort (11)';
comment on column parts.flows.vlan is 'outermost 802.1Q identifier, null when untagged or not said; vlanId (58)';
comment on column parts.flows.protocol is 'IP protocol number; protocolIdentifier (4)';
comment on column parts.flows.marks is 'what was done to the record, a sum of: 1 times repaired, 2 a value clamped, 4 duplicates seen, 8 no room for its hour, so its times are those of receipt';
comment on column parts.flows.tcp_flags is 'union of the TCP flags of all packets: 1 FIN, 2 SYN, 4 RST, 8 PSH, 16 ACK, 32 URG, 64 ECE, 128 CWR, 256 NS; null when not TCP; tcpControlBits (6)';
comment on column parts.flows.tos is 'IPv4 type of service or IPv6 traffic class octet; ipClassOfService (5)';
comment on column parts.flows.end_reason is 'why the flow ended: 1 idle timeout, 2 active timeout, 3 end of flow, 4 forced end, 5 lack of resources, null not said; flowEndReason (136)';
comment on column parts.flows.icmp_type is 'ICMP or ICMPv6 type, null for other protocols; icmpTypeCodeIPv4 (32), icmpTypeCodeIPv6 (139)';
comment on column parts.flows.icmp_code is 'ICMP or ICMPv6 code, null for other protocols; icmpTypeCodeIPv4 (32), icmpTypeCodeIPv6 (139)';
comment on column parts.flows.direction is '0 ingress, 1 egress, null not said; flowDirection (61)';
comment on column parts.flows.src_mask is 'prefix length of the source''s route, null when not said; sourceIPv4PrefixLength (9), sourceIPv6PrefixLength (29)';
comment on column parts.flows.dst_mask is 'prefix length of the destination''s route, null when not said; destinationIPv4PrefixLength (13), destinationIPv6PrefixLength (30)';
comment on column parts.flows.src_addr is 'source address, null when not said; sourceIPv4Address (8), sourceIPv6Address (27)';
comment on column parts.flows.dst_addr is 'destination address, null when not said; destinationIPv4Address (12), destinationIPv6Address (28)';
comment on column parts.flows.next_hop is 'next router, null when not said; ipNextHopIPv4Address (15), ipNextHopIPv6Address (62)';
comment on column parts.flows.extra is 'what the record said that has no column, by IANA name, null when nothing';
alter table parts.flows owner to flow_writer;
grant select on parts.flows to flow_web;

create table parts.partition (
	hour       timestamptz primary key,
	min_start  timestamptz not null,
	created_at timestamptz not null default now(),
	sealed_at  timestamptz,
	name       text not null unique
);
comment on table parts.partition is 'the partitions of parts.flows; who removes one deletes its row here first';
comment on column parts.partition.hour is 'the hour of flow_end it holds, its begin, UTC';
comment on column parts.partition.min_start is 'no flow in it starts before; lowered with the rows that need it, so that flows_until finds long flows';
comment on column parts.partition.created_at is 'when it was made';
comment on column parts.partition.sealed_at is 'when it was given indexes and statistics, null while it is written';
comment on column parts.partition.name is 'the table''s name in schema parts';
alter table parts.partition owner to flow_writer;
grant select on parts.partition to flow_web, flow_reader;

-- The joins are by primary key and outer, so the planner removes them from a
-- question that does not ask who the exporter is. Products that do not fit a
-- bigint stop at the largest, and an address that was sent with a wrong length,
-- which extra has in hexadecimal, is none: a view must not fail for one row.
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
grant select on flows to flow_writer, flow_web, flow_reader;

-- A column of the view is what the table's of the same name is.
-- +goose StatementBegin
do $$
declare
	a record;
begin
	for a in
		select v.attname, replace(col_description('parts.flows'::regclass, f.attnum),
			'; 32 bits of which the uppermost is the sign', '') as text
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

-- These are expressions with a name: the planner puts their bodies where they
-- are called. For that they are plain SQL, not strict, and built only from
-- immutable parts: date_part of an interval is one, of a timestamptz it is not.

-- +goose StatementBegin
create function flow_ms(t timestamptz) returns bigint
language sql immutable parallel safe as $$
	select round(date_part('epoch', t - timestamptz '1970-01-01 00:00:00+00') * 1000)::bigint
$$;
-- +goose StatementEnd
comment on function flow_ms(timestamptz) is 'milliseconds since 1970-01-01 UTC, exact for whole milliseconds';

-- value * d / l is written with quotient and remainder: value / l * d is at most
-- value, and value % l * d is below l * l, which fits a bigint for the 35 days
-- that a flow may last.
-- +goose StatementBegin
create function flow_share(value bigint, start timestamptz, "end" timestamptz, "from" timestamptz, "to" timestamptz) returns bigint
language sql immutable parallel safe as $$
	select case
		when "end" <= start then
			case when "from" <= start and start < "to" then value else 0 end
		when "from" <= start and "end" <= "to" then value
		else
			case
				when "to" <= start then 0
				when "to" >= "end" then value
				else value / greatest(round(date_part('epoch', "end" - start) * 1000)::bigint, 1)
						* round(date_part('epoch', "to" - start) * 1000)::bigint
					+ value % greatest(round(date_part('epoch', "end" - start) * 1000)::bigint, 1)
						* round(date_part('epoch', "to" - start) * 1000)::bigint
						/ greatest(round(date_part('epoch', "end" - start) * 1000)::bigint, 1)
			end
			- case
				when "from" <= start then 0
				when "from" >= "end" then value
				else value / greatest(round(date_part('epoch', "end" - start) * 1000)::bigint, 1)
						* round(date_part('epoch', "from" - start) * 1000)::bigint
					+ value % greatest(round(date_part('epoch', "end" - start) * 1000)::bigint, 1)
						* round(date_part('epoch', "from" - start) * 1000)::bigint
						/ greatest(round(date_part('epoch', "end" - start) * 1000)::bigint, 1)
			end
		end
$$;
-- +goose StatementEnd
comment on function flow_share(bigint, timestamptz, timestamptz, timestamptz, timestamptz) is
	'the part of value, spread evenly over [start, end), that lies inside [from, to); a flow without duration lies where it starts; shares of adjoining ranges add up to value';

-- +goose StatementBegin
create function flows_until("to" timestamptz) returns timestamptz
language sql stable parallel safe as $$
	select coalesce(max(p.hour) + interval '1 hour', "to") from parts.partition p where p.min_start < "to"
$$;
-- +goose StatementEnd
comment on function flows_until(timestamptz) is
	'every flow that starts before the given time ends before the returned one: flow_end < (select flows_until(to)) leaves the partitions after it unread; the select makes it be asked once, not for every row';
