-- +goose Up

-- Grants are the boundary: what a role may not do, the server refuses, whatever
-- reaches it as SQL. Here are those on the database, its schemas and the server's
-- functions; each later file grants what it makes.

-- No temporary tables, and no visitors.
-- +goose StatementBegin
do $$
begin
	execute format('revoke all on database %I from public', current_database());
	execute format('grant connect on database %I to flow_writer, flow_web, flow_reader', current_database());
end
$$;
-- +goose StatementEnd

revoke create on schema public from public;
grant usage on schema public to flow_writer, flow_web, flow_reader;
-- Everybody who opens the database compares its version with his own.
grant select on goose_db_version to flow_writer, flow_web, flow_reader;

-- The collector makes, attaches and detaches partitions by itself, which only an
-- owner may.
create schema parts authorization flow_writer;
comment on schema parts is 'where flows are kept: hourly partitions and what belongs to them; ask the view public.flows instead';
grant usage on schema parts to flow_web, flow_reader;

create schema console;
comment on schema console is 'what people say through the web page: names, colours, corrections';
grant usage on schema console to flow_writer, flow_web;

-- Everybody may call these functions of the server's own unless told otherwise,
-- also in a read-only transaction: they write, lock, kill or change settings.
-- Only a superuser can take them away; anybody else is told what is left open.
-- +goose StatementBegin
do $$
declare
	f record;
	refused int := 0;
begin
	for f in
		select p.oid::regprocedure as signature,
			p.proname !~ '^(lo_|lowrite|loread|pg_logical_emit)' as needed
		from pg_proc p
		where p.pronamespace = 'pg_catalog'::regnamespace
			and (p.proname ~ '^pg_(try_)?advisory_' or p.proname ~ '^lo_'
				or p.proname in ('lowrite', 'loread', 'set_config', 'pg_notify',
					'pg_cancel_backend', 'pg_terminate_backend', 'pg_logical_emit_message', 'pg_export_snapshot'))
	loop
		begin
			execute format('revoke execute on function %s from public', f.signature);
			if f.needed then
				execute format('grant execute on function %s to flow_writer, flow_web, current_user', f.signature);
			end if;
		exception when insufficient_privilege then
			refused := refused + 1;
		end;
	end loop;
	if refused > 0 then
		raise warning 'flow_reader may still call % functions that lock or write, because % is no superuser: run the last part of 00101_privileges.sql as one', refused, current_user;
	end if;
end
$$;
-- +goose StatementEnd
