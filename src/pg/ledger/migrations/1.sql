-- The ledger of writes, version 1. All state of a write is here, in the database that it writes to, so that any server
-- can answer any call of any write.
CREATE TABLE IF NOT EXISTS pgflight.migration (
    version     integer                PRIMARY KEY,
    applied_at  pg_catalog.timestamptz NOT NULL DEFAULT pg_catalog.now()
);

-- One logical save: many partitions, one outcome.
CREATE TABLE IF NOT EXISTS pgflight.write (
    write_id        pg_catalog.text PRIMARY KEY,
    spec            pg_catalog.text NOT NULL,             -- as begun; the same id with another spec is rejected
    columns         pg_catalog.text NOT NULL DEFAULT '',  -- names and Arrow types of the data, likewise
    principal       pg_catalog.text,                      -- null: begun without authentication
    target_schema   pg_catalog.text NOT NULL,
    target_name     pg_catalog.text NOT NULL,
    target_oid      pg_catalog.oid,                       -- null: the commit creates the table, and sets it
    staging_schema  pg_catalog.text,                      -- null: nothing is staged, or no longer
    staging_name    pg_catalog.text,
    staging_oid     pg_catalog.oid,                       -- as begun; the commit rejects another table
    staging_columns pg_catalog.text,                      -- as begun; the commit rejects other columns
    publish         pg_catalog.text NOT NULL CHECK (publish OPERATOR(pg_catalog.=) ANY
                    (ARRAY['append', 'two_phase', 'truncate', 'delete', 'swap', 'create', 'merge', 'replace',
                           'direct', 'nothing'])),
    -- committing: decided, and not all prepared transactions of its accepted attempts are committed yet.
    -- prepared_lost: decided, but another session had ended prepared transactions of accepted attempts.
    state           pg_catalog.text NOT NULL CHECK (state OPERATOR(pg_catalog.=) ANY
                    (ARRAY['open', 'committing', 'committed', 'aborted', 'prepared_lost'])),
    reason          pg_catalog.text NOT NULL DEFAULT '',
    row_count       bigint          NOT NULL DEFAULT 0,
    byte_count      bigint          NOT NULL DEFAULT 0,
    attempt_count   integer         NOT NULL DEFAULT 0,
    created_at      pg_catalog.timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
    finished_at     pg_catalog.timestamptz
);

-- One finished stream of one partition. Only attempts that the commit names are published.
CREATE TABLE IF NOT EXISTS pgflight.attempt (
    write_id         pg_catalog.text NOT NULL,
    attempt_id       pg_catalog.text NOT NULL,
    partition_id     bigint          NOT NULL,
    row_count        bigint          NOT NULL,
    byte_count       bigint          NOT NULL,
    xact_id          pg_catalog.xid  NOT NULL,            -- the xmin of its rows in the staging table
    gid              pg_catalog.text,                     -- its prepared transaction; null: its rows are staged
    prepared_xact_id pg_catalog.xid8,                     -- of that transaction, for pg_xact_status
    accepted         boolean         NOT NULL DEFAULT false,  -- the commit is to commit its prepared transaction
    lost             boolean         NOT NULL DEFAULT false,  -- another session has rolled that transaction back
    done_at          pg_catalog.timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
    PRIMARY KEY (write_id, attempt_id)
);

-- The reaper's searches.
CREATE INDEX IF NOT EXISTS write_open ON pgflight.write (created_at) WHERE state OPERATOR(pg_catalog.=) 'open';
CREATE INDEX IF NOT EXISTS write_staged ON pgflight.write (write_id) WHERE staging_name IS NOT NULL;
CREATE INDEX IF NOT EXISTS write_finished ON pgflight.write (finished_at);

INSERT INTO pgflight.migration (version) VALUES (1) ON CONFLICT DO NOTHING;
