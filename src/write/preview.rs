//! Previews a write before any data. It writes nothing.

use std::collections::HashMap;
use std::fmt;

use arrow::datatypes::Schema;
use serde::Serialize;

use crate::auth::Caller;
use crate::error::{Error, Result};
use crate::pg::{
    Keys, Publish, Table, Transaction, add_columns_statement, add_primary_key,
    add_primary_key_statement, create_table, create_table_statement, find_staging,
    sequence_columns, side_effects,
};
use crate::write::pipeline::envelope::Envelope;
use crate::write::plan::decide::{ExistingPlan, Found, MissingPlan, Planner, Target, reject_casts};
use crate::write::plan::evolution::ignored_fields;
use crate::write::publish;
use crate::write::spec::{BRINGS_BACK, Changes, WriteSpec};
use crate::write::statements::Statements;
use crate::write::writer::Writer;
use arrow_pgcopy::conversion::ALL_COLUMNS;
use arrow_pgcopy::{Column, EncodePlan, FieldPlan, Relation};

/// The preview of a write, for data of a given schema.
///
/// Its serialized names are those of `PlanResponse` in JSON. It is displayed as a table.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Preview {
    /// The table, quoted where SQL needs it.
    pub table: String,
    /// One entry for each field of the data.
    pub columns: Vec<PreviewedColumn>,
    /// The reasons why the write would be rejected as a whole. A column has its own reason.
    pub problems: Vec<String>,
    /// Effects of the write besides the written values.
    pub warnings: Vec<String>,
    /// SQL statements that would create or extend the table.
    pub statements: Vec<String>,
    /// In keyed modes, the columns that identify a row; empty if there is a problem.
    pub keys: Vec<String>,
}

/// The preview of one column of the data.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PreviewedColumn {
    /// Its name.
    pub name: String,
    /// Its Arrow type.
    pub arrow_type: String,
    /// The column's type with its modifier; empty when the table has no such column.
    pub postgresql_type: String,
    /// The encoding of its values, with the requested conversions first.
    pub encoding: String,
    /// The reason why the column would be rejected; empty when it would not.
    pub problem: String,
}

impl Preview {
    /// Returns whether the write would be accepted, as far as the schema alone shows.
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
        if !self.keys.is_empty() {
            writeln!(f, "keys: {}", self.keys.join(", "))?;
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
    /// Previews what [`write_stream`](Writer::write_stream) would do with data of this schema. Creates a missing table
    /// to look at it, and rolls back.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`](crate::error::ErrorKind::NotFound) for a missing table that the mode does not create;
    /// [`ErrorKind::AlreadyExists`](crate::error::ErrorKind::AlreadyExists) when the mode does not allow an existing
    /// table; [`ErrorKind::PermissionDenied`](crate::error::ErrorKind::PermissionDenied) when the caller or the role
    /// may not write the table; [`ErrorKind::SchemaMismatch`](crate::error::ErrorKind::SchemaMismatch) when the schema
    /// cannot become a table; any error that PostgreSQL reports.
    pub async fn preview(&self, spec: &WriteSpec, schema: &Schema) -> Result<Preview> {
        let envelope = Envelope::find(spec, schema)?;
        let schema = envelope.as_ref().map_or(schema, Envelope::schema);
        let transaction = self.begin_control().await?;
        transaction.assume_role().await?;
        let by = (&self.caller, &self.statements());
        let preview = preview(&transaction, by, spec, schema).await;
        transaction.rollback().await;
        let mut preview = preview?;
        let caution = envelope.as_ref().map(Envelope::caution);
        preview.warnings.extend(caution);
        Ok(preview)
    }
}

async fn preview(
    transaction: &Transaction,
    (caller, statements): (&Caller, &Statements),
    spec: &WriteSpec,
    schema: &Schema,
) -> Result<Preview> {
    let planner = Planner {
        transaction,
        caller,
        spec,
        schema,
        statements,
        stream: None,
    };
    let mut preview = Preview::default();
    let found = planner.find().await?;
    if let Found::LeaveAlone(_) = found {
        let note = "the table exists and would be left alone: nothing would be written";
        preview.warnings.push(note.to_owned());
    }
    let made = match &found {
        Found::Missing(missing) => {
            let (name, columns) = (&missing.name, &missing.columns);
            let statements = &mut preview.statements;
            statements.push(create_table_statement(name, columns, &spec.table_options));
            statements.extend(add_primary_key_statement(name, &spec.primary_key));
            Some(make_and_find(planner, missing).await?)
        }
        Found::Existing(target) => {
            let (name, added) = (&target.table.relation.name, &target.added);
            preview
                .statements
                .extend(add_columns_statement(name, added));
            None
        }
        Found::LeaveAlone(_) => None,
    };
    let relation = match (&found, &made) {
        (_, Some(table)) => table.relation.clone(),
        (Found::Existing(target), None) => target.table.relation.clone(),
        (Found::LeaveAlone(relation), None) => relation.clone(),
        (Found::Missing(_), None) => return Err(Error::internal("a table was not made")),
    };
    preview.table = relation.name.to_string();
    preview.columns = columns(spec, schema, &relation);
    // The transaction may be unusable after a problem.
    let mut effects = side_effects(transaction, &relation).await?;
    if !spec.sync_sequences {
        let filled = sequence_columns(transaction, &relation).await?;
        let brought = filled
            .into_iter()
            .filter(|name| schema.field_with_name(name).is_ok());
        effects.extend(brought.map(|name| {
            format!(
                "column {name} is given values that its sequence may give out again, without sync_sequences"
            )
        }));
    }
    let mut problems = preview.columns.iter().map(|column| &column.problem);
    if problems.all(String::is_empty) {
        match check_whole(planner, found, made).await {
            Ok(Some(plan)) => {
                preview.warnings.extend(cautions(&plan.encode));
                if spec.mode.changes().is_some_and(Changes::can_bring_back) {
                    preview.warnings.push(BRINGS_BACK.to_owned());
                }
                let keys = plan.keys.iter().flat_map(Keys::names);
                preview.keys = keys.map(|key| key.as_str().to_owned()).collect();
            }
            Ok(None) => {}
            Err(error) => preview.problems.push(whole_problem(&error)),
        }
    }
    preview.warnings.extend(effects);
    preview.warnings.extend(around(spec));
    Ok(preview)
}

/// Says which statements of the operator run around the rows, and what this means for the way of the rows.
fn around(spec: &WriteSpec) -> Vec<String> {
    let said = |names: &[String], when: &str| {
        (!names.is_empty()).then(|| {
            let names = names.join(", ");
            format!("statements {when} the rows, in the transaction that publishes them: {names}")
        })
    };
    let staged = spec.has_statements().then(|| {
        "with statements, the partitions of an append are staged, and one stream takes one connection"
            .to_owned()
    });
    let lines = [
        said(&spec.before, "before"),
        said(&spec.after, "after"),
        staged,
    ];
    lines.into_iter().flatten().collect()
}

/// Creates the table that the write would create, and reads it.
async fn make_and_find(planner: Planner<'_>, missing: &MissingPlan) -> Result<Table> {
    let Planner {
        transaction, spec, ..
    } = planner;
    let name = &missing.name;
    create_table(transaction, name, &missing.columns, &spec.table_options)
        .await
        .map_err(|error| error.with_table(name))?;
    add_primary_key(transaction, name, &spec.primary_key).await?;
    find_staging(transaction, name).await
}

/// Plans the write as a whole. Returns `None` if the table is left alone.
async fn check_whole(
    planner: Planner<'_>,
    found: Found,
    made: Option<Table>,
) -> Result<Option<ExistingPlan>> {
    let (target, is_made) = match (found, made) {
        (Found::Missing(missing), Some(table)) => {
            let publish = missing.publish;
            let added = Vec::new();
            let target = Target {
                table,
                added,
                publish,
                markers: Vec::new(),
            };
            (target, true)
        }
        (Found::Existing(target), _) => (target, false),
        (Found::LeaveAlone(relation), _) => {
            planner.encode(&relation)?;
            return Ok(None);
        }
        (Found::Missing(_), None) => return Ok(None),
    };
    let plan = planner.plan(target).await?;
    if is_made || plan.publish == Publish::Swap {
        reject_casts(&plan.encode)?;
    }
    if !is_made {
        publish::check_plan(planner.transaction, planner.spec, &plan).await?;
    }
    Ok(Some(plan))
}

/// Returns the problem of the whole write on one line: the column, if it is one column's, the error and its advice.
fn whole_problem(error: &Error) -> String {
    match &error.context().column {
        Some(column) => format!("column {column}: {}", problem(error)),
        None => problem(error),
    }
}

/// Returns the error on one line, with its advice.
fn problem(error: &Error) -> String {
    match error.report().advice() {
        Some(advice) => format!("{error}; {advice}"),
        None => error.to_string(),
    }
}

/// The columns of a table by their names: a table and the data may have many.
struct ByName<'a> {
    exact: HashMap<&'a str, &'a Column>,
    /// By the name in lower case, the first of several.
    folded: HashMap<String, &'a Column>,
}

impl<'a> ByName<'a> {
    fn of(relation: &'a Relation) -> Self {
        let mut folded = HashMap::new();
        for column in &relation.columns {
            let name = column.name.as_str().to_lowercase();
            folded.entry(name).or_insert(column);
        }
        let columns = relation.columns.iter();
        Self {
            exact: columns
                .map(|column| (column.name.as_str(), column))
                .collect(),
            folded,
        }
    }

    /// Returns the column of this name, or one whose name differs only in case, as a column that may be left out.
    fn nearest(&self, name: &str) -> Option<Column> {
        let exact = self.exact.get(name);
        let found = exact.or_else(|| self.folded.get(&name.to_lowercase()))?;
        Some(Column {
            has_default: true,
            ..(*found).clone()
        })
    }
}

/// Plans each field by itself, to list all problems in one answer.
fn columns(spec: &WriteSpec, schema: &Schema, relation: &Relation) -> Vec<PreviewedColumn> {
    let by_name = ByName::of(relation);
    let fields = schema.fields().iter();
    let ignored = ignored_fields(spec, schema, relation);
    let marker = spec.mode.delete_when().map(|delete| delete.column.as_str());
    let orders = spec.mode.orders_of_envelope().unwrap_or_default();
    // The server makes these columns of an envelope.
    let is_made = |name: &str| {
        let has_envelope = !orders.is_empty();
        has_envelope && (marker == Some(name) || orders.iter().any(|made| made.as_str() == name))
    };
    let fields = fields.filter(|field| !is_made(field.name()));
    let columns = fields.map(|field| {
        if marker == Some(field.name().as_str()) {
            return PreviewedColumn {
                name: field.name().clone(),
                arrow_type: field.data_type().to_string(),
                encoding: "not written: says which rows delete".to_owned(),
                ..PreviewedColumn::default()
            };
        }
        if ignored.contains(field.name().as_str()) {
            return PreviewedColumn {
                name: field.name().clone(),
                arrow_type: field.data_type().to_string(),
                encoding: "left out: the table has no such column, or PostgreSQL generates it"
                    .to_owned(),
                ..PreviewedColumn::default()
            };
        }
        let is_for_it = |name: &String| name == field.name() || name == ALL_COLUMNS;
        let mut conversions = spec.conversions.clone();
        conversions.retain(|name, _| is_for_it(name));
        let alone = Schema::new(vec![field.clone()]);
        let optional = Relation {
            oid: relation.oid,
            name: relation.name.clone(),
            columns: by_name.nearest(field.name()).into_iter().collect(),
        };
        let found = by_name.exact.get(field.name().as_str());
        let (encoding, problem) =
            match EncodePlan::with_conversions(&alone, &optional, &conversions) {
                Ok(plan) => {
                    let column = plan.columns().first();
                    (
                        column.map(|c| c.encoding()).unwrap_or_default(),
                        String::new(),
                    )
                }
                Err(error) => (String::new(), problem(&error.into())),
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

/// Returns warnings about side effects of a plan.
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
