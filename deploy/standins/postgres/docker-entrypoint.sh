#!/bin/sh
# What the entry point of the official image does, as far as our compose file needs it:
# as root gives the directories to postgres and becomes postgres; in an empty data
# directory makes a cluster, the role and the database of the environment, and runs
# the files of /docker-entrypoint-initdb.d.
set -eu

if [ "$(id -u)" = 0 ]; then
	mkdir -p "$PGDATA"
	chown postgres "$PGDATA" /var/run/postgresql
	chmod 700 "$PGDATA"
	exec setpriv --reuid=postgres --regid=postgres --clear-groups "$0" "$@"
fi

if [ ! -s "$PGDATA/PG_VERSION" ]; then
	umask 077
	printf '%s\n' "$POSTGRES_PASSWORD" >/tmp/password
	# The words of POSTGRES_INITDB_ARGS are several.
	# shellcheck disable=SC2086
	initdb --username="$POSTGRES_USER" --pwfile=/tmp/password $POSTGRES_INITDB_ARGS
	rm /tmp/password
	printf '\nhost all all all %s\n' scram-sha-256 >>"$PGDATA/pg_hba.conf"
	pg_ctl --wait start --options="-c listen_addresses="
	psql="psql -X -v ON_ERROR_STOP=1 --no-password --username=$POSTGRES_USER"
	echo "create database \"$POSTGRES_DB\"" | $psql --dbname=postgres
	for file in /docker-entrypoint-initdb.d/*.sql; do
		if [ -f "$file" ]; then
			$psql --dbname="$POSTGRES_DB" --file="$file"
		fi
	done
	pg_ctl --wait --mode=fast stop
fi
exec "$@"
