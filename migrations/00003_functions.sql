-- +goose Up

-- These are expressions with a name: the planner puts their bodies where they
-- are called. For that they are plain SQL, not strict, and built only from
-- immutable parts: date_part of an interval is one, of a timestamptz it is not.

-- +goose StatementBegin
create function flow_ms(t timestamptz) returns bigint
language sql immutable parallel safe as $$
	select round(date_part('epoch', t - timestamptz '1970-01-01 00:00:00+00') * 1000)::bigint
$$;
-- +goose StatementEnd
comment on function flow_ms(timestamptz) is 'milliseconds since 1970-01-01 UTC, exact for whole milliseconds';

-- value * d / l is written with quotient and remainder: value / l * d is at most
-- value, and value % l * d is below l * l, which fits a bigint for the 35 days
-- that a flow may last.
-- +goose StatementBegin
create function flow_share(value bigint, start timestamptz, "end" timestamptz, "from" timestamptz, "to" timestamptz) returns bigint
language sql immutable parallel safe as $$
	select case
		when "end" <= start then
			case when "from" <= start and start < "to" then value else 0 end
		when "from" <= start and "end" <= "to" then value
		else
			case
				when "to" <= start then 0
				when "to" >= "end" then value
				else value / greatest(round(date_part('epoch', "end" - start) * 1000)::bigint, 1)
						* round(date_part('epoch', "to" - start) * 1000)::bigint
					+ value % greatest(round(date_part('epoch', "end" - start) * 1000)::bigint, 1)
						* round(date_part('epoch', "to" - start) * 1000)::bigint
						/ greatest(round(date_part('epoch', "end" - start) * 1000)::bigint, 1)
			end
			- case
				when "from" <= start then 0
				when "from" >= "end" then value
				else value / greatest(round(date_part('epoch', "end" - start) * 1000)::bigint, 1)
						* round(date_part('epoch', "from" - start) * 1000)::bigint
					+ value % greatest(round(date_part('epoch', "end" - start) * 1000)::bigint, 1)
						* round(date_part('epoch', "from" - start) * 1000)::bigint
						/ greatest(round(date_part('epoch', "end" - start) * 1000)::bigint, 1)
			end
		end
$$;
-- +goose StatementEnd
comment on function flow_share(bigint, timestamptz, timestamptz, timestamptz, timestamptz) is
	'the part of value, spread evenly over [start, end), that lies inside [from, to); a flow without duration lies where it starts; shares of adjoining ranges add up to value';

-- +goose StatementBegin
create function flows_until("to" timestamptz) returns timestamptz
language sql stable parallel safe as $$
	select coalesce(max(p.hour) + interval '1 hour', "to") from parts.partition p where p.min_start < "to"
$$;
-- +goose StatementEnd
comment on function flows_until(timestamptz) is
	'every flow that starts before the given time ends before the returned one: flow_end < (select flows_until(to)) leaves the partitions after it unread; the select makes it be asked once, not for every row';
