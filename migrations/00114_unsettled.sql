-- +goose Up

-- Where late flows were summed, the hours and days of the roll-ups lack them until
-- their buckets are settled again. The minutes have them. Hours whose minutes are
-- removed are left out: there the hours are the finest there is.
create view unsettled as
select distinct date_bin('1 hour', p.bucket, 'epoch') as hour
from parts.pending p
where p.bucket >= coalesce((select cut_before from reach where source = 'traffic_1m'), '-infinity');
comment on view unsettled is
	'the hours in which sums wait to be settled: traffic_1h and traffic_1d do not have all flows of them yet, traffic_1m has';
comment on column unsettled.hour is 'the hour''s begin';
grant select on unsettled to flow_writer, flow_web, flow_reader;
