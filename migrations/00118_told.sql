-- +goose Up

-- Whether an exporter tells what it lost itself: without that, "nothing lost" would be said
-- of one that never spoke of it.
alter table exporter_status
	add column metering_told_at timestamptz,
	add column sending_told_at timestamptz;
comment on column exporter_status.metering_told_at is 'when it last said how many packets it did not meter, null: it never did; ignoredPacketTotalCount (164), droppedPacketTotalCount (135)';
comment on column exporter_status.sending_told_at is 'when it last said how many flow records it did not send, null: it never did; notSentFlowTotalCount (166)';
