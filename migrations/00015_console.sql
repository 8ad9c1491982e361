-- +goose Up

-- What people say through the web page, beside what they call exporters: what
-- they call interfaces, and the views they saved.

create table console.interfaces (
	if_index    bigint not null,
	changed_at  timestamptz not null default now(),
	exporter_id int not null,
	name        text not null check (name <> ''),
	primary key (exporter_id, if_index)
);
comment on table console.interfaces is 'what people call an interface';
comment on column console.interfaces.if_index is 'interfaces.if_index';
comment on column console.interfaces.changed_at is 'when a person last changed this row';
comment on column console.interfaces.exporter_id is 'parts.exporter.id';
comment on column console.interfaces.name is 'its name, in place of what the exporter announces';

create table console.views (
	id         bigint generated always as identity primary key,
	changed_at timestamptz not null default now(),
	pinned     boolean not null,
	name       text not null unique check (name <> ''),
	url        text not null,
	filter     text not null,
	color      text not null,
	sign       text not null check (sign in ('+', '-'))
);
comment on table console.views is 'the views that people saved';
comment on column console.views.id is 'a number of ours';
comment on column console.views.changed_at is 'when a person last changed this row';
comment on column console.views.pinned is 'whether the overview shows it';
comment on column console.views.name is 'what people call it';
comment on column console.views.url is 'the address inside the page';
comment on column console.views.filter is 'its filter, empty for all flows';
comment on column console.views.color is 'its colour in graphs, as CSS writes it, empty for one that is free';
comment on column console.views.sign is '+ above the axis, - below it';

grant select, insert, update, delete on console.interfaces, console.views to flow_web;
grant select on console.interfaces to flow_writer;

-- A name that people gave wins over what the exporter announces, now and at its
-- next announcement. When it is taken back, the announced one returns with that.
-- The functions are flow_writer's and act with its rights, as those for the names
-- of exporters do.
-- +goose StatementBegin
create function parts.label_interface() returns trigger
language plpgsql as $$
begin
	new.name := coalesce(
		(select c.name from console.interfaces c where c.exporter_id = new.exporter_id and c.if_index = new.if_index),
		new.name);
	return new;
end
$$;
-- +goose StatementEnd
alter function parts.label_interface() security definer set search_path = pg_catalog, pg_temp;
comment on function parts.label_interface() is 'sets the name that people gave an interface that is new or changed';
create trigger label before insert or update on interfaces
	for each row execute function parts.label_interface();

-- +goose StatementBegin
create function parts.name_interface() returns trigger
language plpgsql as $$
begin
	if tg_op <> 'INSERT' then
		update public.interfaces set name = null where exporter_id = old.exporter_id and if_index = old.if_index;
	end if;
	if tg_op <> 'DELETE' then
		insert into public.interfaces (exporter_id, if_index, name) values (new.exporter_id, new.if_index, new.name)
		on conflict (exporter_id, if_index) do update set name = excluded.name;
	end if;
	return null;
end
$$;
-- +goose StatementEnd
alter function parts.name_interface() security definer set search_path = pg_catalog, pg_temp;
comment on function parts.name_interface() is 'carries a changed name to interfaces.name';
create trigger name after insert or update or delete on console.interfaces
	for each row execute function parts.name_interface();

revoke execute on function parts.label_interface() from public;
revoke execute on function parts.name_interface() from public;
alter function parts.label_interface() owner to flow_writer;
alter function parts.name_interface() owner to flow_writer;
