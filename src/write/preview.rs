//! What a write would do, told before any data: nothing is written, nothing stays.

use std::collections::BTreeMap;
use std::fmt;

use arrow::datatypes::Schema;
use serde::Serialize;

use super::evolution::left_out;
use super::session::check_direct;
use super::spec::{AppendBy, Mode, OverwriteWith, WriteSpec};
use super::target::{Target, check_merge, check_straight, find_target, is_two_phase, plan};
use super::writer::Writer;
use crate::auth::Caller;
use crate::error::{Error, Result};
use crate::pg::{
    Transaction, add_columns_statement, add_primary_key, add_primary_key_statement, create_table,
    create_table_statement, find_relation, qualify, sequence_columns, side_effects,
};
use arrow_pgcopy::{EncodePlan, FieldPlan, Relation};

/// What a write would do with data of a schema.
///
/// Serialized with the names that `PlanResponse` has in JSON; displayed as a table for people.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Preview {
    /// The table, quoted where SQL needs it.
    pub table: String,
    /// One for each field of the data.
    pub columns: Vec<PreviewedColumn>,
    /// Why the write would be refused as a whole; of a column it is said there.
    pub problems: Vec<String>,
    /// What happens beside the plain writing of values.
    pub warnings: Vec<String>,
    /// SQL that would make the table.
    pub statements: Vec<String>,
}

/// What would happen to one column of the data.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PreviewedColumn {
    /// Its name.
    pub name: String,
    /// Its Arrow type.
    pub arrow_type: String,
    /// The column's type with its modifier; empty where the table has no such column.
    pub postgresql_type: String,
    /// How values are written, changes that were asked for first.
    pub encoding: String,
    /// Why it would be refused; empty when it would not.
    pub problem: String,
}

impl Preview {
    /// Whether the write would be accepted, as far as can be told before any data.
    pub fn is_accepted(&self) -> bool {
        let mut columns = self.columns.iter();
        self.problems.is_empty() && columns.all(|column| column.problem.is_empty())
    }
}

impl fmt::Display for Preview {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let heading = ["COLUMN", "ARROW", "POSTGRESQL"];
        let cells = |column: &PreviewedColumn| {
            [&column.name, &column.arrow_type, &column.postgresql_type].map(ToString::to_string)
        };
        let rows: Vec<_> = std::iter::once(heading.map(str::to_owned))
            .chain(self.columns.iter().map(cells))
            .collect();
        let width = |i: usize| rows.iter().map(|row| row[i].chars().count()).max();
        let widths: [usize; 3] = std::array::from_fn(|i| width(i).unwrap_or_default());
        let written = self.columns.iter().map(|column| match &column.problem {
            problem if problem.is_empty() => column.encoding.clone(),
            problem => format!("REFUSED: {problem}"),
        });
        writeln!(f, "{}", self.table)?;
        for (row, written) in rows
            .iter()
            .zip(std::iter::once("WRITTEN".into()).chain(written))
        {
            for (cell, width) in row.iter().zip(widths) {
                write!(f, "  {cell:width$}")?;
            }
            writeln!(f, "  {written}")?;
        }
        for (what, lines) in [
            ("refused", &self.problems),
            ("warning", &self.warnings),
            ("would run", &self.statements),
        ] {
            for line in lines {
                writeln!(f, "{what}: {line}")?;
            }
        }
        Ok(())
    }
}

impl Writer {
    /// Tells what [`write_stream`](Writer::write_stream) would do with data of this schema. A table
    /// that would be made is made, looked at and taken back.
    ///
    /// # Errors
    /// Where there is nothing to plan against: no such table, keys without a unique index, a mode that
    /// refuses the table that is there.
    pub async fn preview(&self, spec: &WriteSpec, schema: &Schema) -> Result<Preview> {
        let transaction = self.begin_control().await?;
        transaction.assume_role().await?;
        let preview = preview(&transaction, &self.caller, spec, schema).await;
        transaction.rollback().await;
        preview
    }
}

async fn preview(
    transaction: &Transaction,
    caller: &Caller,
    spec: &WriteSpec,
    schema: &Schema,
) -> Result<Preview> {
    let mut preview = Preview::default();
    let mut is_made = false;
    let relation = match find_target(transaction, caller, spec, schema).await? {
        Target::Existing(relation, _, added) => {
            let statement = add_columns_statement(&relation.name, &added);
            preview.statements.extend(statement);
            relation
        }
        Target::LeaveAlone(relation) => {
            let note = "the table is there and would be left alone: nothing would be written";
            preview.warnings.push(note.to_owned());
            relation
        }
        Target::Missing(columns) => {
            is_made = true;
            let name = qualify(transaction, &spec.table).await?;
            let statement = create_table_statement(&name, &columns, &spec.table_options);
            preview.statements.push(statement);
            create_table(transaction, &name, &columns, &spec.table_options)
                .await
                .map_err(|error| error.with_table(&name))?;
            let statement = add_primary_key_statement(&name, &spec.primary_key);
            preview.statements.extend(statement);
            add_primary_key(transaction, &name, &spec.primary_key).await?;
            find_relation(transaction, &spec.table, |_| true)
                .await?
                .ok_or_else(|| Error::internal("a table that was just made is not there"))?
        }
    };
    preview.table = relation.name.to_string();
    preview.columns = columns(spec, schema, &relation);
    if preview
        .columns
        .iter()
        .all(|column| column.problem.is_empty())
    {
        let swap = Mode::Overwrite {
            with: OverwriteWith::Swap,
        };
        let is_straight = is_made || spec.mode == swap;
        let whole = plan(spec, schema, &relation).and_then(|plan| match is_straight {
            true => check_straight(&plan).map(|()| plan),
            false => Ok(plan),
        });
        let checked = match is_made {
            true => check_merge(transaction, spec, schema, &relation).await,
            false => check_publish(transaction, spec, schema, &relation).await,
        };
        let whole = checked.and(whole);
        match whole {
            Ok(plan) => preview.warnings.extend(cautions(&plan)),
            Err(error) => preview.problems.push(error.to_string()),
        }
    }
    preview
        .warnings
        .extend(side_effects(transaction, &relation).await?);
    if !spec.sync_sequences {
        let filled = sequence_columns(transaction, &relation).await?;
        let brought = filled
            .into_iter()
            .filter(|name| schema.field_with_name(name).is_ok());
        preview.warnings.extend(brought.map(|name| {
            format!("column {name} is given values that its sequence does not know of and may give out again, unless sync_sequences is asked for")
        }));
    }
    Ok(preview)
}

/// Whether attempts could reach a table that is there in the way that was asked for.
async fn check_publish(
    transaction: &Transaction,
    spec: &WriteSpec,
    schema: &Schema,
    relation: &Relation,
) -> Result<()> {
    let Mode::Append { publish, .. } = spec.mode else {
        return Ok(());
    };
    match publish {
        AppendBy::Best | AppendBy::Staging => Ok(()),
        AppendBy::TwoPhase => is_two_phase(transaction, spec, schema, relation)
            .await
            .map(drop),
        AppendBy::Direct => {
            check_direct(transaction, relation).await?;
            check_straight(&plan(spec, schema, relation)?)
        }
    }
}

/// Plans each field as if it were alone, so that all that is wrong is told at once.
fn columns(spec: &WriteSpec, schema: &Schema, relation: &Relation) -> Vec<PreviewedColumn> {
    let mut optional = relation.clone();
    for column in &mut optional.columns {
        column.has_default = true;
    }
    let fields = schema.fields().iter();
    let left_out = left_out(spec, schema, relation);
    let columns = fields.map(|field| {
        if left_out.contains(&field.name().as_str()) {
            return PreviewedColumn {
                name: field.name().clone(),
                arrow_type: field.data_type().to_string(),
                encoding: "left out: the table has no such column, or PostgreSQL generates it"
                    .to_owned(),
                ..PreviewedColumn::default()
            };
        }
        let conversions: BTreeMap<_, _> = spec
            .conversions
            .get(field.name())
            .map(|asked| (field.name().clone(), asked.clone()))
            .into_iter()
            .collect();
        let alone = Schema::new(vec![field.clone()]);
        let found = relation
            .columns
            .iter()
            .find(|column| column.name.as_str() == field.name());
        let (encoding, problem) =
            match EncodePlan::with_conversions(&alone, &optional, &conversions) {
                Ok(plan) => {
                    let column = plan.columns().first();
                    (
                        column.map(|c| c.encoding()).unwrap_or_default(),
                        String::new(),
                    )
                }
                Err(error) => (String::new(), error.to_string()),
            };
        PreviewedColumn {
            name: field.name().clone(),
            arrow_type: field.data_type().to_string(),
            postgresql_type: found.map(|column| column.type_name()).unwrap_or_default(),
            encoding,
            problem,
        }
    });
    columns.collect()
}

/// What a plan does that somebody should know of.
fn cautions(plan: &EncodePlan) -> Vec<String> {
    let columns = plan.columns().iter();
    let cautions = columns.filter_map(|column| {
        if matches!(column.field, FieldPlan::Cast { .. }) {
            Some(format!(
                "column {} waits as text in a staging table and is cast by PostgreSQL: each row is written twice",
                column.name
            ))
        } else if !column.steps.is_empty() {
            Some(format!(
                "values of column {} may be changed, as was asked for",
                column.name
            ))
        } else {
            None
        }
    });
    cautions.collect()
}
