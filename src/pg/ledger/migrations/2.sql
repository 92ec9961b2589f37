-- Version 2: signs of life that keep an open write alive, and the outputs of streaming queries.

-- The driver that began the write; null: it gave no id, and sends no heartbeats.
ALTER TABLE pgflight.write ADD COLUMN IF NOT EXISTS driver pg_catalog.text;

-- The primary key that the table had at begin, for a write in a keyed mode that names no keys.
ALTER TABLE pgflight.write ADD COLUMN IF NOT EXISTS keys pg_catalog.text[] NOT NULL DEFAULT '{}';

-- The numbers of rows that the commit changed; null: it did not do this, or did not count it.
ALTER TABLE pgflight.write ADD COLUMN IF NOT EXISTS inserted_count bigint;
ALTER TABLE pgflight.write ADD COLUMN IF NOT EXISTS updated_count bigint;
ALTER TABLE pgflight.write ADD COLUMN IF NOT EXISTS deleted_count bigint;
ALTER TABLE pgflight.write ADD COLUMN IF NOT EXISTS replaced_count bigint;
ALTER TABLE pgflight.write ADD COLUMN IF NOT EXISTS ignored_count bigint;

-- The last heartbeat of each driver. A table of its own: an UPDATE of the write's row would wait behind its commit.
CREATE TABLE IF NOT EXISTS pgflight.heartbeat (
    principal pg_catalog.text        NOT NULL,        -- '' without authentication
    driver    pg_catalog.text        NOT NULL,        -- an id that the client makes, once for each process
    heard_at  pg_catalog.timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
    PRIMARY KEY (principal, driver)
);

-- One row: since when a server has been able to receive heartbeats, without a gap.
CREATE TABLE IF NOT EXISTS pgflight.watch (
    only_row  boolean     PRIMARY KEY DEFAULT true CHECK (only_row),
    since     pg_catalog.timestamptz NOT NULL,
    seen_at   pg_catalog.timestamptz NOT NULL
);

-- Writes with a stream at a server, waiting or running, and when the server last had one.
CREATE TABLE IF NOT EXISTS pgflight.streaming (
    write_id  pg_catalog.text        PRIMARY KEY,
    seen_at   pg_catalog.timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp()
);

-- Outputs of streaming queries. They are kept however long ago their last batch was.
CREATE TABLE IF NOT EXISTS pgflight.sink (
    principal  pg_catalog.text        NOT NULL,       -- '' without authentication
    sink_id    pg_catalog.text        NOT NULL,
    query_id   pg_catalog.text        NOT NULL,       -- the streaming query that may write; '' when no caller has named one
    past_query_ids pg_catalog.text[]  NOT NULL DEFAULT '{}',  -- queries that it replaced, which may not write again
    run        integer     NOT NULL DEFAULT 0,  -- how many queries were adopted after the first
    last_batch bigint,                     -- of this query; null: none is committed yet
    changed_at pg_catalog.timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
    PRIMARY KEY (principal, sink_id)
);

-- The batch that a write is, for the row of its sink.
ALTER TABLE pgflight.write ADD COLUMN IF NOT EXISTS sink_id pg_catalog.text;
ALTER TABLE pgflight.write ADD COLUMN IF NOT EXISTS sink_run integer;
ALTER TABLE pgflight.write ADD COLUMN IF NOT EXISTS sink_batch bigint;

-- Principals with a limit on open writes. Their rows are locked while their writes are counted.
CREATE TABLE IF NOT EXISTS pgflight.principal (
    name pg_catalog.text PRIMARY KEY
);

-- The numbers of rejected rows, and the set of an attempt's rejected rows; null: it has none.
ALTER TABLE pgflight.write ADD COLUMN IF NOT EXISTS rejected_count bigint NOT NULL DEFAULT 0;
ALTER TABLE pgflight.write ADD COLUMN IF NOT EXISTS reject_reasons pg_catalog.text NOT NULL DEFAULT '';
ALTER TABLE pgflight.attempt ADD COLUMN IF NOT EXISTS rejected_count bigint NOT NULL DEFAULT 0;
ALTER TABLE pgflight.attempt ADD COLUMN IF NOT EXISTS reject_set pg_catalog.text;

-- Rejected rows of committed writes, for as long as the ledger has the write.
CREATE TABLE IF NOT EXISTS pgflight.reject (
    write_id        pg_catalog.text NOT NULL,
    partition_id    bigint          NOT NULL,
    attempt_id      pg_catalog.text NOT NULL,         -- '' for a write of one stream
    row_number      bigint          NOT NULL,         -- within the stream, from 0
    kind            pg_catalog.text NOT NULL,
    sqlstate        pg_catalog.text,
    column_name     pg_catalog.text,
    constraint_name pg_catalog.text,
    message         pg_catalog.text NOT NULL,         -- without values
    keys            pg_catalog.jsonb,
    row             pg_catalog.jsonb,
    ipc             pg_catalog.bytea,                 -- the row, as a stream of Arrow IPC
    rejected_at     pg_catalog.timestamptz NOT NULL
);
CREATE INDEX IF NOT EXISTS reject_write ON pgflight.reject (write_id, partition_id, row_number);

-- Rejected rows of streams whose attempts are not committed. The record of an attempt names its set.
CREATE TABLE IF NOT EXISTS pgflight.staged_reject (
    set_id          pg_catalog.text NOT NULL,
    write_id        pg_catalog.text NOT NULL,
    partition_id    bigint          NOT NULL,
    attempt_id      pg_catalog.text NOT NULL,
    row_number      bigint          NOT NULL,
    kind            pg_catalog.text NOT NULL,
    sqlstate        pg_catalog.text,
    column_name     pg_catalog.text,
    constraint_name pg_catalog.text,
    message         pg_catalog.text NOT NULL,
    keys            pg_catalog.jsonb,
    row             pg_catalog.jsonb,
    ipc             pg_catalog.bytea,
    staged_at       pg_catalog.timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp()
);
CREATE INDEX IF NOT EXISTS staged_reject_write ON pgflight.staged_reject (write_id, set_id);
CREATE INDEX IF NOT EXISTS staged_reject_set ON pgflight.staged_reject (set_id);

INSERT INTO pgflight.migration (version) VALUES (2) ON CONFLICT DO NOTHING;
