-- +goose Up

-- What an exporter is called when nobody has named it: by the listener that it came in
-- on, by itself, or by reverse DNS. Each has a column, so that a name that is taken back
-- gives way to the next; and no two exporters are called the same, so that whatever is
-- read can be asked for.

alter table parts.exporter
	add column listener_name text,
	add column announced_name text,
	add column dns_name text,
	add column called text,
	add column named_by text not null default 'address';
comment on table parts.exporter is 'the exporters that were ever seen, by identity, and what they are called';
comment on column parts.exporter.label is 'what it is called, as no other is; kept by triggers: called, else addr, with the observation domain, the address or the id behind it where another one would be called the same';
comment on column parts.exporter.listener_name is 'the name of the listener it came in on (--listen NAME=ADDRESS), null when that has none';
comment on column parts.exporter.announced_name is 'the name that it tells of itself in options, null when it told none';
comment on column parts.exporter.dns_name is 'the name that reverse DNS has for addr, null when none was found';
comment on column parts.exporter.called is 'the first of these that there is: the name that people gave it, listener_name, announced_name, dns_name; kept by a trigger';
comment on column parts.exporter.named_by is 'whose name called is: people, listener, announced, dns; address: nobody''s; kept by a trigger';
create index on parts.exporter (label);
create index on parts.exporter (called, addr) where called is not null;

-- The label of an exporter: a name of people's as it is, which is theirs alone. Another
-- name, too, as long as nobody has it: who has one keeps it when another one comes with
-- the same, which anybody can announce. An address that several share says none of them,
-- so each has its domain behind it. Indexes are used whatever the planner thinks: a session
-- keeps a plan that it made when there were few exporters.
-- +goose StatementBegin
create or replace function parts.label_exporter() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp set enable_seqscan = off as $$
declare
	domain text := ' domain ' || new.observation_domain;
	given text := (select nullif(c.name, '') from console.exporters c where c.id = new.id);
	choice text;
begin
	new.called := coalesce(given, new.listener_name, new.announced_name, new.dns_name);
	new.named_by := case when given is not null then 'people' when new.listener_name is not null then 'listener'
		when new.announced_name is not null then 'announced' when new.dns_name is not null then 'dns' else 'address' end;
	if new.named_by = 'people' then
		new.label := new.called;
		return new;
	end if;
	if new.called is null and not exists (select from parts.exporter e where e.addr = new.addr and e.id <> new.id)
		or new.called is not null and not exists (select from parts.exporter e where e.called = new.called and e.addr = new.addr and e.id <> new.id) then
		domain := '';
	end if;
	foreach choice in array array[
		coalesce(new.called, host(new.addr)) || domain,
		coalesce(new.called || ' ', '') || host(new.addr) || domain,
		coalesce(new.called || ' ', '') || host(new.addr) || domain || ' (' || new.id || ')'
	] loop
		new.label := choice;
		exit when not exists (select from parts.exporter e where e.label = choice and e.id <> new.id);
	end loop;
	return new;
end
$$;
-- +goose StatementEnd
comment on function parts.label_exporter() is 'sets what an exporter that is new or changed is called';

-- When one comes, goes or is called otherwise, another one may have to be told apart from
-- it, or no longer. Which that can be, its label says: none is looked at for each of
-- thousands, so that a stranger with as many domains holds nobody up.
-- +goose StatementBegin
create function parts.label_others() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp set enable_seqscan = off as $$
begin
	if tg_op <> 'DELETE' then
		-- who has at this address the address, or the name, as a label alone, and needs the
		-- domain now; and who has the name that people now give to this one
		update parts.exporter set label = ''
		where label = any (array[host(new.addr), new.called, new.called || ' ' || host(new.addr)]) and id <> new.id and named_by <> 'people'
			and (addr = new.addr or label = new.called and new.named_by = 'people');
	end if;
	if tg_op = 'DELETE' then
		-- the one that is left at the address
		update parts.exporter set label = '' where id in (
			select min(id) from (select id from parts.exporter where addr = old.addr limit 2) as left_over having count(*) = 1);
	end if;
	if tg_op <> 'INSERT' then
		-- the one that is left of those called so at the address
		update parts.exporter set label = '' where id in (
			select min(id) from (select id from parts.exporter where addr = old.addr and called = old.called and id <> old.id limit 2) as left_over having count(*) = 1);
		-- and, where the name alone is free, the one that was there first of those called so
		if old.label = old.called then
			update parts.exporter set label = '' where id in (
				select id from parts.exporter where called = old.called and id <> old.id and named_by <> 'people' order by first_seen, id limit 1);
		end if;
	end if;
	return null;
end
$$;
-- +goose StatementEnd
comment on function parts.label_others() is 'sets anew what exporters are called that one which came, went or is called otherwise is to be told apart from';
create trigger others_of_new after insert on parts.exporter
	for each row execute function parts.label_others();
create trigger others_of_gone after delete on parts.exporter
	for each row execute function parts.label_others();
create trigger others_of_changed after update on parts.exporter
	for each row when (old.called is distinct from new.called or old.named_by is distinct from new.named_by)
	execute function parts.label_others();
revoke execute on function parts.label_others() from public;
alter function parts.label_others() owner to flow_writer;

create or replace view exporters as
select e.id, coalesce(c.name, '') as name, e.label, e.addr, e.observation_domain, e.first_seen,
	c.color, c.sampling_rate, c.note, c.sampling_from, c.sampling_instead,
	e.named_by, e.listener_name, e.announced_name, e.dns_name
from parts.exporter e
left join console.exporters c on c.id = e.id;
comment on column exporters.label is 'flows.exporter: what it is called, as no other is: its name, else that of its listener, the one it announced or its name in DNS, else its address; with the observation domain or the address behind it where another one would be called the same';
comment on column exporters.named_by is 'whose name the label is: people, listener, announced, dns, address';
comment on column exporters.listener_name is 'the name of the listener it came in on (--listen NAME=ADDRESS), null when that has none';
comment on column exporters.announced_name is 'the name that it tells of itself in options, null when it told none';
comment on column exporters.dns_name is 'the name that reverse DNS has for addr, null when none was found';

-- Those that there are.
update parts.exporter set label = '';

comment on column flows.exporter is 'who sent the record: what it is called, as no other is: its name, else its address, with the observation domain where several share it; null until its first status is stored';
comment on column events.exporter is 'who sent it: what it is called, as no other is: its name, else its address, with the observation domain where several share it; null until its first status is stored';
