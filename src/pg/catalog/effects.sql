SELECT ARRAY(SELECT t.tgname::pg_catalog.text FROM pg_catalog.pg_trigger t
             WHERE t.tgrelid OPERATOR(pg_catalog.=) c.oid AND NOT t.tgisinternal
               AND t.tgenabled OPERATOR(pg_catalog.<>) 'D'
               AND (t.tgtype::int OPERATOR(pg_catalog.&) 4) OPERATOR(pg_catalog.<>) 0
             ORDER BY t.tgname),
       pg_catalog.row_security_active(c.oid), c.relhasrules AND c.relkind OPERATOR(pg_catalog.<>) 'v',
       c.relkind OPERATOR(pg_catalog.=) 'p', c.relkind OPERATOR(pg_catalog.=) 'v',
       ARRAY(SELECT pg_catalog.quote_ident(p.pubname) FROM pg_catalog.pg_publication p
             WHERE (p.pubupdate OR p.pubdelete)
               AND c.relkind OPERATOR(pg_catalog.=) ANY (ARRAY['r', 'p']::pg_catalog."char"[])
               AND c.relpersistence OPERATOR(pg_catalog.=) 'p' AND c.relreplident OPERATOR(pg_catalog.<>) 'f'
               AND NOT EXISTS (SELECT FROM pg_catalog.pg_index i
                               WHERE i.indrelid OPERATOR(pg_catalog.=) c.oid
                                 AND (c.relreplident OPERATOR(pg_catalog.=) 'd' AND i.indisprimary
                                      OR c.relreplident OPERATOR(pg_catalog.=) 'i' AND i.indisreplident))
               AND (p.puballtables
                    OR EXISTS (SELECT FROM pg_catalog.pg_publication_rel r
                               WHERE r.prpubid OPERATOR(pg_catalog.=) p.oid AND r.prrelid OPERATOR(pg_catalog.=) c.oid)
                    -- The publications of a schema (from PostgreSQL 15 on), since older versions lack their table.
                    OR EXISTS (SELECT FROM pg_catalog.pg_depend s
                               JOIN pg_catalog.pg_depend d ON d.classid OPERATOR(pg_catalog.=) s.classid
                                                          AND d.objid OPERATOR(pg_catalog.=) s.objid
                               WHERE s.classid OPERATOR(pg_catalog.=)
                                     pg_catalog.to_regclass('pg_catalog.pg_publication_namespace')::pg_catalog.oid
                                 AND s.refclassid OPERATOR(pg_catalog.=)
                                     'pg_catalog.pg_namespace'::pg_catalog.regclass::pg_catalog.oid
                                 AND s.refobjid OPERATOR(pg_catalog.=) c.relnamespace
                                 AND d.refclassid OPERATOR(pg_catalog.=)
                                     'pg_catalog.pg_publication'::pg_catalog.regclass::pg_catalog.oid
                                 AND d.refobjid OPERATOR(pg_catalog.=) p.oid))
             ORDER BY p.pubname)
FROM pg_catalog.pg_class c WHERE c.oid OPERATOR(pg_catalog.=) $1
