-- +goose Up

-- What each person who logs in prefers, beside what people say of exporters.
create table console.preferences (
	changed_at timestamptz not null default now(),
	rows       int,
	user_name  text primary key check (user_name <> ''),
	theme      text not null default '',
	zone       text not null default '',
	range      text not null default '',
	unit       text not null default ''
);
comment on table console.preferences is 'what a person who logs in prefers to see; empty and null: as the page has it';
comment on column console.preferences.changed_at is 'when the person last changed this row';
comment on column console.preferences.rows is 'how many rows a table has';
comment on column console.preferences.user_name is 'who';
comment on column console.preferences.theme is 'system, light or dark';
comment on column console.preferences.zone is 'local or utc';
comment on column console.preferences.range is 'the range that a page begins with, as -6h';
comment on column console.preferences.unit is 'bits or bytes: what traffic a second is counted in';
grant select, insert, update on console.preferences to flow_web;

-- What an exporter calls an interface is kept beside what people call it, so that
-- it is there at once when theirs is taken back. What was announced to an interface
-- that has a name of people is learned with the next announcement.
alter table interfaces add announced text;
comment on column interfaces.announced is 'interfaceName (82), as announced';
comment on column interfaces.name is 'what people call it, else announced';
update interfaces i set announced = name
where not exists (select from console.interfaces c where c.exporter_id = i.exporter_id and c.if_index = i.if_index);

-- +goose StatementBegin
create or replace function parts.label_interface() returns trigger
language plpgsql as $$
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
alter function parts.label_interface() security definer set search_path = pg_catalog, pg_temp;
comment on function parts.label_interface() is 'sets the name of an interface that is new or changed: that of people, else the announced one';

-- +goose StatementBegin
create or replace function parts.name_interface() returns trigger
language plpgsql as $$
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
alter function parts.name_interface() security definer set search_path = pg_catalog, pg_temp;
