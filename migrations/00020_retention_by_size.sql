-- +goose Up

-- How much room the database may take: what the collector's house-keeping goes by,
-- for the page to say.
create table parts.retention (
	checked_at timestamptz not null,
	size       bigint not null,
	size_limit bigint,
	one        boolean primary key default true check (one),
	set_by     text not null
);
comment on table parts.retention is 'how much room the database may take, as its Keeper has it; one row';
comment on column parts.retention.checked_at is 'when the Keeper looked last';
comment on column parts.retention.size is 'octets that the database took then, without what is on its way out';
comment on column parts.retention.size_limit is 'octets beyond which the oldest flows go, null: only their age counts';
comment on column parts.retention.one is 'true';
comment on column parts.retention.set_by is 'where the limit comes from, or why there is none';
grant select on parts.retention to flow_web, flow_reader;
grant select, insert, update, delete on parts.retention to flow_writer;

-- Where PostgreSQL keeps its data is for superusers to know, and for who may read
-- all settings. The collector's role asks for this alone, with the rights of
-- whoever migrates; when these do not reach it learns nothing. A directory of the
-- collector's machine that has the same name and has changed in the same second is
-- the same one.
-- +goose StatementBegin
create function parts.data_directory(out path text, out changed_at timestamptz)
language plpgsql as $$
begin
	path := current_setting('data_directory');
	changed_at := (pg_stat_file('.')).modification;
exception when insufficient_privilege then
	path := null;
end
$$;
-- +goose StatementEnd
alter function parts.data_directory() security definer set search_path = pg_catalog, pg_temp;
comment on function parts.data_directory() is 'where PostgreSQL keeps its data, and when that directory last changed; null when it may not be known';
revoke execute on function parts.data_directory() from public;
grant execute on function parts.data_directory() to flow_writer;
