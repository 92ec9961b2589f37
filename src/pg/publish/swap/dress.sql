-- Returns the statements that give table $2, named $3, the properties of table $1 besides columns and indexes: owner,
-- grants (and removes others, which default privileges may have given), comment, options of columns, replica identity.
WITH target AS (SELECT * FROM pg_catalog.pg_class WHERE oid OPERATOR(pg_catalog.=) $1),
     twin AS (SELECT * FROM pg_catalog.pg_class WHERE oid OPERATOR(pg_catalog.=) $2),
     role AS (SELECT oid, pg_catalog.quote_ident(rolname) AS name FROM pg_catalog.pg_roles
              UNION ALL SELECT 0::pg_catalog.oid, 'PUBLIC'),
     columns AS (SELECT * FROM pg_catalog.pg_attribute a
                 WHERE a.attrelid OPERATOR(pg_catalog.=) $1 AND a.attnum OPERATOR(pg_catalog.>) 0
                   AND NOT a.attisdropped)
SELECT statement FROM (
    SELECT 1 AS step,
           pg_catalog.format('ALTER TABLE %s OWNER TO %s', $3::pg_catalog.text, role.name) AS statement
    FROM target, twin, role
    WHERE role.oid OPERATOR(pg_catalog.=) target.relowner AND target.relowner OPERATOR(pg_catalog.<>) twin.relowner
  UNION ALL
    SELECT DISTINCT 2, pg_catalog.format('REVOKE ALL ON TABLE %s FROM %s', $3::pg_catalog.text, role.name)
    FROM target, twin, role,
         pg_catalog.aclexplode(COALESCE(twin.relacl, pg_catalog.acldefault('r', target.relowner))) g
    WHERE role.oid OPERATOR(pg_catalog.=)
          CASE WHEN g.grantee OPERATOR(pg_catalog.=) twin.relowner THEN target.relowner ELSE g.grantee END
      AND (target.relacl IS NOT NULL OR twin.relacl IS NOT NULL)
  UNION ALL
    SELECT 3, pg_catalog.format('GRANT %s ON TABLE %s TO %s%s', g.privilege_type, $3::pg_catalog.text, role.name,
                                CASE WHEN g.is_grantable THEN ' WITH GRANT OPTION' END)
    FROM target, twin, role,
         pg_catalog.aclexplode(COALESCE(target.relacl, pg_catalog.acldefault('r', target.relowner))) g
    WHERE role.oid OPERATOR(pg_catalog.=) g.grantee AND (target.relacl IS NOT NULL OR twin.relacl IS NOT NULL)
  UNION ALL
    SELECT 4, pg_catalog.format('GRANT %s (%I) ON TABLE %s TO %s%s', g.privilege_type, a.attname,
                                $3::pg_catalog.text, role.name,
                                CASE WHEN g.is_grantable THEN ' WITH GRANT OPTION' END)
    FROM columns a, role, pg_catalog.aclexplode(a.attacl) g WHERE role.oid OPERATOR(pg_catalog.=) g.grantee
  UNION ALL
    SELECT 5, pg_catalog.format('COMMENT ON TABLE %s IS %L', $3::pg_catalog.text,
                                pg_catalog.obj_description(target.oid, 'pg_class'))
    FROM target
  UNION ALL
    SELECT 6, pg_catalog.format('ALTER TABLE %s ALTER COLUMN %I SET STATISTICS %s', $3::pg_catalog.text, a.attname,
                                a.attstattarget)
    FROM columns a WHERE a.attstattarget OPERATOR(pg_catalog.>=) 0
  UNION ALL
    SELECT 7, pg_catalog.format('ALTER TABLE %s ALTER COLUMN %I SET (%s)', $3::pg_catalog.text, a.attname,
                                pg_catalog.array_to_string(a.attoptions, ', '))
    FROM columns a WHERE a.attoptions IS NOT NULL
  UNION ALL
    SELECT 8, pg_catalog.format('ALTER TABLE %s REPLICA IDENTITY %s', $3::pg_catalog.text,
                                CASE WHEN target.relreplident OPERATOR(pg_catalog.=) 'f' THEN 'FULL'
                                     ELSE 'NOTHING' END)
    FROM target WHERE target.relreplident OPERATOR(pg_catalog.=) ANY (ARRAY['f', 'n']::pg_catalog."char"[])) statements
ORDER BY step
