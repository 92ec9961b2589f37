//! The objects that the server's SQL names, and the roles that could give their names to others.
//!
//! PostgreSQL resolves a name when a statement runs, often long after the server has read it from the catalog. In
//! between, the owner of a type can rename it and give its name to a domain. The owner of a schema can exchange it for
//! another one with an operator of the same name, and the owner of an extension can move it to another schema. So the
//! server names an object that is not built in only if a write trusts all who could do this.
//!
//! A write trusts superusers, the owner of the database, and roles that could make themselves the login: those with the
//! admin option on it, as the role has that created it, and up to PostgreSQL 15 all with CREATEROLE. It trusts the login,
//! the target's role, the role that writes, the roles that one of the former made these three members of, and, for a table that exists, its owner and
//! the owner of its schema: the triggers of both run in every write anyway. Other memberships do not count. Up to
//! PostgreSQL 14 any role may make others members of itself, and from 16 on a role becomes a member, with the admin
//! option, of the roles that it creates.

use crate::error::{Error, Result};
use crate::pg::transaction::{Parameter, Transaction};
use arrow_pgcopy::{Ident, Relation};

/// The OID of the first object that is not built in (`FirstNormalObjectId`, access/transam.h).
const FIRST_NORMAL_OID: u32 = 16384;

/// The head of a query, which defines the table `trusted(oid)` of the roles that a write trusts. `$1` are those of
/// [`trusted_roles`], `$2` is the OID of the table, or NULL.
macro_rules! trusted {
    () => {
        "
    WITH RECURSIVE admin(oid) AS (
        SELECT r.oid FROM pg_catalog.pg_roles r WHERE r.rolsuper
      UNION ALL
        SELECT d.datdba FROM pg_catalog.pg_database d
        WHERE d.datname OPERATOR(pg_catalog.=) pg_catalog.current_database()
      UNION ALL
        SELECT m.member FROM pg_catalog.pg_auth_members m
        JOIN pg_catalog.pg_roles login ON login.oid OPERATOR(pg_catalog.=) m.roleid
        WHERE m.admin_option AND login.rolname OPERATOR(pg_catalog.=) session_user
      UNION ALL
        SELECT r.oid FROM pg_catalog.pg_roles r
        JOIN pg_catalog.pg_roles login ON login.rolname OPERATOR(pg_catalog.=) session_user AND NOT login.rolsuper
        WHERE r.rolcreaterole
          AND pg_catalog.current_setting('server_version_num')::pg_catalog.int4 OPERATOR(pg_catalog.<) 160000),
    writer(oid) AS (
        SELECT r.oid FROM pg_catalog.pg_roles r
        WHERE r.rolname OPERATOR(pg_catalog.=) current_user OR r.rolname OPERATOR(pg_catalog.=) session_user
           OR r.rolname OPERATOR(pg_catalog.=) ANY ($1::pg_catalog.text[])
      UNION
        SELECT m.roleid FROM writer JOIN pg_catalog.pg_auth_members m ON m.member OPERATOR(pg_catalog.=) writer.oid
         AND NOT m.admin_option AND m.grantor OPERATOR(pg_catalog.=) ANY (SELECT admin.oid FROM admin)),
    trusted(oid) AS (
        SELECT writer.oid FROM writer
      UNION ALL
        SELECT admin.oid FROM admin
      UNION ALL
        SELECT owner.oid FROM pg_catalog.pg_class c
        JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) c.relnamespace
        CROSS JOIN LATERAL (VALUES (c.relowner), (n.nspowner)) owner(oid)
        WHERE c.oid OPERATOR(pg_catalog.=) $2::pg_catalog.oid),
    -- Untrusted roles that may create objects in a schema; 0 stands for PUBLIC.
    creator(namespace, oid) AS (
        SELECT n.oid, g.grantee FROM pg_catalog.pg_namespace n CROSS JOIN LATERAL pg_catalog.aclexplode(n.nspacl) g
        WHERE g.privilege_type OPERATOR(pg_catalog.=) 'CREATE'
          AND NOT EXISTS (SELECT FROM trusted WHERE trusted.oid OPERATOR(pg_catalog.=) g.grantee))"
    };
}
pub(super) use trusted;

/// The roles that could exchange the object `named(class, oid, owner, namespace)` and are not in [`trusted`], as
/// `holder(oid)`. An object that is built in has none. The owner of an extension can move it to another schema; the name
/// then means nothing, unless an untrusted role may create another object in the schema.
macro_rules! holders {
    () => {
        "JOIN LATERAL (
            SELECT named.owner
          UNION ALL
            SELECT n.nspowner FROM pg_catalog.pg_namespace n WHERE n.oid OPERATOR(pg_catalog.=) named.namespace
          UNION ALL
            SELECT e.extowner FROM pg_catalog.pg_depend d
            JOIN pg_catalog.pg_extension e ON e.oid OPERATOR(pg_catalog.=) d.refobjid
            WHERE d.classid OPERATOR(pg_catalog.=) named.class AND d.objid OPERATOR(pg_catalog.=) named.oid
              AND d.deptype OPERATOR(pg_catalog.=) 'e'
              AND EXISTS (SELECT FROM creator WHERE creator.namespace OPERATOR(pg_catalog.=) named.namespace)
        ) holder(oid) ON named.oid OPERATOR(pg_catalog.>=) 16384::pg_catalog.oid
                     AND NOT EXISTS (SELECT FROM trusted WHERE trusted.oid OPERATOR(pg_catalog.=) holder.oid)"
    };
}
pub(super) use holders;

/// Returns the roles that a write trusts besides the current role, the login, owners and superusers.
pub(super) fn trusted_roles(transaction: &Transaction) -> Result<Vec<&str>> {
    // The owner of `public` from PostgreSQL 15 on, whose only member is the owner of the database.
    let mut roles = vec!["pg_database_owner", transaction.ledger_role()?.as_str()];
    roles.extend(transaction.role().map(Ident::as_str));
    Ok(roles)
}

/// Checks that only trusted roles could exchange these operators and types, by their OIDs, which a statement for the
/// table names.
///
/// # Errors
/// [`ErrorKind::PermissionDenied`](crate::error::ErrorKind::PermissionDenied) with the object and the role; any error
/// that PostgreSQL reports.
pub async fn check_named(
    transaction: &Transaction,
    table: &Relation,
    operators: &[u32],
    types: &[u32],
) -> Result<()> {
    let mut named = operators.iter().chain(types);
    if named.all(|oid| *oid < FIRST_NORMAL_OID) {
        return Ok(());
    }
    let roles = trusted_roles(transaction)?;
    let parameters: [&dyn Parameter; 4] = [&roles, &table.oid, &operators, &types];
    untrusted(transaction, table, UNTRUSTED, &parameters).await
}

/// Checks that only trusted roles could exchange what a copy of a table names, or what its statistics run: functions,
/// operators, types, collations, operator classes and others of its indexes, and the types of its columns.
///
/// # Errors
/// The errors of [`check_named`].
pub async fn check_named_by_copy(transaction: &Transaction, table: &Relation) -> Result<()> {
    let roles = trusted_roles(transaction)?;
    let parameters: [&dyn Parameter; 2] = [&roles, &table.oid];
    untrusted(transaction, table, UNTRUSTED_BY_COPY, &parameters).await
}

async fn untrusted(
    transaction: &Transaction,
    table: &Relation,
    query: &str,
    parameters: &[&dyn Parameter],
) -> Result<()> {
    let Some(row) = transaction.query_opt(query, parameters).await? else {
        return Ok(());
    };
    let object: String = row.get(0);
    let message = match row.get::<_, Option<&str>>(1) {
        Some(role) => {
            format!("role {role}, which the write does not trust, could exchange {object}")
        }
        None => format!("any role could create another object with the name of {object}"),
    };
    Err(Error::permission_denied(message)
        .with_hint(
            "let the owner of the table or of the database own the object, its schema and its extension, \
             and revoke CREATE on the schema from other roles; or make the server's login a member of the role",
        )
        .with_table(&table.name))
}

/// Returns the query for the first object that an untrusted role could exchange: its description, and the role; NULL for
/// PUBLIC. The argument reads the classes and OIDs of objects.
///
/// Where a function takes pseudo-types, defaults or a variable number of arguments, or an operator takes pseudo-types,
/// PostgreSQL prefers one of the same name that fits better. So untrusted roles may neither own such rivals nor create
/// them. All other names mean one object, with the arguments that PostgreSQL prints.
///
/// A type brings others along. PostgreSQL looks up casts by base types and elements, and by the results of functions and
/// operators. It reads a constant by the input functions of the types within its type, which run the checks of domains.
macro_rules! untrusted {
    ($objects:literal) => {
        concat!(
            trusted!(),
            ",
    object(class, oid) AS (
",
            $objects,
            "
      UNION
        SELECT 'pg_catalog.pg_type'::pg_catalog.regclass::pg_catalog.oid, part.oid
        FROM object CROSS JOIN LATERAL (
            SELECT inner_type.oid FROM pg_catalog.pg_type t
            CROSS JOIN LATERAL (
                VALUES (t.typelem), (t.typbasetype)
              UNION ALL
                SELECT a.atttypid FROM pg_catalog.pg_attribute a
                WHERE a.attrelid OPERATOR(pg_catalog.=) t.typrelid AND a.attnum OPERATOR(pg_catalog.>) 0
                  AND NOT a.attisdropped
              UNION ALL
                SELECT r.rngsubtype FROM pg_catalog.pg_range r WHERE r.rngtypid OPERATOR(pg_catalog.=) t.oid
              UNION ALL
                SELECT d.refobjid FROM pg_catalog.pg_depend d
                WHERE t.typtype OPERATOR(pg_catalog.=) 'm' AND d.classid OPERATOR(pg_catalog.=) object.class
                  AND d.objid OPERATOR(pg_catalog.=) t.oid AND d.refclassid OPERATOR(pg_catalog.=) d.classid
            ) inner_type(oid)
            WHERE object.class OPERATOR(pg_catalog.=) 'pg_catalog.pg_type'::pg_catalog.regclass::pg_catalog.oid
              AND t.oid OPERATOR(pg_catalog.=) object.oid
          UNION ALL
            SELECT p.prorettype FROM pg_catalog.pg_proc p
            WHERE object.class OPERATOR(pg_catalog.=) 'pg_catalog.pg_proc'::pg_catalog.regclass::pg_catalog.oid
              AND p.oid OPERATOR(pg_catalog.=) object.oid
          UNION ALL
            SELECT o.oprresult FROM pg_catalog.pg_operator o
            WHERE object.class OPERATOR(pg_catalog.=) 'pg_catalog.pg_operator'::pg_catalog.regclass::pg_catalog.oid
              AND o.oid OPERATOR(pg_catalog.=) object.oid
        ) part(oid) WHERE part.oid OPERATOR(pg_catalog.>=) 16384::pg_catalog.oid),
    named(class, oid, owner, namespace, has_rivals) AS (
        SELECT object.class, object.oid, found.owner, found.namespace, found.has_rivals
        FROM object LEFT JOIN LATERAL (
            SELECT 'pg_catalog.pg_type'::pg_catalog.regclass::pg_catalog.oid, t.typowner, t.typnamespace, false
            FROM pg_catalog.pg_type t WHERE t.oid OPERATOR(pg_catalog.=) object.oid
          UNION ALL
            SELECT 'pg_catalog.pg_operator'::pg_catalog.regclass::pg_catalog.oid, o.oprowner, o.oprnamespace,
                   EXISTS (SELECT FROM pg_catalog.pg_type t
                           WHERE t.oid OPERATOR(pg_catalog.=) ANY (ARRAY[o.oprleft, o.oprright])
                             AND t.typtype OPERATOR(pg_catalog.=) 'p')
            FROM pg_catalog.pg_operator o WHERE o.oid OPERATOR(pg_catalog.=) object.oid
          UNION ALL
            SELECT 'pg_catalog.pg_proc'::pg_catalog.regclass::pg_catalog.oid, p.proowner, p.pronamespace,
                   p.provariadic OPERATOR(pg_catalog.<>) 0::pg_catalog.oid
                OR p.pronargdefaults OPERATOR(pg_catalog.>) 0::pg_catalog.int2
                OR EXISTS (SELECT FROM pg_catalog.pg_type t
                           WHERE t.oid OPERATOR(pg_catalog.=) ANY (p.proargtypes::pg_catalog.oid[])
                             AND t.typtype OPERATOR(pg_catalog.=) 'p')
            FROM pg_catalog.pg_proc p WHERE p.oid OPERATOR(pg_catalog.=) object.oid
          UNION ALL
            SELECT 'pg_catalog.pg_collation'::pg_catalog.regclass::pg_catalog.oid, c.collowner, c.collnamespace, false
            FROM pg_catalog.pg_collation c WHERE c.oid OPERATOR(pg_catalog.=) object.oid
          UNION ALL
            SELECT 'pg_catalog.pg_opclass'::pg_catalog.regclass::pg_catalog.oid, c.opcowner, c.opcnamespace, false
            FROM pg_catalog.pg_opclass c WHERE c.oid OPERATOR(pg_catalog.=) object.oid
          UNION ALL
            SELECT 'pg_catalog.pg_class'::pg_catalog.regclass::pg_catalog.oid, c.relowner, c.relnamespace, false
            FROM pg_catalog.pg_class c WHERE c.oid OPERATOR(pg_catalog.=) object.oid
          UNION ALL
            SELECT 'pg_catalog.pg_ts_config'::pg_catalog.regclass::pg_catalog.oid, c.cfgowner, c.cfgnamespace, false
            FROM pg_catalog.pg_ts_config c WHERE c.oid OPERATOR(pg_catalog.=) object.oid
          UNION ALL
            SELECT 'pg_catalog.pg_ts_dict'::pg_catalog.regclass::pg_catalog.oid, d.dictowner, d.dictnamespace, false
            FROM pg_catalog.pg_ts_dict d WHERE d.oid OPERATOR(pg_catalog.=) object.oid
        ) found(class, owner, namespace, has_rivals) ON found.class OPERATOR(pg_catalog.=) object.class)
    SELECT pg_catalog.pg_describe_object(named.class, named.oid, 0), r.rolname::pg_catalog.text
    FROM named CROSS JOIN LATERAL (
        SELECT holder.oid FROM (SELECT) one ",
            holders!(),
            "
      UNION ALL
        SELECT rival.oid FROM (
            SELECT creator.oid FROM creator WHERE creator.namespace OPERATOR(pg_catalog.=) named.namespace
          UNION ALL
            SELECT r.proowner FROM pg_catalog.pg_proc p
            JOIN pg_catalog.pg_proc r ON r.proname OPERATOR(pg_catalog.=) p.proname
             AND r.pronamespace OPERATOR(pg_catalog.=) p.pronamespace
            WHERE p.oid OPERATOR(pg_catalog.=) named.oid
          UNION ALL
            SELECT r.oprowner FROM pg_catalog.pg_operator o
            JOIN pg_catalog.pg_operator r ON r.oprname OPERATOR(pg_catalog.=) o.oprname
             AND r.oprnamespace OPERATOR(pg_catalog.=) o.oprnamespace
            WHERE o.oid OPERATOR(pg_catalog.=) named.oid
        ) rival(oid)
        WHERE named.has_rivals AND named.oid OPERATOR(pg_catalog.>=) 16384::pg_catalog.oid
          AND NOT EXISTS (SELECT FROM trusted WHERE trusted.oid OPERATOR(pg_catalog.=) rival.oid)
      UNION ALL
        -- A kind of object that is not listed above.
        SELECT 0::pg_catalog.oid
        WHERE named.owner IS NULL AND named.oid OPERATOR(pg_catalog.>=) 16384::pg_catalog.oid
    ) holder(oid) LEFT JOIN pg_catalog.pg_roles r ON r.oid OPERATOR(pg_catalog.=) holder.oid
    ORDER BY named.class, named.oid LIMIT 1"
        )
    };
}

/// `$3` are OIDs of operators, `$4` of types.
const UNTRUSTED: &str = untrusted!(
    "        SELECT 'pg_catalog.pg_operator'::pg_catalog.regclass::pg_catalog.oid, o.oid
        FROM pg_catalog.unnest($3::pg_catalog.oid[]) o(oid)
      UNION ALL
        SELECT 'pg_catalog.pg_type'::pg_catalog.regclass::pg_catalog.oid, t.oid
        FROM pg_catalog.unnest($4::pg_catalog.oid[]) t(oid)"
);

/// The indexes and the columns of table `$2`. Indexes depend on the table itself and on its constraints as well. ANALYZE
/// runs functions of the columns' types.
const UNTRUSTED_BY_COPY: &str = untrusted!(
    "        SELECT d.refclassid, d.refobjid FROM pg_catalog.pg_index i
        JOIN pg_catalog.pg_depend d
          ON d.classid OPERATOR(pg_catalog.=) 'pg_catalog.pg_class'::pg_catalog.regclass::pg_catalog.oid
         AND d.objid OPERATOR(pg_catalog.=) i.indexrelid
        WHERE i.indrelid OPERATOR(pg_catalog.=) $2::pg_catalog.oid
          AND d.refclassid OPERATOR(pg_catalog.<>) 'pg_catalog.pg_constraint'::pg_catalog.regclass::pg_catalog.oid
          AND d.refobjid OPERATOR(pg_catalog.<>) $2::pg_catalog.oid
      UNION ALL
        SELECT 'pg_catalog.pg_type'::pg_catalog.regclass::pg_catalog.oid, a.atttypid
        FROM pg_catalog.pg_attribute a
        WHERE a.attrelid OPERATOR(pg_catalog.=) $2::pg_catalog.oid AND a.attnum OPERATOR(pg_catalog.>) 0
          AND NOT a.attisdropped"
);
