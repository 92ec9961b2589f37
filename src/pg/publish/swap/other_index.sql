-- Returns the name of the first index of table $1, among those named $3, whose copy on table $2, named $4, has other
-- columns, expressions, conditions, collations, operator classes or options, or depends on other objects.
WITH index AS (
    SELECT x.indrelid, i.relname,
           pg_catalog.concat_ws(' ; ', x.indcollation, x.indclass, x.indoption, x.indisunique,
               pg_catalog.pg_get_expr(x.indpred, x.indrelid),
               ARRAY(SELECT pg_catalog.pg_get_indexdef(x.indexrelid, n, false)
                     FROM pg_catalog.generate_series(1, x.indnatts::integer) n ORDER BY n),
               ARRAY(SELECT pg_catalog.concat_ws(' ', d.refclassid, d.refobjid)
                     FROM pg_catalog.pg_depend d
                     WHERE d.classid OPERATOR(pg_catalog.=) 'pg_catalog.pg_class'::pg_catalog.regclass::pg_catalog.oid
                       AND d.objid OPERATOR(pg_catalog.=) x.indexrelid
                       AND d.refclassid OPERATOR(pg_catalog.<>)
                           'pg_catalog.pg_constraint'::pg_catalog.regclass::pg_catalog.oid
                       AND d.refobjid OPERATOR(pg_catalog.<>) x.indrelid
                     GROUP BY 1 ORDER BY 1)) AS definition
    FROM pg_catalog.pg_index x JOIN pg_catalog.pg_class i ON i.oid OPERATOR(pg_catalog.=) x.indexrelid
    WHERE x.indrelid OPERATOR(pg_catalog.=) ANY (ARRAY[$1, $2]::pg_catalog.oid[]))
SELECT pair.name
FROM ROWS FROM (pg_catalog.unnest($3::pg_catalog.text[]), pg_catalog.unnest($4::pg_catalog.text[])) AS pair(name, new_name)
WHERE NOT EXISTS (
    SELECT FROM index a JOIN index b ON b.definition OPERATOR(pg_catalog.=) a.definition
    WHERE a.indrelid OPERATOR(pg_catalog.=) $1::pg_catalog.oid AND a.relname OPERATOR(pg_catalog.=) pair.name
      AND b.indrelid OPERATOR(pg_catalog.=) $2::pg_catalog.oid AND b.relname OPERATOR(pg_catalog.=) pair.new_name)
LIMIT 1
