//! The kinds of errors that only PostgreSQL finds in the rows of a table.

use crate::error::Result;
use crate::pg::transaction::Transaction;

/// Returns the kinds of errors, by their names in the options of a write, that the constraints, indexes, triggers,
/// policies and types of a table and its partitions may raise. `deferred` stands for constraints that PostgreSQL checks
/// after all rows, or that rows of the same data may meet: foreign keys of a table to itself.
///
/// # Errors
/// Any error that PostgreSQL reports.
pub async fn kinds_of_table(transaction: &Transaction, table_oid: u32) -> Result<Vec<String>> {
    let rows = transaction.query(KINDS, &[&table_oid]).await?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}

/// A view is written by triggers and rules, and may have a check option. A row may belong to no partition.
const KINDS: &str = "
    WITH tables AS MATERIALIZED (
        SELECT $1::pg_catalog.oid AS oid
      UNION
        SELECT p.relid::pg_catalog.oid
        FROM pg_catalog.pg_partition_tree($1::pg_catalog.oid::pg_catalog.regclass) p)
    SELECT 'check' WHERE EXISTS (
        SELECT FROM tables JOIN pg_catalog.pg_constraint c ON c.conrelid OPERATOR(pg_catalog.=) tables.oid
        WHERE c.contype OPERATOR(pg_catalog.=) 'c')
     OR EXISTS (
        SELECT FROM tables JOIN pg_catalog.pg_class c ON c.oid OPERATOR(pg_catalog.=) tables.oid
        WHERE c.relkind::pg_catalog.text OPERATOR(pg_catalog.=) ANY (ARRAY['p', 'v', 'f']) OR c.relispartition)
  UNION ALL
    SELECT 'domain' WHERE EXISTS (
        SELECT FROM pg_catalog.pg_attribute a JOIN pg_catalog.pg_type t ON t.oid OPERATOR(pg_catalog.=) a.atttypid
        LEFT JOIN pg_catalog.pg_type e ON e.oid OPERATOR(pg_catalog.=) t.typelem
        WHERE a.attrelid OPERATOR(pg_catalog.=) $1 AND a.attnum OPERATOR(pg_catalog.>) 0 AND NOT a.attisdropped
          AND (t.typtype OPERATOR(pg_catalog.=) 'd' OR e.typtype OPERATOR(pg_catalog.=) 'd'))
  UNION ALL
    SELECT 'unique' WHERE EXISTS (
        SELECT FROM tables JOIN pg_catalog.pg_index i ON i.indrelid OPERATOR(pg_catalog.=) tables.oid
        WHERE i.indisunique)
  UNION ALL
    SELECT 'foreign_key' WHERE EXISTS (
        SELECT FROM tables JOIN pg_catalog.pg_constraint c ON c.conrelid OPERATOR(pg_catalog.=) tables.oid
        WHERE c.contype OPERATOR(pg_catalog.=) 'f')
  UNION ALL
    SELECT 'exclusion' WHERE EXISTS (
        SELECT FROM tables JOIN pg_catalog.pg_constraint c ON c.conrelid OPERATOR(pg_catalog.=) tables.oid
        WHERE c.contype OPERATOR(pg_catalog.=) 'x')
  UNION ALL
    SELECT 'trigger' WHERE EXISTS (
        SELECT FROM tables JOIN pg_catalog.pg_trigger g ON g.tgrelid OPERATOR(pg_catalog.=) tables.oid
        WHERE NOT g.tgisinternal)
     OR EXISTS (
        SELECT FROM tables JOIN pg_catalog.pg_class c ON c.oid OPERATOR(pg_catalog.=) tables.oid
        WHERE c.relhasrules)
  UNION ALL
    SELECT 'deferred' WHERE EXISTS (
        SELECT FROM tables JOIN pg_catalog.pg_constraint c ON c.conrelid OPERATOR(pg_catalog.=) tables.oid
        WHERE c.condeferred OR c.contype OPERATOR(pg_catalog.=) 'f' AND EXISTS (
            SELECT FROM tables t WHERE t.oid OPERATOR(pg_catalog.=) c.confrelid))
  UNION ALL
    SELECT 'policy' WHERE EXISTS (
        SELECT FROM tables JOIN pg_catalog.pg_class c ON c.oid OPERATOR(pg_catalog.=) tables.oid
        WHERE c.relrowsecurity)";
