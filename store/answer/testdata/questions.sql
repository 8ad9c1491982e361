# flowtally top --key src-addr --by bytes --from 2026-11-20T08:00:30Z --to 2026-11-20T09:00:00Z --limit 5 --exporter 2001:db8::1
with groups as (
  select src_addr, count(*) filter (where flow_start >= '2026-11-20 08:00:30+00') as flows,
    sum(flow_share(packets, flow_start, flow_end, '2026-11-20 08:00:30+00', '2026-11-20 09:00:00+00')) as packets,
    sum(flow_share(bytes, flow_start, flow_end, '2026-11-20 08:00:30+00', '2026-11-20 09:00:00+00')) as bytes
  from flows
  where flow_end >= '2026-11-20 08:00:30+00' and flow_end < (select flows_until('2026-11-20 09:00:00+00'))
    and flow_start < '2026-11-20 09:00:00+00' and (flow_end > '2026-11-20 08:00:30+00' or flow_start = '2026-11-20 08:00:30+00')
    and exporter_id = any('{834667535}')
  group by src_addr
), top as (
  select *
  from groups
  order by bytes desc, src_addr
  limit 5
), answer as (
  select 'group' as line, src_addr, flows, packets, bytes, null::bigint as groups
  from top
  union all
  select 'other' as line, null, sum(flows) - coalesce((select sum(flows) from top), 0),
    sum(packets) - coalesce((select sum(packets) from top), 0),
    sum(bytes) - coalesce((select sum(bytes) from top), 0), count(*) - (select count(*) from top)
  from groups
  union all
  select 'total' as line, null, sum(flows), sum(packets), sum(bytes), null
  from groups
)
select line, src_addr, greatest(least(coalesce(flows, 0), 9223372036854775807), 0)::bigint as flows,
  greatest(least(coalesce(packets, 0), 9223372036854775807), 0)::bigint as packets,
  greatest(least(coalesce(bytes, 0), 9223372036854775807), 0)::bigint as bytes, groups
from answer
order by line, answer.bytes desc, answer.src_addr;

# flowtally series --key src-addr --by bytes --from 2026-11-20T08:00:30Z --to 2026-11-20T09:00:00Z --limit 5 --step 5m
with top (rank, src_addr) as not materialized (
  values
    (1, inet '10.0.0.1'),
    (2, null::inet)
), cells as (
  select bucket, rank, count(*) as flows, sum(packets) as packets, sum(bytes) as bytes
  from (
    select flow_start, flow_end, packets, bytes, src_addr,
      date_bin(interval '300 s', flow_start, 'epoch') as bucket
    from flows
    where flow_end >= '2026-11-20 08:00:30+00' and flow_end < (select flows_until('2026-11-20 09:00:00+00'))
      and flow_start < '2026-11-20 09:00:00+00' and (flow_end > '2026-11-20 08:00:30+00' or flow_start = '2026-11-20 08:00:30+00')
      and flow_start >= '2026-11-20 08:00:30+00' and flow_end <= '2026-11-20 09:00:00+00' and date_bin(interval '300 s', flow_start, 'epoch') = date_bin(interval '300 s', flow_end, 'epoch')
  ) flow
  left join top
    on coalesce(flow.src_addr, '0.0.0.0/0') = coalesce(top.src_addr, '0.0.0.0/0')
  group by bucket, rank
  union all
  select bucket, rank,
    count(*) filter (where flow_start >= greatest(bucket, '2026-11-20 08:00:30+00')) as flows,
    sum(flow_share(packets, flow_start, flow_end, greatest(bucket, '2026-11-20 08:00:30+00'), bucket + interval '300 s')) as packets,
    sum(flow_share(bytes, flow_start, flow_end, greatest(bucket, '2026-11-20 08:00:30+00'), bucket + interval '300 s')) as bytes
  from (
    select flow_start, flow_end, packets, bytes, src_addr,
      generate_series(date_bin(interval '300 s', greatest(flow_start, '2026-11-20 08:00:30+00'), 'epoch'), date_bin(interval '300 s', least(flow_end, '2026-11-20 08:55:00+00'), 'epoch'), interval '300 s') as bucket
    from flows
    where flow_end >= '2026-11-20 08:00:30+00' and flow_end < (select flows_until('2026-11-20 09:00:00+00'))
      and flow_start < '2026-11-20 09:00:00+00' and (flow_end > '2026-11-20 08:00:30+00' or flow_start = '2026-11-20 08:00:30+00')
      and not (flow_start >= '2026-11-20 08:00:30+00' and flow_end <= '2026-11-20 09:00:00+00' and date_bin(interval '300 s', flow_start, 'epoch') = date_bin(interval '300 s', flow_end, 'epoch'))
  ) flow
  left join top
    on coalesce(flow.src_addr, '0.0.0.0/0') = coalesce(top.src_addr, '0.0.0.0/0')
  group by bucket, rank
)
select bucket, case when rank is null then 'other' else 'group' end as line, rank, src_addr,
  greatest(least(coalesce(sum(flows), 0), 9223372036854775807), 0)::bigint as flows,
  greatest(least(coalesce(sum(packets), 0), 9223372036854775807), 0)::bigint as packets,
  greatest(least(coalesce(sum(bytes), 0), 9223372036854775807), 0)::bigint as bytes
from cells
left join top
  using (rank)
group by bucket, rank, src_addr
union all
select bucket, 'total', null, null,
  greatest(least(coalesce(sum(flows), 0), 9223372036854775807), 0)::bigint as flows,
  greatest(least(coalesce(sum(packets), 0), 9223372036854775807), 0)::bigint as packets,
  greatest(least(coalesce(sum(bytes), 0), 9223372036854775807), 0)::bigint as bytes
from cells
group by bucket
order by bucket, line, rank;

# flowtally top --key addr,port --by bytes --from 2026-11-20T08:00:30Z --to 2026-11-20T09:00:00Z --limit 5 --exporter 2001:db8::1
with sides as (
  select 1 as side, src_addr as addr, src_port as port,
    count(*) filter (where flow_start >= '2026-11-20 08:00:30+00') as flows,
    sum(flow_share(packets, flow_start, flow_end, '2026-11-20 08:00:30+00', '2026-11-20 09:00:00+00')) as packets,
    sum(flow_share(bytes, flow_start, flow_end, '2026-11-20 08:00:30+00', '2026-11-20 09:00:00+00')) as bytes
  from flows
  where flow_end >= '2026-11-20 08:00:30+00' and flow_end < (select flows_until('2026-11-20 09:00:00+00'))
    and flow_start < '2026-11-20 09:00:00+00' and (flow_end > '2026-11-20 08:00:30+00' or flow_start = '2026-11-20 08:00:30+00')
    and exporter_id = any('{834667535}')
  group by src_addr, src_port
  union all
  select 2 as side, dst_addr as addr, dst_port as port,
    count(*) filter (where flow_start >= '2026-11-20 08:00:30+00') as flows,
    sum(flow_share(packets, flow_start, flow_end, '2026-11-20 08:00:30+00', '2026-11-20 09:00:00+00')) as packets,
    sum(flow_share(bytes, flow_start, flow_end, '2026-11-20 08:00:30+00', '2026-11-20 09:00:00+00')) as bytes
  from flows
  where flow_end >= '2026-11-20 08:00:30+00' and flow_end < (select flows_until('2026-11-20 09:00:00+00'))
    and flow_start < '2026-11-20 09:00:00+00' and (flow_end > '2026-11-20 08:00:30+00' or flow_start = '2026-11-20 08:00:30+00')
    and exporter_id = any('{834667535}')
    and (src_addr is distinct from dst_addr or src_port is distinct from dst_port)
  group by dst_addr, dst_port
), groups as (
  select addr, port, sum(flows) as flows, sum(packets) as packets, sum(bytes) as bytes
  from sides
  group by addr, port
), top as (
  select *
  from groups
  order by bytes desc, addr, port
  limit 5
), answer as (
  select 'group' as line, addr, port, flows, packets, bytes, null::bigint as groups
  from top
  union all
  select 'other' as line, null, null, sum(flows) - coalesce((select sum(flows) from top), 0),
    sum(packets) - coalesce((select sum(packets) from top), 0),
    sum(bytes) - coalesce((select sum(bytes) from top), 0), count(*) - (select count(*) from top)
  from groups
  union all
  select 'total' as line, null, null, sum(flows), sum(packets), sum(bytes), null
  from sides
  where side = 1
)
select line, addr, port, greatest(least(coalesce(flows, 0), 9223372036854775807), 0)::bigint as flows,
  greatest(least(coalesce(packets, 0), 9223372036854775807), 0)::bigint as packets,
  greatest(least(coalesce(bytes, 0), 9223372036854775807), 0)::bigint as bytes, groups
from answer
order by line, answer.bytes desc, answer.addr, answer.port;

# flowtally series --key addr,port --by bytes --from 2026-11-20T08:00:30Z --to 2026-11-20T09:00:00Z --limit 5 --step 5m
with top (rank, addr, port) as not materialized (
  values
    (1, inet '10.0.0.1', 0),
    (2, inet '10.0.0.2', 53),
    (3, null::inet, 0)
), cells as (
  select bucket, 1 as side, rank, count(*) as flows, sum(packets) as packets, sum(bytes) as bytes
  from (
    select flow_start, flow_end, packets, bytes, src_addr as addr, src_port as port,
      date_bin(interval '300 s', flow_start, 'epoch') as bucket
    from flows
    where flow_end >= '2026-11-20 08:00:30+00' and flow_end < (select flows_until('2026-11-20 09:00:00+00'))
      and flow_start < '2026-11-20 09:00:00+00' and (flow_end > '2026-11-20 08:00:30+00' or flow_start = '2026-11-20 08:00:30+00')
      and flow_start >= '2026-11-20 08:00:30+00' and flow_end <= '2026-11-20 09:00:00+00' and date_bin(interval '300 s', flow_start, 'epoch') = date_bin(interval '300 s', flow_end, 'epoch')
  ) flow
  left join top
    on coalesce(flow.addr, '0.0.0.0/0') = coalesce(top.addr, '0.0.0.0/0') and flow.port = top.port
  group by bucket, rank
  union all
  select bucket, 1 as side, rank,
    count(*) filter (where flow_start >= greatest(bucket, '2026-11-20 08:00:30+00')) as flows,
    sum(flow_share(packets, flow_start, flow_end, greatest(bucket, '2026-11-20 08:00:30+00'), bucket + interval '300 s')) as packets,
    sum(flow_share(bytes, flow_start, flow_end, greatest(bucket, '2026-11-20 08:00:30+00'), bucket + interval '300 s')) as bytes
  from (
    select flow_start, flow_end, packets, bytes, src_addr as addr, src_port as port,
      generate_series(date_bin(interval '300 s', greatest(flow_start, '2026-11-20 08:00:30+00'), 'epoch'), date_bin(interval '300 s', least(flow_end, '2026-11-20 08:55:00+00'), 'epoch'), interval '300 s') as bucket
    from flows
    where flow_end >= '2026-11-20 08:00:30+00' and flow_end < (select flows_until('2026-11-20 09:00:00+00'))
      and flow_start < '2026-11-20 09:00:00+00' and (flow_end > '2026-11-20 08:00:30+00' or flow_start = '2026-11-20 08:00:30+00')
      and not (flow_start >= '2026-11-20 08:00:30+00' and flow_end <= '2026-11-20 09:00:00+00' and date_bin(interval '300 s', flow_start, 'epoch') = date_bin(interval '300 s', flow_end, 'epoch'))
  ) flow
  left join top
    on coalesce(flow.addr, '0.0.0.0/0') = coalesce(top.addr, '0.0.0.0/0') and flow.port = top.port
  group by bucket, rank
  union all
  select bucket, 2 as side, rank, count(*) as flows, sum(packets) as packets, sum(bytes) as bytes
  from (
    select flow_start, flow_end, packets, bytes, dst_addr as addr, dst_port as port,
      date_bin(interval '300 s', flow_start, 'epoch') as bucket
    from flows
    where flow_end >= '2026-11-20 08:00:30+00' and flow_end < (select flows_until('2026-11-20 09:00:00+00'))
      and flow_start < '2026-11-20 09:00:00+00' and (flow_end > '2026-11-20 08:00:30+00' or flow_start = '2026-11-20 08:00:30+00')
      and (src_addr is distinct from dst_addr or src_port is distinct from dst_port)
      and flow_start >= '2026-11-20 08:00:30+00' and flow_end <= '2026-11-20 09:00:00+00' and date_bin(interval '300 s', flow_start, 'epoch') = date_bin(interval '300 s', flow_end, 'epoch')
  ) flow
  left join top
    on coalesce(flow.addr, '0.0.0.0/0') = coalesce(top.addr, '0.0.0.0/0') and flow.port = top.port
  group by bucket, rank
  union all
  select bucket, 2 as side, rank,
    count(*) filter (where flow_start >= greatest(bucket, '2026-11-20 08:00:30+00')) as flows,
    sum(flow_share(packets, flow_start, flow_end, greatest(bucket, '2026-11-20 08:00:30+00'), bucket + interval '300 s')) as packets,
    sum(flow_share(bytes, flow_start, flow_end, greatest(bucket, '2026-11-20 08:00:30+00'), bucket + interval '300 s')) as bytes
  from (
    select flow_start, flow_end, packets, bytes, dst_addr as addr, dst_port as port,
      generate_series(date_bin(interval '300 s', greatest(flow_start, '2026-11-20 08:00:30+00'), 'epoch'), date_bin(interval '300 s', least(flow_end, '2026-11-20 08:55:00+00'), 'epoch'), interval '300 s') as bucket
    from flows
    where flow_end >= '2026-11-20 08:00:30+00' and flow_end < (select flows_until('2026-11-20 09:00:00+00'))
      and flow_start < '2026-11-20 09:00:00+00' and (flow_end > '2026-11-20 08:00:30+00' or flow_start = '2026-11-20 08:00:30+00')
      and (src_addr is distinct from dst_addr or src_port is distinct from dst_port)
      and not (flow_start >= '2026-11-20 08:00:30+00' and flow_end <= '2026-11-20 09:00:00+00' and date_bin(interval '300 s', flow_start, 'epoch') = date_bin(interval '300 s', flow_end, 'epoch'))
  ) flow
  left join top
    on coalesce(flow.addr, '0.0.0.0/0') = coalesce(top.addr, '0.0.0.0/0') and flow.port = top.port
  group by bucket, rank
)
select bucket, case when rank is null then 'other' else 'group' end as line, rank, addr, port,
  greatest(least(coalesce(sum(flows), 0), 9223372036854775807), 0)::bigint as flows,
  greatest(least(coalesce(sum(packets), 0), 9223372036854775807), 0)::bigint as packets,
  greatest(least(coalesce(sum(bytes), 0), 9223372036854775807), 0)::bigint as bytes
from cells
left join top
  using (rank)
group by bucket, rank, addr, port
union all
select bucket, 'total', null, null, null,
  greatest(least(coalesce(sum(flows), 0), 9223372036854775807), 0)::bigint as flows,
  greatest(least(coalesce(sum(packets), 0), 9223372036854775807), 0)::bigint as packets,
  greatest(least(coalesce(sum(bytes), 0), 9223372036854775807), 0)::bigint as bytes
from cells
where side = 1
group by bucket
order by bucket, line, rank;

# flowtally top --key mac,application --by bytes --from 2026-11-20T08:00:30Z --to 2026-11-20T09:00:00Z --limit 5 --exporter 2001:db8::1
with sides as (
  select 1 as side, (extra ->> 'sourceMacAddress') as mac, (extra ->> 'applicationName') as application,
    count(*) filter (where flow_start >= '2026-11-20 08:00:30+00') as flows,
    sum(flow_share(packets, flow_start, flow_end, '2026-11-20 08:00:30+00', '2026-11-20 09:00:00+00')) as packets,
    sum(flow_share(bytes, flow_start, flow_end, '2026-11-20 08:00:30+00', '2026-11-20 09:00:00+00')) as bytes
  from flows
  where flow_end >= '2026-11-20 08:00:30+00' and flow_end < (select flows_until('2026-11-20 09:00:00+00'))
    and flow_start < '2026-11-20 09:00:00+00' and (flow_end > '2026-11-20 08:00:30+00' or flow_start = '2026-11-20 08:00:30+00')
    and exporter_id = any('{834667535}')
  group by (extra ->> 'sourceMacAddress'), (extra ->> 'applicationName')
  union all
  select 2 as side, (extra ->> 'destinationMacAddress') as mac, (extra ->> 'applicationName') as application,
    count(*) filter (where flow_start >= '2026-11-20 08:00:30+00') as flows,
    sum(flow_share(packets, flow_start, flow_end, '2026-11-20 08:00:30+00', '2026-11-20 09:00:00+00')) as packets,
    sum(flow_share(bytes, flow_start, flow_end, '2026-11-20 08:00:30+00', '2026-11-20 09:00:00+00')) as bytes
  from flows
  where flow_end >= '2026-11-20 08:00:30+00' and flow_end < (select flows_until('2026-11-20 09:00:00+00'))
    and flow_start < '2026-11-20 09:00:00+00' and (flow_end > '2026-11-20 08:00:30+00' or flow_start = '2026-11-20 08:00:30+00')
    and exporter_id = any('{834667535}')
    and (extra ->> 'sourceMacAddress') is distinct from (extra ->> 'destinationMacAddress')
  group by (extra ->> 'destinationMacAddress'), (extra ->> 'applicationName')
), groups as (
  select mac, application, sum(flows) as flows, sum(packets) as packets, sum(bytes) as bytes
  from sides
  group by mac, application
), top as (
  select *
  from groups
  order by bytes desc, mac, application
  limit 5
), answer as (
  select 'group' as line, mac, application, flows, packets, bytes, null::bigint as groups
  from top
  union all
  select 'other' as line, null, null, sum(flows) - coalesce((select sum(flows) from top), 0),
    sum(packets) - coalesce((select sum(packets) from top), 0),
    sum(bytes) - coalesce((select sum(bytes) from top), 0), count(*) - (select count(*) from top)
  from groups
  union all
  select 'total' as line, null, null, sum(flows), sum(packets), sum(bytes), null
  from sides
  where side = 1
)
select line, mac, application, greatest(least(coalesce(flows, 0), 9223372036854775807), 0)::bigint as flows,
  greatest(least(coalesce(packets, 0), 9223372036854775807), 0)::bigint as packets,
  greatest(least(coalesce(bytes, 0), 9223372036854775807), 0)::bigint as bytes, groups
from answer
order by line, answer.bytes desc, answer.mac, answer.application;

# flowtally series --key mac,application --by bytes --from 2026-11-20T08:00:30Z --to 2026-11-20T09:00:00Z --limit 5 --step 5m
with top (rank, mac, application) as not materialized (
  values
    (1, text '02:00:00:00:00:01', text 'it''s dns'),
    (2, text '02:00:00:00:00:02', text 'it''s dns'),
    (3, null::text, null::text)
), cells as (
  select bucket, 1 as side, rank, count(*) as flows, sum(packets) as packets, sum(bytes) as bytes
  from (
    select flow_start, flow_end, packets, bytes, (extra ->> 'sourceMacAddress') as mac,
      (extra ->> 'applicationName') as application, date_bin(interval '300 s', flow_start, 'epoch') as bucket
    from flows
    where flow_end >= '2026-11-20 08:00:30+00' and flow_end < (select flows_until('2026-11-20 09:00:00+00'))
      and flow_start < '2026-11-20 09:00:00+00' and (flow_end > '2026-11-20 08:00:30+00' or flow_start = '2026-11-20 08:00:30+00')
      and flow_start >= '2026-11-20 08:00:30+00' and flow_end <= '2026-11-20 09:00:00+00' and date_bin(interval '300 s', flow_start, 'epoch') = date_bin(interval '300 s', flow_end, 'epoch')
  ) flow
  left join top
    on coalesce('=' || flow.mac, '') = coalesce('=' || top.mac, '') and coalesce('=' || flow.application, '') = coalesce('=' || top.application, '')
  group by bucket, rank
  union all
  select bucket, 1 as side, rank,
    count(*) filter (where flow_start >= greatest(bucket, '2026-11-20 08:00:30+00')) as flows,
    sum(flow_share(packets, flow_start, flow_end, greatest(bucket, '2026-11-20 08:00:30+00'), bucket + interval '300 s')) as packets,
    sum(flow_share(bytes, flow_start, flow_end, greatest(bucket, '2026-11-20 08:00:30+00'), bucket + interval '300 s')) as bytes
  from (
    select flow_start, flow_end, packets, bytes, (extra ->> 'sourceMacAddress') as mac,
      (extra ->> 'applicationName') as application,
      generate_series(date_bin(interval '300 s', greatest(flow_start, '2026-11-20 08:00:30+00'), 'epoch'), date_bin(interval '300 s', least(flow_end, '2026-11-20 08:55:00+00'), 'epoch'), interval '300 s') as bucket
    from flows
    where flow_end >= '2026-11-20 08:00:30+00' and flow_end < (select flows_until('2026-11-20 09:00:00+00'))
      and flow_start < '2026-11-20 09:00:00+00' and (flow_end > '2026-11-20 08:00:30+00' or flow_start = '2026-11-20 08:00:30+00')
      and not (flow_start >= '2026-11-20 08:00:30+00' and flow_end <= '2026-11-20 09:00:00+00' and date_bin(interval '300 s', flow_start, 'epoch') = date_bin(interval '300 s', flow_end, 'epoch'))
  ) flow
  left join top
    on coalesce('=' || flow.mac, '') = coalesce('=' || top.mac, '') and coalesce('=' || flow.application, '') = coalesce('=' || top.application, '')
  group by bucket, rank
  union all
  select bucket, 2 as side, rank, count(*) as flows, sum(packets) as packets, sum(bytes) as bytes
  from (
    select flow_start, flow_end, packets, bytes, (extra ->> 'destinationMacAddress') as mac,
      (extra ->> 'applicationName') as application, date_bin(interval '300 s', flow_start, 'epoch') as bucket
    from flows
    where flow_end >= '2026-11-20 08:00:30+00' and flow_end < (select flows_until('2026-11-20 09:00:00+00'))
      and flow_start < '2026-11-20 09:00:00+00' and (flow_end > '2026-11-20 08:00:30+00' or flow_start = '2026-11-20 08:00:30+00')
      and (extra ->> 'sourceMacAddress') is distinct from (extra ->> 'destinationMacAddress')
      and flow_start >= '2026-11-20 08:00:30+00' and flow_end <= '2026-11-20 09:00:00+00' and date_bin(interval '300 s', flow_start, 'epoch') = date_bin(interval '300 s', flow_end, 'epoch')
  ) flow
  left join top
    on coalesce('=' || flow.mac, '') = coalesce('=' || top.mac, '') and coalesce('=' || flow.application, '') = coalesce('=' || top.application, '')
  group by bucket, rank
  union all
  select bucket, 2 as side, rank,
    count(*) filter (where flow_start >= greatest(bucket, '2026-11-20 08:00:30+00')) as flows,
    sum(flow_share(packets, flow_start, flow_end, greatest(bucket, '2026-11-20 08:00:30+00'), bucket + interval '300 s')) as packets,
    sum(flow_share(bytes, flow_start, flow_end, greatest(bucket, '2026-11-20 08:00:30+00'), bucket + interval '300 s')) as bytes
  from (
    select flow_start, flow_end, packets, bytes, (extra ->> 'destinationMacAddress') as mac,
      (extra ->> 'applicationName') as application,
      generate_series(date_bin(interval '300 s', greatest(flow_start, '2026-11-20 08:00:30+00'), 'epoch'), date_bin(interval '300 s', least(flow_end, '2026-11-20 08:55:00+00'), 'epoch'), interval '300 s') as bucket
    from flows
    where flow_end >= '2026-11-20 08:00:30+00' and flow_end < (select flows_until('2026-11-20 09:00:00+00'))
      and flow_start < '2026-11-20 09:00:00+00' and (flow_end > '2026-11-20 08:00:30+00' or flow_start = '2026-11-20 08:00:30+00')
      and (extra ->> 'sourceMacAddress') is distinct from (extra ->> 'destinationMacAddress')
      and not (flow_start >= '2026-11-20 08:00:30+00' and flow_end <= '2026-11-20 09:00:00+00' and date_bin(interval '300 s', flow_start, 'epoch') = date_bin(interval '300 s', flow_end, 'epoch'))
  ) flow
  left join top
    on coalesce('=' || flow.mac, '') = coalesce('=' || top.mac, '') and coalesce('=' || flow.application, '') = coalesce('=' || top.application, '')
  group by bucket, rank
)
select bucket, case when rank is null then 'other' else 'group' end as line, rank, mac, application,
  greatest(least(coalesce(sum(flows), 0), 9223372036854775807), 0)::bigint as flows,
  greatest(least(coalesce(sum(packets), 0), 9223372036854775807), 0)::bigint as packets,
  greatest(least(coalesce(sum(bytes), 0), 9223372036854775807), 0)::bigint as bytes
from cells
left join top
  using (rank)
group by bucket, rank, mac, application
union all
select bucket, 'total', null, null, null,
  greatest(least(coalesce(sum(flows), 0), 9223372036854775807), 0)::bigint as flows,
  greatest(least(coalesce(sum(packets), 0), 9223372036854775807), 0)::bigint as packets,
  greatest(least(coalesce(sum(bytes), 0), 9223372036854775807), 0)::bigint as bytes
from cells
where side = 1
group by bucket
order by bucket, line, rank;

