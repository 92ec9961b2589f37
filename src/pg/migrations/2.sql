-- Version 2: overwrite by swap, and attempts that wait as prepared transactions.
ALTER TABLE pgflight.write DROP CONSTRAINT IF EXISTS write_publish_check;
ALTER TABLE pgflight.write ADD CONSTRAINT write_publish_check CHECK (publish OPERATOR(pg_catalog.=) ANY
    (ARRAY['append', 'two_phase', 'truncate', 'delete', 'swap', 'create', 'merge', 'direct', 'nothing']));

-- committing: decided, and not all prepared transactions of its accepted attempts are committed yet.
ALTER TABLE pgflight.write DROP CONSTRAINT IF EXISTS write_state_check;
ALTER TABLE pgflight.write ADD CONSTRAINT write_state_check
    CHECK (state OPERATOR(pg_catalog.=) ANY (ARRAY['open', 'committing', 'committed', 'aborted']));

ALTER TABLE pgflight.attempt ADD COLUMN IF NOT EXISTS gid pg_catalog.text;  -- null: its rows are staged
ALTER TABLE pgflight.attempt ADD COLUMN IF NOT EXISTS accepted boolean NOT NULL DEFAULT false;

INSERT INTO pgflight.migration (version) VALUES (2) ON CONFLICT DO NOTHING;
