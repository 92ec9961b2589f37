-- Returns the statements that create the empty table $2 like the table with OID $1 and name $3. They leave out indexes
-- and what depends on indexes, which are faster to create when the rows are there.
WITH settings AS (
    SELECT pg_catalog.string_agg(
               pg_catalog.format('%s%s=%L', o.toast, pg_catalog.split_part(o.option, '=', 1),
                                 pg_catalog.substr(o.option,
                                                   pg_catalog.strpos(o.option, '=') OPERATOR(pg_catalog.+) 1)),
               ', ') AS list
    FROM (SELECT '' AS toast, pg_catalog.unnest(c.reloptions) AS option
          FROM pg_catalog.pg_class c WHERE c.oid OPERATOR(pg_catalog.=) $1
          UNION ALL
          SELECT 'toast.', pg_catalog.unnest(t.reloptions)
          FROM pg_catalog.pg_class c
          JOIN pg_catalog.pg_class t ON t.oid OPERATOR(pg_catalog.=) c.reltoastrelid
          WHERE c.oid OPERATOR(pg_catalog.=) $1) o)
SELECT pg_catalog.format(
    'SET LOCAL default_tablespace = %L;
     CREATE TABLE %s (LIKE %s INCLUDING DEFAULTS INCLUDING CONSTRAINTS INCLUDING GENERATED
                      INCLUDING COMMENTS INCLUDING STORAGE%s) USING %I%s',
    COALESCE(s.spcname, ''), $2::pg_catalog.text, $3::pg_catalog.text,
    CASE WHEN pg_catalog.current_setting('server_version_num')::integer OPERATOR(pg_catalog.>=) 140000
         THEN ' INCLUDING COMPRESSION' END,
    a.amname, CASE WHEN settings.list IS NOT NULL THEN pg_catalog.concat(' WITH (', settings.list, ')') END)
FROM settings, pg_catalog.pg_class c
JOIN pg_catalog.pg_am a ON a.oid OPERATOR(pg_catalog.=) c.relam
LEFT JOIN pg_catalog.pg_tablespace s ON s.oid OPERATOR(pg_catalog.=) c.reltablespace
WHERE c.oid OPERATOR(pg_catalog.=) $1
