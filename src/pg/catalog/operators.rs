//! The comparison of columns with the values of a condition: by the operators of their types' default btree classes.

use super::keys::{columns, default_class, find_keys};
use super::trust::check_named;
use crate::error::{Error, Result};
use crate::pg::sql::{CheckedCondition, Comparable, Condition, Keys, Literal, LiteralKind, Newer};
use crate::pg::transaction::{Parameter, Transaction};
use arrow_pgcopy::{Ident, Relation};

/// Checks a condition against the columns of a table, and builds its SQL.
///
/// # Errors
/// [`ErrorKind::SchemaMismatch`](crate::error::ErrorKind::SchemaMismatch) for a value of another type than its column,
/// and for columns whose values a condition cannot hold, as arrays; the errors of [`check_named`].
pub async fn find_condition(
    transaction: &Transaction,
    target: &Relation,
    condition: &Condition,
) -> Result<CheckedCondition> {
    let comparables = find_comparables(transaction, target, condition).await?;
    Ok(CheckedCondition::build(condition, &comparables))
}

/// Reads how the keys of an upsert are compared, and the column that says which row is newer.
///
/// # Errors
/// The errors of [`find_keys`]; [`ErrorKind::SchemaMismatch`](crate::error::ErrorKind::SchemaMismatch) when values of
/// the column cannot be compared.
pub async fn find_compared(
    transaction: &Transaction,
    target: &Relation,
    keys: &[Ident],
    order_by: Option<&Ident>,
    newer_by: Option<&Ident>,
) -> Result<Keys> {
    let found = find_keys(transaction, target, keys, order_by).await?;
    let newer = match newer_by {
        Some(column) => Some(find_newer(transaction, target, column).await?),
        None => None,
    };
    Ok(Keys { newer, ..found })
}

/// Checks that PostgreSQL can read the values of a condition as values of their columns. After an error, the transaction
/// is unusable.
///
/// # Errors
/// The errors of [`find_condition`]; [`ErrorKind::SchemaMismatch`](crate::error::ErrorKind::SchemaMismatch) for a value
/// that PostgreSQL rejects.
pub async fn check_literals(
    transaction: &Transaction,
    target: &Relation,
    condition: &Condition,
) -> Result<()> {
    let comparables = find_comparables(transaction, target, condition).await?;
    let terms = condition.terms();
    for found in &comparables {
        let column = &found.column;
        let values = terms.iter().filter(|(named, _)| *named == column);
        let values = values.flat_map(|(_, literals)| literals.iter());
        let values: Vec<String> = values
            .map(|literal| format!("({})", found.constant(literal)))
            .collect();
        if values.is_empty() {
            continue;
        }
        let statement = format!(
            "SELECT pg_catalog.count(*) FROM (VALUES {}) given",
            values.join(", ")
        );
        let read = transaction.execute_on_rows(&statement, &[]).await;
        read.map_err(|error| {
            let sqlstate = error.context().sqlstate.clone().unwrap_or_default();
            match sqlstate.starts_with("22") {
                true => mismatch(
                    target,
                    column,
                    "a value in replace_where is not valid for the type of its column",
                ),
                false => error,
            }
        })?;
    }
    Ok(())
}

/// Reads how the values of a column are compared.
///
/// # Errors
/// [`ErrorKind::SchemaMismatch`](crate::error::ErrorKind::SchemaMismatch) when they cannot be, by the column's type; the
/// errors of [`check_named`].
async fn find_newer(transaction: &Transaction, target: &Relation, column: &Ident) -> Result<Newer> {
    let names = vec![column.as_str()];
    let parameters: [&dyn Parameter; 3] = [&target.oid, &names, &None::<&str>];
    let Some(row) = transaction.query_opt(OPERATORS, &parameters).await? else {
        return Err(Error::schema_mismatch(
            "values of the newer_by column cannot be compared, by its type",
        )
        .with_hint("name another column, or change the column's type")
        .with_table(&target.name)
        .with_column(column.as_str()));
    };
    let (names, operators): (Vec<String>, Vec<u32>) = (row.get(1), row.get(2));
    check_named(transaction, target, &operators, &[row.get(4)]).await?;
    Ok(Newer {
        column: column.clone(),
        less: names.into_iter().next().unwrap_or_default(),
        operand: row.get(3),
    })
}

/// Reads the comparisons of the columns that the condition compares with values.
async fn find_comparables(
    transaction: &Transaction,
    target: &Relation,
    condition: &Condition,
) -> Result<Vec<Comparable>> {
    let mut terms = condition.terms();
    terms.retain(|(_, literals)| !literals.is_empty());
    let mut names: Vec<&str> = terms.iter().map(|(column, _)| column.as_str()).collect();
    names.sort_unstable();
    names.dedup();
    let parameters: [&dyn Parameter; 3] = [&target.oid, &names, &None::<&str>];
    let rows = transaction.query(OPERATORS, &parameters).await?;
    let mut found = Vec::with_capacity(rows.len());
    let (mut operators, mut types) = (Vec::<u32>::new(), Vec::<u32>::new());
    for row in &rows {
        operators.extend(row.get::<_, Vec<u32>>(2));
        types.push(row.get(4));
        let kind = Kind::of(row.get(5), row.get(6), row.get(7));
        found.push((
            Comparable {
                column: Ident::new(row.get::<_, String>(0))?,
                operators: row.get(1),
                operand: row.get(3),
            },
            kind,
        ));
    }
    for (column, literals) in terms {
        let comparable = found.iter().find(|(found, _)| found.column == *column);
        let Some((_, Some(kind))) = comparable else {
            return Err(mismatch(
                target,
                column,
                "replace_where cannot compare the column, by its type",
            ));
        };
        for literal in literals {
            if let Some(problem) = kind.problem(literal) {
                return Err(mismatch(target, column, problem));
            }
        }
    }
    check_named(transaction, target, &operators, &types).await?;
    Ok(found
        .into_iter()
        .map(|(comparable, _)| comparable)
        .collect())
}

fn mismatch(target: &Relation, column: &Ident, message: &'static str) -> Error {
    Error::schema_mismatch(message)
        .with_hint(
            "write values as the type has them: 7, 'text', '2026-01-31', '2026-01-31 12:00:00', and with a zone, as in \
             '2026-01-31 12:00:00+02', for timestamptz; compare only numbers, text, booleans, dates, times, UUIDs, enums, \
             bytea and network addresses",
        )
        .with_table(&target.name)
        .with_column(column.as_str())
}

/// A type whose values mean the same in every session, whatever its settings.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Kind {
    Number(String),
    Boolean,
    Date,
    /// Local times.
    Timestamp,
    /// Instants.
    Timestamptz,
    /// Any other, by its name.
    Text(String),
}

impl Kind {
    /// Returns the kind of a type by its name, category (PostgreSQL manual, 53.64) and whether it is built in. `None`
    /// for a type whose values depend on settings or on types within it.
    fn of(name: &str, category: &str, is_built_in: bool) -> Option<Self> {
        const NUMBERS: [&str; 6] = ["int2", "int4", "int8", "float4", "float8", "numeric"];
        const TEXTS: [&str; 10] = [
            "text", "varchar", "bpchar", "uuid", "time", "bytea", "inet", "cidr", "macaddr",
            "macaddr8",
        ];
        Some(match (name, category) {
            _ if is_built_in && NUMBERS.contains(&name) => Self::Number(name.to_owned()),
            ("bool", _) if is_built_in => Self::Boolean,
            ("date", _) if is_built_in => Self::Date,
            ("timestamp", _) if is_built_in => Self::Timestamp,
            ("timestamptz", _) if is_built_in => Self::Timestamptz,
            _ if is_built_in && TEXTS.contains(&name) => Self::Text(name.to_owned()),
            // Enums, and types of text such as citext.
            (_, "E" | "S") if !is_built_in => Self::Text(name.to_owned()),
            _ => return None,
        })
    }

    /// Returns why a value cannot be compared with the column; `None` if it can, as far as its form shows.
    fn problem(&self, literal: &Literal) -> Option<&'static str> {
        let text = literal.text.as_str();
        let is_same = match (&literal.kind, self) {
            (LiteralKind::Text, _) | (LiteralKind::Boolean, Self::Boolean) => true,
            (LiteralKind::Number, Self::Number(_)) => true,
            (LiteralKind::Typed(word), Self::Number(name) | Self::Text(name)) => {
                word == name
                    || name == "int4" && word == "int"
                    || name == "varchar" && word == "text"
            }
            (LiteralKind::Typed(word), Self::Boolean) => word == "bool" || word == "boolean",
            (LiteralKind::Typed(word), Self::Date) => word == "date",
            (LiteralKind::Typed(word), Self::Timestamp) => word == "timestamp",
            (LiteralKind::Typed(word), Self::Timestamptz) => word == "timestamptz",
            (LiteralKind::Number | LiteralKind::Boolean, _) => false,
        };
        if !is_same {
            return Some("a value in replace_where has another type than its column");
        }
        let iso = Iso::parse(text);
        let is_infinite = text == "infinity" || text == "-infinity";
        match self {
            Self::Date if !is_infinite && iso != Some(Iso::Date) => {
                Some("a value in replace_where is no date in ISO 8601")
            }
            Self::Timestamp if !is_infinite && !matches!(iso, Some(Iso::Date | Iso::Local)) => {
                Some("a value in replace_where is no timestamp without a zone in ISO 8601")
            }
            Self::Timestamptz if !is_infinite && iso != Some(Iso::Instant) => {
                Some("a value in replace_where is no timestamp with a zone in ISO 8601")
            }
            Self::Text(name)
                if name == "time" && !text.starts_with(|c: char| c.is_ascii_digit()) =>
            {
                Some("a value in replace_where is no time in ISO 8601")
            }
            Self::Number(_)
            | Self::Boolean
            | Self::Date
            | Self::Timestamp
            | Self::Timestamptz
            | Self::Text(_) => None,
        }
    }
}

/// A form of ISO 8601. PostgreSQL reads other forms by the settings DateStyle and TimeZone, or by the clock, as `today`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Iso {
    /// `2026-01-31`
    Date,
    /// `2026-01-31 12:00:00.5`
    Local,
    /// `2026-01-31T12:00:00Z`, `2026-01-31 12:00+02:00`
    Instant,
}

impl Iso {
    fn parse(text: &str) -> Option<Self> {
        let rest = digits(text, 4..=6)?.strip_prefix('-')?;
        let rest = digits(rest, 2..=2)?.strip_prefix('-')?;
        let rest = digits(rest, 2..=2)?;
        if rest.is_empty() {
            return Some(Self::Date);
        }
        let rest = rest.strip_prefix([' ', 'T'])?;
        let rest = digits(rest, 2..=2)?.strip_prefix(':')?;
        let mut rest = digits(rest, 2..=2)?;
        if let Some(seconds) = rest.strip_prefix(':') {
            rest = digits(seconds, 2..=2)?;
            if let Some(fraction) = rest.strip_prefix('.') {
                rest = digits(fraction, 1..=6)?;
            }
        }
        match rest {
            "" => return Some(Self::Local),
            "Z" => return Some(Self::Instant),
            _ => {}
        }
        let hours = digits(rest.strip_prefix(['+', '-'])?, 2..=2)?;
        let minutes = hours.strip_prefix(':').unwrap_or(hours);
        let is_end = hours.is_empty() || digits(minutes, 2..=2) == Some("");
        is_end.then_some(Self::Instant)
    }
}

/// Returns what follows this number of digits at the begin of a text.
fn digits(text: &str, count: std::ops::RangeInclusive<usize>) -> Option<&str> {
    let end = text.find(|c: char| !c.is_ascii_digit());
    let end = end.unwrap_or(text.len()).min(*count.end());
    count.contains(&end).then(|| text.split_at(end).1)
}

/// Reads the operators of the strategies 1 to 5 of btree: `<`, `<=`, `=`, `>=`, `>`.
const OPERATORS: &str = concat!(
    columns!(),
    "
    SELECT k.name, o.names, o.oids,
           CASE WHEN p.typtype OPERATOR(pg_catalog.<>) 'p'
                THEN pg_catalog.format('%s.%I', p.typnamespace::pg_catalog.regnamespace, p.typname)
                ELSE pg_catalog.format('%s.%I', k.typnamespace::pg_catalog.regnamespace, k.typname) END,
           CASE WHEN p.typtype OPERATOR(pg_catalog.<>) 'p' THEN p.oid ELSE k.type END,
           k.typname::pg_catalog.text, k.typcategory::pg_catalog.text,
           k.type OPERATOR(pg_catalog.<) 16384::pg_catalog.oid
    FROM (
        SELECT k.name, k.number, t.oid AS type, t.typnamespace, t.typname, t.typcategory,
            ",
    default_class!(),
    " AS usual
        FROM keys k
        JOIN resolved r ON r.number OPERATOR(pg_catalog.=) k.number
        JOIN pg_catalog.pg_type t ON t.oid OPERATOR(pg_catalog.=) r.type AND t.typtype OPERATOR(pg_catalog.<>) 'd'
        OFFSET 0) k
    JOIN pg_catalog.pg_opclass c ON c.oid OPERATOR(pg_catalog.=) k.usual
    JOIN pg_catalog.pg_type p ON p.oid OPERATOR(pg_catalog.=) c.opcintype
    CROSS JOIN LATERAL (
        SELECT pg_catalog.array_agg(
                   pg_catalog.format('OPERATOR(%s.%s)', o.oprnamespace::pg_catalog.regnamespace, o.oprname)
                   ORDER BY a.amopstrategy) AS names,
               pg_catalog.array_agg(o.oid ORDER BY a.amopstrategy) AS oids
        FROM pg_catalog.pg_amop a
        JOIN pg_catalog.pg_operator o ON o.oid OPERATOR(pg_catalog.=) a.amopopr
        WHERE a.amopfamily OPERATOR(pg_catalog.=) c.opcfamily
          AND a.amoplefttype OPERATOR(pg_catalog.=) c.opcintype AND a.amoprighttype OPERATOR(pg_catalog.=) c.opcintype
          AND a.amopstrategy OPERATOR(pg_catalog.>=) 1::pg_catalog.int2
          AND a.amopstrategy OPERATOR(pg_catalog.<=) 5::pg_catalog.int2) o
    WHERE pg_catalog.cardinality(o.oids) OPERATOR(pg_catalog.=) 5
    ORDER BY k.number"
);

#[cfg(test)]
mod tests {
    use super::Iso;

    #[test]
    fn only_forms_without_settings_are_dates_and_times() {
        for (text, expected) in [
            ("2026-01-31", Some(Iso::Date)),
            ("2026-01-31 12:00", Some(Iso::Local)),
            ("2026-01-31T12:00:00.123456", Some(Iso::Local)),
            ("2026-01-31T12:00:00Z", Some(Iso::Instant)),
            ("2026-01-31 12:00:00+02", Some(Iso::Instant)),
            ("2026-01-31 12:00:00-0230", Some(Iso::Instant)),
            ("2026-01-31 12:00:00.5-02:30", Some(Iso::Instant)),
            ("today", None),
            ("01/02/2026", None),
            ("2026-1-31", None),
            ("2026-01-31 12", None),
            ("2026-01-31 12:00 CEST", None),
            ("2026-01-31 12:00:00+2", None),
            ("2026-01-31x", None),
        ] {
            assert_eq!(Iso::parse(text), expected, "{text}");
        }
    }
}
