-- Version 4: what keeps an open write alive, what its attempts hold, and what a stream has written before.

-- prepared_lost: decided, but prepared transactions of accepted attempts had been ended by another session.
ALTER TABLE pgflight.write DROP CONSTRAINT IF EXISTS write_state_check;
ALTER TABLE pgflight.write ADD CONSTRAINT write_state_check
    CHECK (state OPERATOR(pg_catalog.=) ANY (ARRAY['open', 'committing', 'committed', 'aborted', 'prepared_lost']));

-- The staging table as begin made it: the commit refuses one that was changed or made again.
ALTER TABLE pgflight.write ADD COLUMN IF NOT EXISTS staging_oid pg_catalog.oid;
ALTER TABLE pgflight.write ADD COLUMN IF NOT EXISTS staging_columns pg_catalog.text;

-- The transaction that was prepared, for pg_xact_status; null: the attempt's rows are staged.
ALTER TABLE pgflight.attempt ADD COLUMN IF NOT EXISTS prepared_xact_id pg_catalog.xid8;
-- Accepted, and its transaction was ended by another session without its rows.
ALTER TABLE pgflight.attempt ADD COLUMN IF NOT EXISTS lost boolean NOT NULL DEFAULT false;

-- Which driver began the write; null: it gave no id, and sends no heartbeats.
ALTER TABLE pgflight.write ADD COLUMN IF NOT EXISTS driver pg_catalog.text;

-- When a driver was last heard. A table of its own: an UPDATE of the write's row would wait behind its commit.
CREATE TABLE IF NOT EXISTS pgflight.heartbeat (
    principal pg_catalog.text        NOT NULL,        -- '' without authentication
    driver    pg_catalog.text        NOT NULL,        -- an id that the client makes, once for each process
    heard_at  pg_catalog.timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
    PRIMARY KEY (principal, driver)
);

-- One row: since when a server has been able to take heartbeats, without a gap.
CREATE TABLE IF NOT EXISTS pgflight.watch (
    only_row  boolean     PRIMARY KEY DEFAULT true CHECK (only_row),
    since     pg_catalog.timestamptz NOT NULL,
    seen_at   pg_catalog.timestamptz NOT NULL
);

-- Writes that streams are sent to, and when a server last had one of them, waiting or under way.
CREATE TABLE IF NOT EXISTS pgflight.streaming (
    write_id  pg_catalog.text        PRIMARY KEY,
    seen_at   pg_catalog.timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp()
);

-- Outputs of streaming queries. They are kept however long ago their last batch was.
CREATE TABLE IF NOT EXISTS pgflight.sink (
    principal  pg_catalog.text        NOT NULL,       -- '' without authentication
    sink_id    pg_catalog.text        NOT NULL,
    query_id   pg_catalog.text        NOT NULL,       -- the streaming query that may write; '' when no caller has named one
    past_query_ids pg_catalog.text[]  NOT NULL DEFAULT '{}',  -- those that it replaced, which may not write again
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

INSERT INTO pgflight.migration (version) VALUES (4) ON CONFLICT DO NOTHING;
