-- Returns what prevents the replacement of table $1: everything that a table with the same columns, indexes,
-- constraints and grants would not have. One row of text each.
WITH target AS (
    SELECT c.*, n.nspname, ty.typarray
    FROM pg_catalog.pg_class c
    JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) c.relnamespace
    LEFT JOIN pg_catalog.pg_type ty ON ty.oid OPERATOR(pg_catalog.=) c.reltype
    WHERE c.oid OPERATOR(pg_catalog.=) $1),
     indexes AS (
    SELECT i.*, pg_catalog.concat('index ', i.indexrelid::pg_catalog.regclass) AS name
    FROM pg_catalog.pg_index i WHERE i.indrelid OPERATOR(pg_catalog.=) $1),
     -- The table and those that it is a partition of.
     published AS (
    SELECT c.oid, c.relnamespace FROM pg_catalog.pg_class c
    WHERE c.oid OPERATOR(pg_catalog.=) $1
       OR c.oid OPERATOR(pg_catalog.=) ANY (
          SELECT a.relid::pg_catalog.oid FROM pg_catalog.pg_partition_ancestors($1::pg_catalog.regclass) a(relid)))
SELECT CASE WHEN relkind OPERATOR(pg_catalog.=) 'v' THEN 'it is a view' ELSE 'it is partitioned' END
FROM target WHERE relkind OPERATOR(pg_catalog.<>) 'r'
UNION ALL
SELECT 'it is a partition or takes part in inheritance' FROM target
WHERE relispartition
   OR EXISTS (SELECT FROM pg_catalog.pg_inherits i
              WHERE $1 OPERATOR(pg_catalog.=) ANY (ARRAY[i.inhrelid, i.inhparent]))
UNION ALL
SELECT 'it is unlogged' FROM target WHERE relpersistence OPERATOR(pg_catalog.<>) 'p'
UNION ALL
SELECT 'it is a table of a composite type' FROM target WHERE reloftype OPERATOR(pg_catalog.<>) 0::pg_catalog.oid
UNION ALL
SELECT 'row-level security is enabled or forced' FROM target WHERE relrowsecurity OR relforcerowsecurity
UNION ALL
SELECT 'grants that others than the owner made' FROM target
WHERE EXISTS (SELECT FROM pg_catalog.aclexplode(relacl) g WHERE g.grantor OPERATOR(pg_catalog.<>) relowner)
   OR EXISTS (SELECT FROM pg_catalog.pg_attribute a, pg_catalog.aclexplode(a.attacl) g
              WHERE a.attrelid OPERATOR(pg_catalog.=) $1 AND g.grantor OPERATOR(pg_catalog.<>) relowner)
UNION ALL
SELECT 'it has a security label' FROM pg_catalog.pg_seclabel l
WHERE l.classoid OPERATOR(pg_catalog.=) 'pg_catalog.pg_class'::pg_catalog.regclass::pg_catalog.oid
  AND l.objoid OPERATOR(pg_catalog.=) $1
UNION ALL
-- The view pg_publication_tables opens all published tables, and so waits for locks on any of them. The publications of
-- a schema (from PostgreSQL 15 on) are read from pg_depend, since older versions lack their table.
SELECT pg_catalog.concat('publication ', pg_catalog.quote_ident(p.pubname)) FROM pg_catalog.pg_publication p
WHERE p.puballtables
   OR EXISTS (SELECT FROM pg_catalog.pg_publication_rel r, published t
              WHERE r.prpubid OPERATOR(pg_catalog.=) p.oid AND r.prrelid OPERATOR(pg_catalog.=) t.oid)
   OR EXISTS (SELECT FROM published t, pg_catalog.pg_depend s
              JOIN pg_catalog.pg_depend d ON d.classid OPERATOR(pg_catalog.=) s.classid
                                         AND d.objid OPERATOR(pg_catalog.=) s.objid
              WHERE s.classid OPERATOR(pg_catalog.=)
                    pg_catalog.to_regclass('pg_catalog.pg_publication_namespace')::pg_catalog.oid
                AND s.refclassid OPERATOR(pg_catalog.=) 'pg_catalog.pg_namespace'::pg_catalog.regclass::pg_catalog.oid
                AND s.refobjid OPERATOR(pg_catalog.=) t.relnamespace
                AND d.refclassid OPERATOR(pg_catalog.=) 'pg_catalog.pg_publication'::pg_catalog.regclass::pg_catalog.oid
                AND d.refobjid OPERATOR(pg_catalog.=) p.oid)
UNION ALL
-- A subscription fills tables by their OID. Its relations are in no pg_depend.
SELECT pg_catalog.pg_describe_object('pg_catalog.pg_subscription'::pg_catalog.regclass::pg_catalog.oid, r.srsubid, 0)
FROM pg_catalog.pg_subscription_rel r WHERE r.srrelid OPERATOR(pg_catalog.=) $1
UNION ALL
SELECT 'it belongs to an extension' FROM pg_catalog.pg_depend d
WHERE d.classid OPERATOR(pg_catalog.=) 'pg_catalog.pg_class'::pg_catalog.regclass::pg_catalog.oid
  AND d.objid OPERATOR(pg_catalog.=) $1
  AND d.deptype OPERATOR(pg_catalog.=) ANY (ARRAY['e', 'x']::pg_catalog."char"[])
UNION ALL
SELECT pg_catalog.concat(name, ', which is not valid') FROM indexes WHERE NOT indisvalid
UNION ALL
-- From PostgreSQL 18 on. Without the constraint, the index could not be unique.
SELECT pg_catalog.concat(name, ', which is a key WITHOUT OVERLAPS') FROM indexes WHERE indisunique AND indisexclusion
UNION ALL
-- Comments are copied by statements, which take their size in memory.
SELECT 'comments of more than 1 MiB' FROM pg_catalog.pg_description d
WHERE d.classoid OPERATOR(pg_catalog.=) 'pg_catalog.pg_class'::pg_catalog.regclass::pg_catalog.oid
  AND (d.objoid OPERATOR(pg_catalog.=) $1
       OR d.objoid OPERATOR(pg_catalog.=) ANY (ARRAY(SELECT i.indexrelid FROM indexes i)))
   OR d.classoid OPERATOR(pg_catalog.=) 'pg_catalog.pg_constraint'::pg_catalog.regclass::pg_catalog.oid
  AND d.objoid OPERATOR(pg_catalog.=) ANY (ARRAY(SELECT c.oid FROM pg_catalog.pg_constraint c
                                                 WHERE c.conrelid OPERATOR(pg_catalog.=) $1))
HAVING pg_catalog.sum(pg_catalog.octet_length(d.description)) OPERATOR(pg_catalog.>) 1048576
UNION ALL
SELECT pg_catalog.concat(name, ', which has statistics targets of its own') FROM indexes
WHERE EXISTS (SELECT FROM pg_catalog.pg_attribute a
              WHERE a.attrelid OPERATOR(pg_catalog.=) indexrelid AND a.attstattarget OPERATOR(pg_catalog.>) 0)
UNION ALL
SELECT pg_catalog.concat(name, ', which depends on an extension') FROM indexes
WHERE EXISTS (SELECT FROM pg_catalog.pg_depend d
              WHERE d.classid OPERATOR(pg_catalog.=) 'pg_catalog.pg_class'::pg_catalog.regclass::pg_catalog.oid
                AND d.objid OPERATOR(pg_catalog.=) indexrelid AND d.deptype OPERATOR(pg_catalog.=) 'x')
UNION ALL
-- Attribute number 0 stands for the whole row (primnodes.h, Var).
SELECT pg_catalog.concat(name, ', which is on whole rows') FROM indexes
WHERE pg_catalog.strpos(pg_catalog.concat(indexprs, indpred), ':varattno 0 ') OPERATOR(pg_catalog.>) 0
UNION ALL
SELECT DISTINCT pg_catalog.pg_describe_object(d.classid, d.objid, d.objsubid)
FROM target, pg_catalog.pg_depend d
WHERE (d.refclassid OPERATOR(pg_catalog.=) 'pg_catalog.pg_class'::pg_catalog.regclass::pg_catalog.oid
       AND d.refobjid OPERATOR(pg_catalog.=) $1
       OR d.refclassid OPERATOR(pg_catalog.=) 'pg_catalog.pg_type'::pg_catalog.regclass::pg_catalog.oid
       AND d.refobjid OPERATOR(pg_catalog.=) ANY (ARRAY[reltype, typarray]))
  -- Objects that the queries above return:
  AND d.classid OPERATOR(pg_catalog.<>) 'pg_catalog.pg_publication_rel'::pg_catalog.regclass::pg_catalog.oid
  -- Objects that the new table has as well:
  AND NOT (d.classid OPERATOR(pg_catalog.=) 'pg_catalog.pg_class'::pg_catalog.regclass::pg_catalog.oid
           AND d.objid OPERATOR(pg_catalog.=) ANY (ARRAY[$1, reltoastrelid]))
  AND NOT (d.classid OPERATOR(pg_catalog.=) 'pg_catalog.pg_type'::pg_catalog.regclass::pg_catalog.oid
           AND d.objid OPERATOR(pg_catalog.=) ANY (ARRAY[reltype, typarray]))
  AND NOT (d.classid OPERATOR(pg_catalog.=) 'pg_catalog.pg_class'::pg_catalog.regclass::pg_catalog.oid
           AND EXISTS (SELECT FROM indexes i WHERE i.indexrelid OPERATOR(pg_catalog.=) d.objid))
  AND NOT (d.classid OPERATOR(pg_catalog.=) 'pg_catalog.pg_attrdef'::pg_catalog.regclass::pg_catalog.oid
           AND EXISTS (SELECT FROM pg_catalog.pg_attrdef a
                       WHERE a.oid OPERATOR(pg_catalog.=) d.objid AND a.adrelid OPERATOR(pg_catalog.=) $1))
  AND NOT (d.classid OPERATOR(pg_catalog.=) 'pg_catalog.pg_constraint'::pg_catalog.regclass::pg_catalog.oid
           AND EXISTS (SELECT FROM pg_catalog.pg_constraint c
                       WHERE c.oid OPERATOR(pg_catalog.=) d.objid AND c.conrelid OPERATOR(pg_catalog.=) $1
                         AND c.contype OPERATOR(pg_catalog.=) ANY (ARRAY['c', 'n', 'p', 'u']::pg_catalog."char"[])))
