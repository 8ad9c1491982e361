-- +goose Up

-- What was received in a range is counted against what was lost in it, and only
-- batches tell which hours of flow_end that is in.
create index batches_received on batches (received_to, received_from);
