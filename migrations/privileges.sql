-- What `flowtally migrate` sees to each time, after the migrations: privileges that a
-- restored backup or a newer PostgreSQL leaves open. It does nothing where nothing is
-- to be done.

-- Functions of the server that write, lock, kill or change settings, also in a read-only
-- transaction; everybody may call them unless told otherwise. A major version may bring
-- another signature of one that was taken away before (pg_logical_emit_message has a
-- fourth argument since PostgreSQL 17).
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
			and has_function_privilege('public', p.oid, 'execute')
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
		raise warning 'flow_reader may still call % functions that lock or write, because % is no superuser: run flowtally migrate once as one', refused, current_user;
	end if;
end
$$;

-- The console becomes flow_reader for what people write. A restore of roles to PostgreSQL
-- 16 or later can lose that.
do $$
begin
	if not pg_has_role('flow_web', 'flow_reader', 'member') then
		grant flow_reader to flow_web;
	end if;
exception when insufficient_privilege then
	raise warning 'flow_web cannot become flow_reader, so that the console answers no SQL: as a superuser, say grant flow_reader to flow_web';
end
$$;
