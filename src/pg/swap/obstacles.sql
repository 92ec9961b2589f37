-- What keeps table $1 from being replaced by another: all that a table of the same columns, indexes,
-- constraints and grants would not have. One row of text each.
WITH target AS (
    SELECT c.*, n.nspname, ty.typarray
    FROM pg_catalog.pg_class c
    JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
    LEFT JOIN pg_catalog.pg_type ty ON ty.oid = c.reltype
    WHERE c.oid = $1)
SELECT CASE relkind WHEN 'v' THEN 'it is a view' ELSE 'it is partitioned' END FROM target WHERE relkind <> 'r'
UNION ALL
SELECT 'it is a partition or takes part in inheritance' FROM target
WHERE relispartition OR EXISTS (SELECT FROM pg_catalog.pg_inherits i WHERE $1 IN (i.inhrelid, i.inhparent))
UNION ALL
SELECT 'it is unlogged' FROM target WHERE relpersistence <> 'p'
UNION ALL
SELECT 'it is a table of a composite type' FROM target WHERE reloftype <> 0
UNION ALL
SELECT 'row-level security is enabled or forced' FROM target WHERE relrowsecurity OR relforcerowsecurity
UNION ALL
SELECT 'grants that others than the owner made' FROM target
WHERE EXISTS (SELECT FROM pg_catalog.aclexplode(relacl) g WHERE g.grantor <> relowner)
   OR EXISTS (SELECT FROM pg_catalog.pg_attribute a, pg_catalog.aclexplode(a.attacl) g
              WHERE a.attrelid = $1 AND g.grantor <> relowner)
UNION ALL
SELECT 'it has a security label' FROM pg_catalog.pg_seclabel l
WHERE l.classoid = 'pg_catalog.pg_class'::pg_catalog.regclass AND l.objoid = $1
UNION ALL
SELECT 'publication ' || pg_catalog.quote_ident(p.pubname)
FROM target JOIN pg_catalog.pg_publication_tables p ON p.schemaname = nspname AND p.tablename = relname
UNION ALL
SELECT 'it belongs to an extension' FROM pg_catalog.pg_depend d
WHERE d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.objid = $1 AND d.deptype IN ('e', 'x')
UNION ALL
SELECT 'index ' || i.indexrelid::pg_catalog.regclass || ', which is not valid'
FROM pg_catalog.pg_index i WHERE i.indrelid = $1 AND NOT i.indisvalid
UNION ALL
SELECT 'index ' || i.indexrelid::pg_catalog.regclass || ', which has statistics targets of its own'
FROM pg_catalog.pg_index i
WHERE i.indrelid = $1 AND EXISTS (SELECT FROM pg_catalog.pg_attribute a
                                  WHERE a.attrelid = i.indexrelid AND a.attstattarget > 0)
UNION ALL
SELECT 'index ' || i.indexrelid::pg_catalog.regclass || ', which depends on an extension'
FROM pg_catalog.pg_index i
WHERE i.indrelid = $1 AND EXISTS (SELECT FROM pg_catalog.pg_depend d
                                  WHERE d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass
                                    AND d.objid = i.indexrelid AND d.deptype = 'x')
UNION ALL
-- Attribute number 0 stands for the whole row (primnodes.h, Var).
SELECT 'index ' || i.indexrelid::pg_catalog.regclass || ', which is on whole rows'
FROM pg_catalog.pg_index i
WHERE i.indrelid = $1 AND pg_catalog.concat(i.indexprs, i.indpred) LIKE '%:varattno 0 %'
UNION ALL
SELECT DISTINCT pg_catalog.pg_describe_object(d.classid, d.objid, d.objsubid)
FROM target, pg_catalog.pg_depend d
WHERE (d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.refobjid = $1
       OR d.refclassid = 'pg_catalog.pg_type'::pg_catalog.regclass AND d.refobjid IN (reltype, typarray))
  -- Named above already:
  AND d.classid <> 'pg_catalog.pg_publication_rel'::pg_catalog.regclass
  -- What the new table has of its own:
  AND NOT (d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.objid IN ($1, reltoastrelid))
  AND NOT (d.classid = 'pg_catalog.pg_type'::pg_catalog.regclass AND d.objid IN (reltype, typarray))
  AND NOT (d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass
           AND EXISTS (SELECT FROM pg_catalog.pg_index i WHERE i.indexrelid = d.objid AND i.indrelid = $1))
  AND NOT (d.classid = 'pg_catalog.pg_attrdef'::pg_catalog.regclass
           AND EXISTS (SELECT FROM pg_catalog.pg_attrdef a WHERE a.oid = d.objid AND a.adrelid = $1))
  AND NOT (d.classid = 'pg_catalog.pg_constraint'::pg_catalog.regclass
           AND EXISTS (SELECT FROM pg_catalog.pg_constraint c
                       WHERE c.oid = d.objid AND c.conrelid = $1 AND c.contype IN ('c', 'n', 'p', 'u')))
