-- +goose Up

-- Who sends, and how each that does is doing.

create table parts.exporter (
	id                 int primary key,
	observation_domain bigint not null,
	first_seen         timestamptz not null,
	addr               inet not null,
	label              text not null,
	unique (addr, observation_domain)
);
comment on table parts.exporter is 'the exporters that were ever seen, by identity';
comment on column parts.exporter.id is 'derived from addr and observation_domain alone, so that a collector can label rows while the database is away';
comment on column parts.exporter.observation_domain is 'observationDomainId (149); v9: source id; v5: engine type * 256 + engine id';
comment on column parts.exporter.first_seen is 'when its first message was received';
comment on column parts.exporter.addr is 'the source address of its packets';
comment on column parts.exporter.label is 'the name given in console.exporters, else addr; kept by triggers';
alter table parts.exporter owner to flow_writer;
grant select on parts.exporter to flow_web;

-- The label is a column of its own, rather than an expression in the view, so
-- that "exporter = 'name'" finds the id first and then only compares ids.
-- Both functions are flow_writer's, and act with its rights:
-- whoever owns a table decides what else happens when it is written to, so that
-- a function with an administrator's rights that wrote there would lend them.
-- +goose StatementBegin
create function parts.label_exporter() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
	new.label := coalesce(
		(select nullif(c.name, '') from console.exporters c where c.id = new.id),
		host(new.addr));
	return new;
end
$$;
-- +goose StatementEnd
comment on function parts.label_exporter() is 'sets the label of an exporter that is new or changed';
create trigger label before insert or update on parts.exporter
	for each row execute function parts.label_exporter();

-- +goose StatementBegin
create function parts.name_exporter() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
	-- An update of nothing: the trigger of parts.exporter finds the name.
	if tg_op <> 'INSERT' then
		update parts.exporter set label = '' where id = old.id;
	end if;
	if tg_op <> 'DELETE' then
		update parts.exporter set label = '' where id = new.id;
	end if;
	return null;
end
$$;
-- +goose StatementEnd
comment on function parts.name_exporter() is 'carries a changed name to parts.exporter.label';
create trigger name after insert or update or delete on console.exporters
	for each row execute function parts.name_exporter();

-- A trigger's function is nobody's to call.
revoke execute on function parts.label_exporter() from public;
revoke execute on function parts.name_exporter() from public;
alter function parts.label_exporter() owner to flow_writer;
alter function parts.name_exporter() owner to flow_writer;

create view exporters as
select e.id, coalesce(c.name, '') as name, e.label, e.addr, e.observation_domain, e.first_seen,
	c.color, c.sampling_rate, c.note
from parts.exporter e
left join console.exporters c on c.id = e.id;
comment on view exporters is 'the exporters that were ever seen, and what people say about them';
comment on column exporters.id is 'flows.exporter_id';
comment on column exporters.name is 'the name people gave it, empty when none did';
comment on column exporters.label is 'flows.exporter: the name, else the address';
comment on column exporters.addr is 'the source address of its packets';
comment on column exporters.observation_domain is 'observationDomainId (149); v9: source id; v5: engine type * 256 + engine id';
comment on column exporters.first_seen is 'when its first message was received';
comment on column exporters.color is 'its colour in graphs, as CSS writes it';
comment on column exporters.sampling_rate is 'N of 1:N that people say, null: as announced';
comment on column exporters.note is 'anything worth knowing about it';
grant select on exporters to flow_writer, flow_web, flow_reader;

-- Beside the traffic, what it takes to answer "why do I see nothing?" for one
-- exporter.
create table exporter_status (
	exporter_id       int primary key,
	version           int not null,
	first_seen        timestamptz not null,
	last_seen         timestamptz not null,
	updated_at        timestamptz not null,
	clock_offset_ms   bigint not null,
	datagrams         bigint not null,
	records           bigint not null,
	packets           bigint not null,
	bytes             bigint not null,
	templates         bigint not null,
	sampling_rate     bigint,
	no_template       bigint not null default 0,
	malformed         bigint not null default 0,
	over_limit        bigint not null default 0,
	held              bigint not null default 0,
	recovered         bigint not null default 0,
	rate_limited      bigint not null default 0,
	missing_records   bigint not null default 0,
	missing_datagrams bigint not null default 0,
	duplicates        bigint not null default 0,
	restarts          bigint not null default 0,
	not_sent          bigint not null default 0,
	ignored           bigint not null default 0,
	dropped           bigint not null default 0,
	time_repaired     bigint not null default 0,
	configured_rate   bigint,
	sampling_override boolean not null default false,
	last_start        timestamptz,
	last_end          timestamptz,
	last_error        text,
	last_error_at     timestamptz,
	source_ports      int not null default 0,
	senders           int not null default 0,
	gateway           boolean not null default false
) with (fillfactor = 50);
comment on table exporter_status is 'what the collector knows of each exporter, renewed every second; the counts are of this run of the collector';
comment on column exporter_status.exporter_id is 'exporters.id';
comment on column exporter_status.version is 'the last NetFlow version seen: 5, 9 or 10';
comment on column exporter_status.first_seen is 'when its first message of this run was received';
comment on column exporter_status.last_seen is 'when its last message was received';
comment on column exporter_status.updated_at is 'when the collector wrote this row';
comment on column exporter_status.clock_offset_ms is 'export time of its last message less its time of receipt, milliseconds';
comment on column exporter_status.datagrams is 'datagrams decoded';
comment on column exporter_status.records is 'flow records decoded';
comment on column exporter_status.packets is 'packets in these records, as sent';
comment on column exporter_status.bytes is 'IP octets in these records, as sent';
comment on column exporter_status.templates is 'templates known now';
comment on column exporter_status.sampling_rate is 'N of 1:N last announced, null when not known';
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
grant select, insert, update, delete on exporter_status to flow_writer;
grant select on exporter_status to flow_web, flow_reader;
