-- +goose Up

comment on column loss.stage is 'where: exporter (by its own word), way, receive, decode, store';

-- The ledger is asked by range, which the primary key answers, and by exporter.
create index loss_exporter on loss (exporter_id, minute);
