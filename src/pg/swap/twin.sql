-- What makes table $2, empty, like table $1, whose name is $3: without indexes and what
-- rests on them, which are quicker made when the rows are there.
WITH settings AS (
    SELECT pg_catalog.string_agg(
               pg_catalog.format('%s%s=%L', o.toast, pg_catalog.split_part(o.option, '=', 1),
                                 pg_catalog.substr(o.option, pg_catalog.strpos(o.option, '=') + 1)), ', ') AS list
    FROM (SELECT '' AS toast, pg_catalog.unnest(c.reloptions) AS option
          FROM pg_catalog.pg_class c WHERE c.oid = $1
          UNION ALL
          SELECT 'toast.', pg_catalog.unnest(t.reloptions)
          FROM pg_catalog.pg_class c JOIN pg_catalog.pg_class t ON t.oid = c.reltoastrelid WHERE c.oid = $1) o)
SELECT pg_catalog.format(
    'SET LOCAL default_tablespace = %L;
     CREATE TABLE %s (LIKE %s INCLUDING DEFAULTS INCLUDING CONSTRAINTS INCLUDING GENERATED
                      INCLUDING COMMENTS INCLUDING STORAGE%s) USING %I%s',
    COALESCE(s.spcname, ''), $2::text, $3::text,
    CASE WHEN pg_catalog.current_setting('server_version_num')::integer >= 140000 THEN ' INCLUDING COMPRESSION' END,
    a.amname, ' WITH (' || settings.list || ')')
FROM settings, pg_catalog.pg_class c
JOIN pg_catalog.pg_am a ON a.oid = c.relam
LEFT JOIN pg_catalog.pg_tablespace s ON s.oid = c.reltablespace
WHERE c.oid = $1
