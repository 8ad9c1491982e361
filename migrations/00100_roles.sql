-- +goose Up

-- The three roles belong to the cluster, not to the database: another database
-- may have made them already, or be making them at this moment. They cannot log
-- in until somebody gives them a password.
-- +goose StatementBegin
do $$
declare
	r text;
begin
	foreach r in array array['flow_writer', 'flow_web', 'flow_reader'] loop
		if not exists (select from pg_roles where rolname = r) then
			begin
				execute format('create role %I nologin', r);
			exception when duplicate_object or unique_violation then
				null;
			end;
		end if;
		-- Who migrates hands things over to the roles, and so has to be able to
		-- become them; a superuser is. From PostgreSQL 16 on, who makes a role is
		-- only its administrator at first, and of a role that another made not
		-- even that.
		if not (select rolsuper from pg_roles where rolname = current_user) then
			begin
				execute format('grant %I to current_user', r);
			exception
				when duplicate_object or unique_violation then
					null;
				when insufficient_privilege then
					raise insufficient_privilege using message = format(
						'the role %s was made by somebody else; a superuser has to say: grant %s to %s with admin option',
						r, r, current_user);
			end;
		end if;
	end loop;
end
$$;
-- +goose StatementEnd

-- A statement that somebody writes in the console runs as flow_reader. What that
-- role may not do is what counts then, so the console has to be able to become
-- it; who migrates need not be a superuser, but has made the roles, or was given
-- them.
-- +goose StatementBegin
do $$
begin
	grant flow_reader to flow_web;
exception when insufficient_privilege then
	raise warning 'flow_web cannot become flow_reader, so that the console answers no SQL: as a superuser, say grant flow_reader to flow_web';
end
$$;
-- +goose StatementEnd

-- What the roles' sessions start with, in this database. Compiling a plan takes
-- longer than most questions do; a reader that sleeps in a transaction would
-- hold up the removal of old partitions.
-- +goose StatementBegin
do $$
declare
	r text;
begin
	foreach r in array array['flow_writer', 'flow_web', 'flow_reader'] loop
		execute format('alter role %I in database %I set jit = off', r, current_database());
		execute format('alter role %I in database %I set timezone = ''UTC''', r, current_database());
	end loop;
	execute format('alter role flow_reader in database %I set default_transaction_read_only = on', current_database());
	execute format('alter role flow_reader in database %I set statement_timeout = ''60s''', current_database());
	execute format('alter role flow_reader in database %I set idle_in_transaction_session_timeout = ''60s''', current_database());
end
$$;
-- +goose StatementEnd

-- A question that sorts or hashes more than fits in memory writes temporary
-- files. They may not fill the disk that the flows are on. The limit is that of
-- who logs in, so flow_web needs it as well. Only a superuser can set it, or who
-- was granted the parameter.
-- +goose StatementBegin
do $$
declare
	r text;
begin
	foreach r in array array['flow_reader', 'flow_web'] loop
		begin
			execute format('alter role %I in database %I set temp_file_limit = ''8GB''', r, current_database());
		exception when insufficient_privilege then
			raise warning 'the temporary files of % are not limited, because % is no superuser: as one, say alter role % in database % set temp_file_limit = ''8GB''', r, current_user, r, quote_ident(current_database());
		end;
	end loop;
end
$$;
-- +goose StatementEnd
