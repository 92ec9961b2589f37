-- Returns a row for each index of table $1: its name; the name, beginning with $3, of its copy on table $2; the
-- statements that create the copy; and the statements that give the copy the name of the index and everything that
-- depends on it, once table $2 has replaced table $1.
WITH indexes AS (
    SELECT x.*, i.relname, n.nspname, COALESCE(s.spcname, '') AS tablespace,
           pg_catalog.format('%I.%I', n.nspname, t.relname) AS target,
           pg_catalog.format('%s_%s', $3::pg_catalog.text, pg_catalog.row_number() OVER (ORDER BY x.indexrelid)) AS new_name,
           pg_catalog.format('CREATE %sINDEX %I ON %I.%I USING ', CASE WHEN x.indisunique THEN 'UNIQUE ' END,
                             i.relname, n.nspname, t.relname) AS head,
           pg_catalog.pg_get_indexdef(x.indexrelid) AS definition,
           c.oid AS constraint_oid, c.conname, c.contype, c.condeferrable, c.condeferred,
           t.relreplident
    FROM pg_catalog.pg_index x
    JOIN pg_catalog.pg_class i ON i.oid OPERATOR(pg_catalog.=) x.indexrelid
    JOIN pg_catalog.pg_class t ON t.oid OPERATOR(pg_catalog.=) x.indrelid
    JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) t.relnamespace
    LEFT JOIN pg_catalog.pg_tablespace s ON s.oid OPERATOR(pg_catalog.=) i.reltablespace
    LEFT JOIN pg_catalog.pg_constraint c
           ON c.conindid OPERATOR(pg_catalog.=) x.indexrelid AND c.conrelid OPERATOR(pg_catalog.=) x.indrelid
          AND c.contype OPERATOR(pg_catalog.=) ANY (ARRAY['p', 'u']::pg_catalog."char"[])
    WHERE x.indrelid OPERATOR(pg_catalog.=) $1)
SELECT relname::pg_catalog.text, new_name,
       CASE WHEN pg_catalog.starts_with(definition, head) THEN
           pg_catalog.format('SET LOCAL default_tablespace = %L; CREATE %sINDEX %I ON %s USING %s', tablespace,
                             CASE WHEN indisunique THEN 'UNIQUE ' END, new_name, $2::pg_catalog.text,
                             pg_catalog.substr(definition, pg_catalog.length(head) OPERATOR(pg_catalog.+) 1))
       END,
       pg_catalog.concat_ws('; ',
           CASE WHEN conname IS NULL
                THEN pg_catalog.format('ALTER INDEX %I.%I RENAME TO %I', nspname, new_name, relname)
                ELSE pg_catalog.format('ALTER TABLE %s ADD CONSTRAINT %I %s USING INDEX %I%s%s', target, conname,
                                       CASE WHEN contype OPERATOR(pg_catalog.=) 'p' THEN 'PRIMARY KEY'
                                            ELSE 'UNIQUE' END, new_name,
                                       CASE WHEN condeferrable THEN ' DEFERRABLE' END,
                                       CASE WHEN condeferred THEN ' INITIALLY DEFERRED' END) END,
           CASE WHEN indisclustered THEN pg_catalog.format('ALTER TABLE %s CLUSTER ON %I', target, relname) END,
           CASE WHEN indisreplident AND relreplident OPERATOR(pg_catalog.=) 'i'
                THEN pg_catalog.format('ALTER TABLE %s REPLICA IDENTITY USING INDEX %I', target, relname) END,
           pg_catalog.format('COMMENT ON INDEX %I.%I IS %L', nspname, relname,
                             pg_catalog.obj_description(indexrelid, 'pg_class')),
           CASE WHEN conname IS NOT NULL
                THEN pg_catalog.format('COMMENT ON CONSTRAINT %I ON %s IS %L', conname, target,
                                       pg_catalog.obj_description(constraint_oid, 'pg_constraint')) END)
FROM indexes ORDER BY new_name
