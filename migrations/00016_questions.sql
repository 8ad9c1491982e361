-- +goose Up

-- What a question has to know of the roll-ups before it reads them.
create index batches_max_end on batches (max_end);

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

-- The limit of 00009 is that of who logs in.
-- +goose StatementBegin
do $$
begin
	execute format('alter role flow_web in database %I set temp_file_limit = ''8GB''', current_database());
exception when insufficient_privilege then
	raise warning 'the temporary files of flow_web are not limited, because % is no superuser: as one, say alter role flow_web in database %I set temp_file_limit = ''8GB''', current_user, current_database();
end
$$;
-- +goose StatementEnd
