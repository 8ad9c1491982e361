-- +goose Up

-- What people say through the web page: of exporters and interfaces, the views
-- they saved, and what each who logs in prefers. The console writes these tables
-- and no others. Names are carried to where they are shown by triggers, which are
-- made with the exporters and the interfaces.

create table console.exporters (
	id            int primary key,
	name          text unique,
	color         text,
	sampling_rate int check (sampling_rate > 0),
	note          text,
	changed_at    timestamptz not null default now()
);
comment on table console.exporters is 'what people say about an exporter';
comment on column console.exporters.id is 'parts.exporter.id';
comment on column console.exporters.name is 'what to call it; null or empty: its address';
comment on column console.exporters.color is 'its colour in graphs, as CSS writes it';
comment on column console.exporters.sampling_rate is 'N of 1:N, to be used instead of what it announces';
comment on column console.exporters.note is 'anything worth knowing about it';
comment on column console.exporters.changed_at is 'when a person last changed this row';
grant select on console.exporters to flow_writer;
grant select, insert, update, delete on console.exporters to flow_web;

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
grant select, insert, update, delete on console.interfaces to flow_web;
grant select on console.interfaces to flow_writer;

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
grant select, insert, update, delete on console.views to flow_web;

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
