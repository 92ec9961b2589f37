-- Returns what must be equal in two tables so that one can replace the other: columns, checks and settings, in a form
-- that is equal for equal tables.
SELECT (SELECT pg_catalog.array_agg(
            pg_catalog.format('%s %s %s %s %s %s %s %s %s', a.attname,
                              pg_catalog.format_type(a.atttypid, a.atttypmod),
                              a.attcollation, a.attnotnull, a.attgenerated, a.attstorage,
                              -- From PostgreSQL 14 on.
                              pg_catalog.jsonb_extract_path_text(pg_catalog.to_jsonb(a), 'attcompression'),
                              pg_catalog.md5(pg_catalog.col_description(a.attrelid, a.attnum)),
                              pg_catalog.md5(pg_catalog.pg_get_expr(d.adbin, d.adrelid))) ORDER BY a.attnum)
        FROM pg_catalog.pg_attribute a
        LEFT JOIN pg_catalog.pg_attrdef d ON d.adrelid OPERATOR(pg_catalog.=) a.attrelid
                                         AND d.adnum OPERATOR(pg_catalog.=) a.attnum
        WHERE a.attrelid OPERATOR(pg_catalog.=) $1 AND a.attnum OPERATOR(pg_catalog.>) 0 AND NOT a.attisdropped),
       (SELECT pg_catalog.array_agg(
            pg_catalog.format('%s %s %s', c.conname, pg_catalog.md5(pg_catalog.pg_get_expr(c.conbin, c.conrelid)),
                              pg_catalog.md5(pg_catalog.obj_description(c.oid, 'pg_constraint'))) ORDER BY c.conname)
        FROM pg_catalog.pg_constraint c
        WHERE c.conrelid OPERATOR(pg_catalog.=) $1 AND c.contype OPERATOR(pg_catalog.=) 'c'),
       (SELECT pg_catalog.format('%s %s', (SELECT pg_catalog.array_agg(o ORDER BY o) FROM pg_catalog.unnest(c.reloptions) o),
                                 (SELECT pg_catalog.array_agg(o ORDER BY o) FROM pg_catalog.unnest(t.reloptions) o))
        FROM pg_catalog.pg_class c
        LEFT JOIN pg_catalog.pg_class t ON t.oid OPERATOR(pg_catalog.=) c.reltoastrelid
        WHERE c.oid OPERATOR(pg_catalog.=) $1)
