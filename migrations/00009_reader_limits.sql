-- +goose Up

-- A question of a reader that sorts or hashes more than fits in memory writes
-- temporary files. They may not fill the disk that the flows are on. Only a
-- superuser can set it, or who was granted the parameter.
-- +goose StatementBegin
do $$
begin
	execute format('alter role flow_reader in database %I set temp_file_limit = ''8GB''', current_database());
exception when insufficient_privilege then
	raise warning 'the temporary files of flow_reader are not limited, because % is no superuser: as one, say alter role flow_reader in database %I set temp_file_limit = ''8GB''', current_user, current_database();
end
$$;
-- +goose StatementEnd
