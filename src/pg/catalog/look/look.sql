SELECT c.oid, n.nspname::pg_catalog.text, c.relname::pg_catalog.text, c.relkind,
       CASE WHEN pg_catalog.row_security_active(c.oid)
            THEN 'row-level security is in force for the server''s role'
            WHEN c.relkind OPERATOR(pg_catalog.=) 'v' THEN 'it is a view' END,
       pg_catalog.pg_has_role(c.relowner, 'USAGE'),
       ARRAY[pg_catalog.has_any_column_privilege(c.oid, 'SELECT'),
             pg_catalog.has_any_column_privilege(c.oid, 'INSERT'),
             pg_catalog.has_any_column_privilege(c.oid, 'UPDATE'),
             pg_catalog.has_table_privilege(c.oid, 'DELETE'),
             pg_catalog.has_table_privilege(c.oid, 'TRUNCATE')],
       pg_catalog.quote_ident(current_user),
       c.xmin::pg_catalog.text,
       ARRAY(SELECT pg_catalog.json_build_array(
                        a.attname, a.atttypid::pg_catalog.int8, a.atttypmod, a.attnotnull,
                        (a.atthasdef AND a.attgenerated OPERATOR(pg_catalog.=) '')
                            OR a.attidentity OPERATOR(pg_catalog.<>) '',
                        a.attgenerated OPERATOR(pg_catalog.<>) '',
                        a.attidentity OPERATOR(pg_catalog.=) 'a',
                        a.attisdropped, a.xmin)::pg_catalog.text
             FROM pg_catalog.pg_attribute a
             WHERE a.attrelid OPERATOR(pg_catalog.=) c.oid AND a.attnum OPERATOR(pg_catalog.>) 0
             ORDER BY a.attnum),
       c.relhassubclass, n.xmin::pg_catalog.text
FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) c.relnamespace
WHERE c.relname OPERATOR(pg_catalog.=) $2::pg_catalog.text
  AND CASE WHEN $1::pg_catalog.text IS NULL THEN pg_catalog.pg_table_is_visible(c.oid)
           ELSE n.nspname OPERATOR(pg_catalog.=) $1::pg_catalog.text END
  AND c.relkind OPERATOR(pg_catalog.=) ANY (ARRAY['r', 'p', 'v', 'm', 'f', 'S', 'c', 'i', 'I']::pg_catalog."char"[])
