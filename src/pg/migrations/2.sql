-- Version 2: overwrite by swap.
ALTER TABLE pgflight.write DROP CONSTRAINT IF EXISTS write_publish_check;
ALTER TABLE pgflight.write ADD CONSTRAINT write_publish_check CHECK (publish IN
    ('append', 'truncate', 'delete', 'swap', 'create', 'merge', 'direct', 'nothing'));

INSERT INTO pgflight.migration (version) VALUES (2) ON CONFLICT DO NOTHING;
