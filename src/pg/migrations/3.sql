-- Version 3: a write belongs to the principal that began it.
ALTER TABLE pgflight.write ADD COLUMN IF NOT EXISTS principal pg_catalog.text;  -- null: nobody was asked who it was

INSERT INTO pgflight.migration (version) VALUES (3) ON CONFLICT DO NOTHING;
