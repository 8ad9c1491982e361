-- +goose Up

-- Where collectors listen, by their own word, for the page to say where to send to.
create table parts.listener (
	reported_at timestamptz not null default clock_timestamp(),
	container   boolean not null,
	collector   text not null,
	protocol    text not null check (protocol in ('udp', 'tcp', 'tls')),
	address     text not null,
	announced   text,
	reachable   inet[] not null,
	primary key (collector, protocol, address)
);
comment on table parts.listener is 'where each collector listens, renewed every minute';
comment on column parts.listener.reported_at is 'when it last said so';
comment on column parts.listener.container is 'it runs in a container: reachable are the container''s own addresses, which others may not reach';
comment on column parts.listener.collector is 'the name of its machine';
comment on column parts.listener.protocol is 'udp, tcp or tls';
comment on column parts.listener.address is 'what it is bound to, address:port';
comment on column parts.listener.announced is 'what exporters should send to, by the word of who started it (--announce), null: nothing';
comment on column parts.listener.reachable is 'the addresses of its machine at which this one is reached';
alter table parts.listener owner to flow_writer;
grant select on parts.listener to flow_reader, flow_web;
