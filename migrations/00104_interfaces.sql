-- +goose Up

-- What exporters call their interfaces, beside what people call them, so that it
-- is there at once when people take theirs back.

create table interfaces (
	exporter_id int not null,
	if_index    bigint not null,
	speed       bigint,
	updated_at  timestamptz not null default now(),
	name        text,
	description text,
	announced   text,
	primary key (exporter_id, if_index)
);
comment on table interfaces is 'what exporters say about their interfaces';
comment on column interfaces.exporter_id is 'exporters.id';
comment on column interfaces.if_index is 'ifIndex, as in flows.in_if and flows.out_if';
comment on column interfaces.speed is 'bits per second, null when not known';
comment on column interfaces.updated_at is 'when this was last said';
comment on column interfaces.name is 'what people call it, else announced';
comment on column interfaces.description is 'interfaceDescription (83)';
comment on column interfaces.announced is 'interfaceName (82), as announced';
grant select, insert, update, delete on interfaces to flow_writer;
grant select on interfaces to flow_web, flow_reader;

-- A name that people gave wins over what the exporter announces, now and at its
-- next announcement. The functions are flow_writer's and act with its rights, as
-- those for the names of exporters do.
-- +goose StatementBegin
create function parts.label_interface() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
	if tg_op = 'INSERT' then
		new.announced := coalesce(new.announced, new.name);
	end if;
	new.name := coalesce(
		(select c.name from console.interfaces c where c.exporter_id = new.exporter_id and c.if_index = new.if_index),
		new.announced);
	return new;
end
$$;
-- +goose StatementEnd
comment on function parts.label_interface() is 'sets the name of an interface that is new or changed: that of people, else the announced one';
create trigger label before insert or update on interfaces
	for each row execute function parts.label_interface();

-- +goose StatementBegin
create function parts.name_interface() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
	if tg_op <> 'INSERT' then
		update public.interfaces set name = null where exporter_id = old.exporter_id and if_index = old.if_index;
	end if;
	if tg_op <> 'DELETE' then
		insert into public.interfaces (exporter_id, if_index) values (new.exporter_id, new.if_index)
		on conflict (exporter_id, if_index) do update set name = null;
	end if;
	return null;
end
$$;
-- +goose StatementEnd
comment on function parts.name_interface() is 'carries a changed name to interfaces.name';
create trigger name after insert or update or delete on console.interfaces
	for each row execute function parts.name_interface();

revoke execute on function parts.label_interface() from public;
revoke execute on function parts.name_interface() from public;
alter function parts.label_interface() owner to flow_writer;
alter function parts.name_interface() owner to flow_writer;
