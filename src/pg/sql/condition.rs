//! SQL of conditions over the columns of a table, built anew from their parts.

use serde::{Deserialize, Serialize};

use super::list::list;
use arrow_pgcopy::Ident;

/// A condition over the columns of a table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Condition {
    /// All of these hold.
    All(Vec<Condition>),
    /// One of these holds.
    Any(Vec<Condition>),
    /// This does not hold. Of a NULL nothing holds, and neither does the opposite.
    Not(Box<Condition>),
    /// A column compares with a value.
    Compares {
        /// The column, on the left.
        column: Ident,
        /// The comparison.
        by: Comparison,
        /// The value, on the right.
        literal: Literal,
    },
    /// A column has one of these values.
    IsIn {
        /// The column.
        column: Ident,
        /// The values, at least one.
        literals: Vec<Literal>,
    },
    /// A column is NULL.
    IsNull {
        /// The column.
        column: Ident,
    },
}

/// A comparison, in the order of the strategies of btree (PostgreSQL manual, 38.16.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Comparison {
    /// `<`
    Less,
    /// `<=`
    LessOrEqual,
    /// `=`
    Equal,
    /// `>=`
    GreaterOrEqual,
    /// `>`
    Greater,
}

/// A value of a condition.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Literal {
    /// Its form.
    pub kind: LiteralKind,
    /// Its text, without quotes.
    pub text: String,
}

/// The form of a value in a condition.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum LiteralKind {
    /// In quotes: a value of any type.
    Text,
    /// Digits.
    Number,
    /// TRUE or FALSE.
    Boolean,
    /// In quotes, with the name of its type.
    Typed(String),
}

impl Comparison {
    /// Returns the comparison that is true where this one is false. Equality has none.
    fn opposite(self) -> Self {
        match self {
            Self::Less => Self::GreaterOrEqual,
            Self::LessOrEqual => Self::Greater,
            Self::Equal => Self::Equal,
            Self::GreaterOrEqual => Self::Less,
            Self::Greater => Self::LessOrEqual,
        }
    }
}

impl Condition {
    /// Returns the columns with the values that they are compared with, in the order of the text.
    pub fn terms(&self) -> Vec<(&Ident, &[Literal])> {
        match self {
            Self::All(parts) | Self::Any(parts) => parts.iter().flat_map(Self::terms).collect(),
            Self::Not(inner) => inner.terms(),
            Self::Compares {
                column, literal, ..
            } => vec![(column, std::slice::from_ref(literal))],
            Self::IsIn { column, literals } => vec![(column, literals)],
            Self::IsNull { column } => vec![(column, &[])],
        }
    }
}

/// The comparison of a column with values, as SQL that means the same under every search_path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::pg) struct Comparable {
    pub(in crate::pg) column: Ident,
    /// The operators with their schemas, in the order of [`Comparison`].
    pub(in crate::pg) operators: Vec<String>,
    /// The type that the operators take, with its schema.
    pub(in crate::pg) operand: String,
}

impl Comparable {
    /// Returns the value as a constant of the column's type. The type has no modifier: a cast would cut a value.
    pub(in crate::pg) fn constant(&self, literal: &Literal) -> String {
        format!("{}::{}", quoted(&literal.text), self.operand)
    }

    fn operator(&self, by: Comparison) -> &str {
        let index = match by {
            Comparison::Less => 0,
            Comparison::LessOrEqual => 1,
            Comparison::Equal => 2,
            Comparison::GreaterOrEqual => 3,
            Comparison::Greater => 4,
        };
        self.operators.get(index).map_or("", String::as_str)
    }

    fn left(&self) -> String {
        format!("{}::{}", self.column, self.operand)
    }
}

/// A condition that was checked against a table, as SQL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckedCondition(String);

impl CheckedCondition {
    /// Builds the SQL. `comparables` has all columns that are compared with values.
    pub(in crate::pg) fn build(condition: &Condition, comparables: &[Comparable]) -> Self {
        Self(holds(condition, true, comparables))
    }

    pub(super) fn sql(&self) -> &str {
        &self.0
    }

    /// Returns an expression that fails for a row outside the condition, with the SQLSTATE [`OUTSIDE`]. No code of a
    /// table is likely to cause this error: width_bucket rejects a count of 0.
    pub(super) fn guard(&self) -> String {
        format!(
            "pg_catalog.width_bucket(0::pg_catalog.float8, 0::pg_catalog.float8, 1::pg_catalog.float8, \
             CASE WHEN {} THEN 1 ELSE 0 END) OPERATOR(pg_catalog.>=) 0",
            self.0
        )
    }
}

/// Returns SQL that is true where the condition is true, or where it is false.
///
/// It has no NOT: PostgreSQL turns `NOT (a = b)` into `a <> b` in the WHERE of a COPY, and then fails to find the function
/// of that operator.
fn holds(condition: &Condition, is_true: bool, comparables: &[Comparable]) -> String {
    let find = |column: &Ident| comparables.iter().find(|found| found.column == *column);
    let joined = |parts: &[Condition], between: &str| {
        let parts: Vec<String> = parts
            .iter()
            .map(|part| holds(part, is_true, comparables))
            .collect();
        format!("({})", parts.join(between))
    };
    match (condition, is_true) {
        (Condition::All(parts), true) | (Condition::Any(parts), false) => joined(parts, " AND "),
        (Condition::All(parts), false) | (Condition::Any(parts), true) => joined(parts, " OR "),
        (Condition::Not(part), _) => holds(part, !is_true, comparables),
        (
            Condition::Compares {
                column,
                by,
                literal,
            },
            _,
        ) => find(column).map_or_else(String::new, |found| {
            let (by, suffix) = match (by, is_true) {
                (Comparison::Equal, false) => (*by, " IS FALSE"),
                (_, false) => (by.opposite(), ""),
                (_, true) => (*by, ""),
            };
            let (left, constant) = (found.left(), found.constant(literal));
            format!("(({left} {} {constant}){suffix})", found.operator(by))
        }),
        (Condition::IsIn { column, literals }, _) => {
            find(column).map_or_else(String::new, |found| {
                let constants = list(literals.iter().map(|literal| found.constant(literal)));
                let (left, equal) = (found.left(), found.operator(Comparison::Equal));
                let suffix = if is_true { "" } else { " IS FALSE" };
                format!("(({left} {equal} ANY (ARRAY[{constants}])){suffix})")
            })
        }
        (Condition::IsNull { column }, true) => format!("({column} IS NULL)"),
        (Condition::IsNull { column }, false) => format!("({column} IS NOT NULL)"),
    }
}

/// The SQLSTATE of a row that the condition of a COPY does not allow (`invalid_argument_for_width_bucket_function`).
pub(in crate::pg) const OUTSIDE: &str = "2201G";

/// Returns a constant of SQL. A backslash means itself, whatever `standard_conforming_strings` says.
pub(super) fn quoted(text: &str) -> String {
    let text = text.replace('\'', "''");
    match text.contains('\\') {
        true => format!("E'{}'", text.replace('\\', "\\\\")),
        false => format!("'{text}'"),
    }
}

#[cfg(test)]
mod tests {
    use super::{
        CheckedCondition, Comparable, Comparison, Condition, Literal, LiteralKind, quoted,
    };
    use arrow_pgcopy::Ident;

    #[test]
    fn a_constant_cannot_end_early() {
        for (text, expected) in [
            ("it's", "'it''s'"),
            ("a\\' OR 1", "E'a\\\\'' OR 1'"),
            ("\\", "E'\\\\'"),
        ] {
            assert_eq!(quoted(text), expected);
        }
    }

    #[test]
    fn sql_names_operators_and_types_with_schemas() {
        let column = Ident::new("Tag").unwrap();
        let literal = Literal {
            kind: LiteralKind::Number,
            text: "7".to_owned(),
        };
        let is_null = Condition::IsNull {
            column: column.clone(),
        };
        let compares = Condition::Compares {
            column: column.clone(),
            by: Comparison::Greater,
            literal: literal.clone(),
        };
        let is_in = Condition::IsIn {
            column: column.clone(),
            literals: vec![literal.clone(), literal],
        };
        let comparable = Comparable {
            column,
            operators: ["<", "<=", "=", ">=", ">"]
                .map(|name| format!("OPERATOR(pg_catalog.{name})"))
                .to_vec(),
            operand: "pg_catalog.int4".to_owned(),
        };
        let condition = Condition::Any(vec![
            Condition::Not(Box::new(is_null)),
            Condition::All(vec![compares, is_in]),
        ]);
        assert_eq!(
            CheckedCondition::build(&condition, &[comparable]).sql(),
            "((\"Tag\" IS NOT NULL) OR (((\"Tag\"::pg_catalog.int4 OPERATOR(pg_catalog.>) '7'::pg_catalog.int4)) AND \
             ((\"Tag\"::pg_catalog.int4 OPERATOR(pg_catalog.=) \
             ANY (ARRAY['7'::pg_catalog.int4, '7'::pg_catalog.int4])))))"
        );
    }
}
