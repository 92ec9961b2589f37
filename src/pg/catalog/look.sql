SELECT c.oid, n.nspname::pg_catalog.text, c.relname::pg_catalog.text, c.relkind,
       CASE WHEN c.relkind OPERATOR(pg_catalog.=) 'v'
            THEN (pg_catalog.pg_relation_is_updatable(c.oid, true) OPERATOR(pg_catalog.&) 8) OPERATOR(pg_catalog.<>) 0
            ELSE true END,
       CASE WHEN pg_catalog.row_security_active(c.oid)
            THEN 'row-level security is in force for the server''s role'
            WHEN c.relkind OPERATOR(pg_catalog.=) 'v' THEN 'it is a view' END,
       pg_catalog.pg_has_role(c.relowner, 'USAGE'),
       ARRAY(SELECT p FROM pg_catalog.unnest(ARRAY['SELECT', 'INSERT', 'UPDATE', 'DELETE', 'TRUNCATE']) p
             WHERE CASE WHEN p OPERATOR(pg_catalog.=) ANY (ARRAY['DELETE', 'TRUNCATE'])
                        THEN pg_catalog.has_table_privilege(c.oid, p)
                        ELSE pg_catalog.has_any_column_privilege(c.oid, p) END),
       pg_catalog.quote_ident(current_user),
       pg_catalog.concat_ws(' ', c.xmin, a.versions),
       a.names, a.types, a.typmods, a.not_null, a.has_default, a.generated, a.identity_always,
       c.relkind OPERATOR(pg_catalog.=) 'p'
           AND EXISTS (SELECT FROM pg_catalog.pg_partition_tree(c.oid::pg_catalog.regclass) p
                       JOIN pg_catalog.pg_class f ON f.oid OPERATOR(pg_catalog.=) p.relid::pg_catalog.oid
                       WHERE f.relkind OPERATOR(pg_catalog.=) 'f')
FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) c.relnamespace
CROSS JOIN LATERAL (
    SELECT pg_catalog.string_agg(a.xmin::pg_catalog.text, ' ' ORDER BY a.attnum) AS versions,
           pg_catalog.array_agg(a.attname::pg_catalog.text ORDER BY a.attnum) FILTER (WHERE NOT a.attisdropped) AS names,
           pg_catalog.array_agg(a.atttypid ORDER BY a.attnum) FILTER (WHERE NOT a.attisdropped) AS types,
           pg_catalog.array_agg(a.atttypmod ORDER BY a.attnum) FILTER (WHERE NOT a.attisdropped) AS typmods,
           pg_catalog.array_agg(a.attnotnull OR t.typnotnull ORDER BY a.attnum)
               FILTER (WHERE NOT a.attisdropped) AS not_null,
           pg_catalog.array_agg((a.atthasdef AND a.attgenerated OPERATOR(pg_catalog.=) '')
                                OR a.attidentity OPERATOR(pg_catalog.<>) '' ORDER BY a.attnum)
               FILTER (WHERE NOT a.attisdropped) AS has_default,
           pg_catalog.array_agg(a.attgenerated OPERATOR(pg_catalog.<>) '' ORDER BY a.attnum)
               FILTER (WHERE NOT a.attisdropped) AS generated,
           pg_catalog.array_agg(a.attidentity OPERATOR(pg_catalog.=) 'a' ORDER BY a.attnum)
               FILTER (WHERE NOT a.attisdropped) AS identity_always
    FROM pg_catalog.pg_attribute a
    LEFT JOIN pg_catalog.pg_type t ON t.oid OPERATOR(pg_catalog.=) a.atttypid
    WHERE a.attrelid OPERATOR(pg_catalog.=) c.oid AND a.attnum OPERATOR(pg_catalog.>) 0) a
WHERE c.relname OPERATOR(pg_catalog.=) $2::pg_catalog.text
  AND CASE WHEN $1::pg_catalog.text IS NULL THEN pg_catalog.pg_table_is_visible(c.oid)
           ELSE n.nspname OPERATOR(pg_catalog.=) $1::pg_catalog.text END
  AND c.relkind OPERATOR(pg_catalog.=) ANY (ARRAY['r', 'p', 'v', 'm', 'f', 'S', 'c', 'i', 'I']::pg_catalog."char"[])
