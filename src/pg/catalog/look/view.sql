WITH RECURSIVE shown(oid) AS (
    SELECT $1::pg_catalog.oid
  UNION
    SELECT next.oid FROM shown s CROSS JOIN LATERAL (
        SELECT d.refobjid FROM pg_catalog.pg_rewrite r
        JOIN pg_catalog.pg_depend d ON d.objid OPERATOR(pg_catalog.=) r.oid
         AND d.classid OPERATOR(pg_catalog.=) 'pg_catalog.pg_rewrite'::pg_catalog.regclass::pg_catalog.oid
         AND d.refclassid OPERATOR(pg_catalog.=) 'pg_catalog.pg_class'::pg_catalog.regclass::pg_catalog.oid
        WHERE r.ev_class OPERATOR(pg_catalog.=) s.oid
      UNION ALL
        SELECT i.inhrelid FROM pg_catalog.pg_inherits i WHERE i.inhparent OPERATOR(pg_catalog.=) s.oid
    ) next(oid)),
large(is_large) AS MATERIALIZED (
    SELECT EXISTS (
        SELECT FROM shown s JOIN pg_catalog.pg_rewrite r ON r.ev_class OPERATOR(pg_catalog.=) s.oid
        WHERE pg_catalog.pg_column_size(r.ev_action) OPERATOR(pg_catalog.>) 1048576))
SELECT CASE WHEN (SELECT is_large FROM large) THEN false
            ELSE (pg_catalog.pg_relation_is_updatable($1, true) OPERATOR(pg_catalog.&) 8) OPERATOR(pg_catalog.<>) 0 END,
       COALESCE(pg_catalog.bool_or(
           n.nspname OPERATOR(pg_catalog.=) 'pgflight'
           OR (SELECT r.rolsuper FROM pg_catalog.pg_roles r WHERE r.rolname OPERATOR(pg_catalog.=) session_user)
              AND NOT (SELECT is_large FROM large)
              AND EXISTS (
                  SELECT FROM pg_catalog.pg_rewrite r
                  CROSS JOIN LATERAL pg_catalog.regexp_matches(r.ev_action::pg_catalog.text, ':relid (\d+)', 'g')
                       used(relid)
                  WHERE r.ev_class OPERATOR(pg_catalog.=) s.oid
                    AND used.relid[1]::pg_catalog.int8 OPERATOR(pg_catalog.<) 16384)), false),
       COALESCE(pg_catalog.bool_or(c.relkind OPERATOR(pg_catalog.=) 'f'), false)
           AND NOT (SELECT is_large FROM large)
           AND (pg_catalog.pg_relation_is_updatable($1, false) OPERATOR(pg_catalog.&) 8) OPERATOR(pg_catalog.<>) 0
           AND (SELECT COALESCE(pg_catalog.bit_or(t.tgtype::integer OPERATOR(pg_catalog.&) 28), 0)
                FROM pg_catalog.pg_trigger t WHERE t.tgrelid OPERATOR(pg_catalog.=) $1) OPERATOR(pg_catalog.<>) 28,
       (SELECT is_large FROM large)
FROM shown s JOIN pg_catalog.pg_class c ON c.oid OPERATOR(pg_catalog.=) s.oid
JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) c.relnamespace
