-- +goose Up

-- Who follows a few values over time, or asks what may be missing of them, reads
-- their rows and the remainders, not all rows of a dimension. Of minutes, hosts
-- alone have that: an index costs as much as a quarter of their rows, 6 octets a
-- flow at 20 million flows a day.
-- +goose StatementBegin
do $$
declare
	grain text;
begin
	foreach grain in array array['traffic_1m', 'traffic_1h', 'traffic_1d'] loop
		execute format($f$create index on parts.%I (dimension, addr, bucket) where dimension in ('src_addr', 'dst_addr')$f$, grain);
		execute format('create index on parts.%I (dimension, bucket) where remainder', grain);
		if grain <> 'traffic_1m' then
			execute format($f$create index on parts.%I (dimension, number, bucket) where dimension in ('src_port', 'dst_port')$f$, grain);
		end if;
	end loop;
end
$$;
-- +goose StatementEnd
