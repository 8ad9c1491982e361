-- +goose Up

-- Tokens with which scripts ask the web API in a person's name. What is kept opens
-- nothing: the secret is 256 random bits, and of it a SHA-256; the code is made
-- with the hash of the person's password, which no database has, over everything
-- here that counts, so that who writes into this table makes no token.
create table console.tokens (
	id         bigint generated always as identity primary key,
	made_at    timestamptz not null,
	expires_at timestamptz not null check (expires_at > made_at),
	used_at    timestamptz,
	user_name  text not null check (user_name <> ''),
	name       text not null check (name <> ''),
	role       text not null check (role in ('viewer', 'editor')),
	secret     bytea not null unique check (length(secret) = 32),
	code       bytea not null check (length(code) = 32),
	unique (user_name, name)
);
comment on table console.tokens is 'tokens with which scripts ask the web API in the name of a person who logs in';
comment on column console.tokens.id is 'a number of ours';
comment on column console.tokens.made_at is 'when it was made';
comment on column console.tokens.expires_at is 'when it ends';
comment on column console.tokens.used_at is 'when it was last used, to the minute; null: never';
comment on column console.tokens.user_name is 'in whose name it asks';
comment on column console.tokens.name is 'what the person calls it';
comment on column console.tokens.role is 'viewer or editor: the most it may do';
comment on column console.tokens.secret is 'the SHA-256 of the token';
comment on column console.tokens.code is 'an HMAC-SHA256 of what is in the row, under the hash of the password with which it was made';
grant select, insert, delete, update (used_at) on console.tokens to flow_web;
