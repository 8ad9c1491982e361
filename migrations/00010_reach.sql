-- +goose Up

create view reach as
select s.source, r.cut_before,
	case s.source
		when 'flows' then (select min(p.hour) from parts.partition p)
		when 'traffic_1m' then (select min(t.from_time) from parts.traffic t where t.grain = 0)
		when 'traffic_1h' then (select min(t.from_time) from parts.traffic t where t.grain = 1)
		else (select min(t.from_time) from parts.traffic t where t.grain = 2)
	end as first
from (values ('flows'), ('traffic_1m'), ('traffic_1h'), ('traffic_1d')) s (source)
left join parts.reach r on r.source = s.source;
comment on view reach is 'how far back flows and each roll-up reach, and whether retention cut them';
comment on column reach.source is 'flows, traffic_1m, traffic_1h or traffic_1d';
comment on column reach.cut_before is 'what lies before was, or may have been, removed by retention; null: nothing was';
comment on column reach.first is 'the begin of the earliest partition there is, null: there is none';
grant select on reach to flow_writer, flow_web, flow_reader;
