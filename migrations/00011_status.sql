-- +goose Up

-- What it takes to answer "why do I see nothing?" for one exporter.
alter table exporter_status
	add column no_template bigint not null default 0,
	add column malformed bigint not null default 0,
	add column over_limit bigint not null default 0,
	add column held bigint not null default 0,
	add column recovered bigint not null default 0,
	add column rate_limited bigint not null default 0,
	add column missing_records bigint not null default 0,
	add column missing_datagrams bigint not null default 0,
	add column duplicates bigint not null default 0,
	add column restarts bigint not null default 0,
	add column not_sent bigint not null default 0,
	add column ignored bigint not null default 0,
	add column dropped bigint not null default 0,
	add column time_repaired bigint not null default 0,
	add column configured_rate bigint,
	add column sampling_override boolean not null default false,
	add column last_start timestamptz,
	add column last_end timestamptz,
	add column last_error text,
	add column last_error_at timestamptz,
	add column source_ports int not null default 0,
	add column senders int not null default 0,
	add column gateway boolean not null default false;
comment on column exporter_status.no_template is 'data sets that were not decoded because their template did not come';
comment on column exporter_status.malformed is 'sets (v5: records) that contradict the specification';
comment on column exporter_status.over_limit is 'sets (v5: records) not decoded because a limit was reached';
comment on column exporter_status.held is 'data sets that were kept until their template would come';
comment on column exporter_status.recovered is 'data sets of these that it came for';
comment on column exporter_status.rate_limited is 'records dropped because the exporter sent more than it may in a second';
comment on column exporter_status.missing_records is 'records that sequence numbers, and in v9 the exporter''s own totals, show to be lost on the way';
comment on column exporter_status.missing_datagrams is 'datagrams that v9 sequence numbers show to be lost on the way';
comment on column exporter_status.duplicates is 'datagrams that came twice, or too late to be missed';
comment on column exporter_status.restarts is 'how often it began to count anew';
comment on column exporter_status.not_sent is 'flow records it says it did not send; notSentFlowTotalCount (166)';
comment on column exporter_status.ignored is 'packets it says it did not care for; ignoredPacketTotalCount (164)';
comment on column exporter_status.dropped is 'packets it says it lost; droppedPacketTotalCount (135)';
comment on column exporter_status.time_repaired is 'records whose times were impossible and were repaired';
comment on column exporter_status.configured_rate is 'N of 1:N that the collector was told to use, null when nothing';
comment on column exporter_status.sampling_override is 'whether that holds whatever is announced';
comment on column exporter_status.last_start is 'the earliest flow_start in its last message with records';
comment on column exporter_status.last_end is 'the latest flow_end in its last message with records';
comment on column exporter_status.last_error is 'the last reason why something was not decoded, null when there was none';
comment on column exporter_status.last_error_at is 'when that was';
comment on column exporter_status.source_ports is 'source ports it sent from in the minute before last_seen';
comment on column exporter_status.senders is 'how many of these number their messages for themselves: more than 1 are several exporters behind one address';
comment on column exporter_status.gateway is 'the address is that of a router in front of the collector, as of Docker''s bridge, which hides who sent';
