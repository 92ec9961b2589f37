//! Decides once what a write does to its table, from one look at the catalog.

use std::borrow::Cow;

use arrow::datatypes::Schema;

use super::changes::mark;
use super::evolution::{columns_to_add, extend_relation, written_schema};
use super::keyed::find_checked_keys;
use super::method::{check_table, needed_privileges, of_existing};
use super::part::{CheckedPart, find_checked_part};
use super::permission::{check_existing, check_new, find_permitted, missing_table};
use super::rejects::{check_rejects, mark_places, with_places};
use crate::auth::Caller;
use crate::error::{Error, Result};
use crate::metrics::{Activity, Stream};
use crate::pg::{
    CheckedCondition, Keys, Publish, Table, Transaction, check_sequences, find_geometry, qualify,
    resolve_requested_types,
};
use crate::write::reject::rules::{not_served, unserved};
use crate::write::spec::{KeyedAction, Mode, SchemaEvolution, WriteSpec};
use crate::write::statements::Statements;
use arrow_pgcopy::conversion::ALL_COLUMNS;
use arrow_pgcopy::schema::{ColumnDefinition, asks_for_geometry, column_definitions};
use arrow_pgcopy::{EncodePlan, Ident, QualifiedName, Relation};

/// The inputs that decide a write.
#[derive(Clone, Copy)]
pub(crate) struct Planner<'a> {
    pub(crate) transaction: &'a Transaction,
    pub(crate) caller: &'a Caller,
    pub(crate) spec: &'a WriteSpec,
    /// The schema of the rows.
    pub(crate) schema: &'a Schema,
    /// The statements of the target.
    pub(crate) statements: &'a Statements,
    /// The stream that waits for the plan, if any. Its clock counts the time.
    pub(crate) stream: Option<&'a Stream>,
}

/// The decision about a write.
pub(crate) enum WritePlan {
    /// The table exists.
    Existing(Box<ExistingPlan>),
    /// The write creates the table.
    Missing(MissingPlan),
    /// The table exists, and the mode leaves it alone.
    LeaveAlone(Relation),
}

/// The plan for a table that exists.
pub(crate) struct ExistingPlan {
    /// The table, with the columns that the write adds.
    pub(crate) table: Table,
    /// The columns that the write adds.
    pub(crate) added: Vec<ColumnDefinition>,
    /// The method that publishes the rows.
    pub(crate) publish: Publish,
    /// The way to encode the rows.
    pub(crate) encode: EncodePlan,
    /// The keys and their comparison, in keyed modes.
    pub(crate) keys: Option<Keys>,
    /// The part that is replaced, in [`Mode::Replace`].
    pub(crate) part: Option<CheckedPart>,
    /// The column that says which rows delete, if the table lacks it, and those that order the rows of an envelope or say
    /// where rows were in their streams. They are staged and not written.
    pub(crate) markers: Vec<ColumnDefinition>,
}

/// The target of a write, before its rows are planned.
pub(crate) enum Found {
    /// The table exists, and the write fills it.
    Existing(Target),
    /// The write creates the table.
    Missing(MissingPlan),
    /// The table exists, and the mode leaves it alone.
    LeaveAlone(Relation),
}

/// A table that a write fills.
pub(crate) struct Target {
    /// The table, with the columns that the write adds.
    pub(crate) table: Table,
    /// The columns that the write adds.
    pub(crate) added: Vec<ColumnDefinition>,
    /// The method that publishes the rows.
    pub(crate) publish: Publish,
    /// As in [`ExistingPlan`].
    pub(crate) markers: Vec<ColumnDefinition>,
}

/// The plan for a table that the write creates.
pub(crate) struct MissingPlan {
    /// Its name.
    pub(crate) name: QualifiedName,
    /// Its columns.
    pub(crate) columns: Vec<ColumnDefinition>,
    /// The method that publishes the rows.
    pub(crate) publish: Publish,
}

/// How the rows of one stream get into a table that exists.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Route {
    /// COPY into the table.
    Direct,
    /// COPY into a temporary table. INSERT or a merge reads the rows from there.
    Temporary,
    /// COPY into a twin, which replaces the table.
    Twin,
}

impl WritePlan {
    /// Returns the primary key that identifies rows, in a mode that names no keys of its own.
    pub(crate) fn primary_key(&self, mode: &Mode) -> Vec<Ident> {
        match (self, mode) {
            (Self::Existing(plan), Mode::Keyed { keys, .. }) if keys.is_empty() => {
                let found = plan.keys.iter().flat_map(Keys::names);
                found.cloned().collect()
            }
            _ => Vec::new(),
        }
    }
}

impl ExistingPlan {
    /// Returns the condition that all rows of the data must meet, if there is one.
    pub(crate) fn guard(&self) -> Option<&CheckedCondition> {
        match &self.part {
            Some(CheckedPart::Where(condition)) => Some(condition),
            Some(CheckedPart::By(_)) | None => None,
        }
    }

    /// Returns how the rows of one stream get into the table.
    pub(crate) fn route(&self) -> Route {
        match self.publish {
            Publish::Merge => Route::Temporary,
            Publish::Swap => Route::Twin,
            // What is replaced is known once all rows are there.
            Publish::Replace if matches!(self.part, Some(CheckedPart::By(_))) => Route::Temporary,
            Publish::Append
            | Publish::TwoPhase
            | Publish::Truncate
            | Publish::Delete
            | Publish::Replace
            | Publish::Create
            | Publish::Direct
            | Publish::Nothing => {
                let is_direct = self.table.copy_obstacle.is_none()
                    && self.encode.first_cast().is_none()
                    && self.markers.is_empty();
                if is_direct {
                    Route::Direct
                } else {
                    Route::Temporary
                }
            }
        }
    }
}

impl Planner<'_> {
    /// Looks up the table and decides.
    ///
    /// # Errors
    /// [`ErrorKind::PermissionDenied`](crate::error::ErrorKind::PermissionDenied) when the caller or the role may not
    /// write the table; [`ErrorKind::NotFound`](crate::error::ErrorKind::NotFound) or
    /// [`ErrorKind::AlreadyExists`](crate::error::ErrorKind::AlreadyExists) when the mode does not allow what was
    /// found; [`ErrorKind::SchemaMismatch`](crate::error::ErrorKind::SchemaMismatch) when the rows do not fit the
    /// table, or when their schema cannot become a table; any error that PostgreSQL reports.
    pub(crate) async fn decide(self) -> Result<WritePlan> {
        Ok(match self.find().await? {
            Found::Existing(target) => WritePlan::Existing(Box::new(self.plan(target).await?)),
            Found::Missing(plan) => WritePlan::Missing(plan),
            Found::LeaveAlone(relation) => WritePlan::LeaveAlone(relation),
        })
    }

    /// Looks up the table, and decides how its rows are published.
    ///
    /// # Errors
    /// The errors of [`Planner::decide`], except that the rows do not fit the table.
    pub(crate) async fn find(self) -> Result<Found> {
        let Self {
            transaction,
            caller,
            spec,
            ..
        } = self;
        check_rejects(transaction, caller, spec).await?;
        match find_permitted(transaction, caller, &spec.table).await? {
            Some(table) => {
                check_existing(caller, spec, &table.relation.name)?;
                self.statements.check(spec)?;
                table.check_privileges(needed_privileges(&spec.mode))?;
                self.find_existing(table).await
            }
            None => self.find_missing().await.map(Found::Missing),
        }
    }

    /// Decides again about a table that has changed before it was locked.
    ///
    /// # Errors
    /// The errors of [`Planner::decide`].
    pub(crate) async fn decide_again(self, table: Table) -> Result<ExistingPlan> {
        match self.find_existing(table).await? {
            Found::Existing(target) => self.plan(target).await,
            Found::Missing(_) | Found::LeaveAlone(_) => {
                Err(Error::internal("a plan changed its kind under a lock"))
            }
        }
    }

    async fn find_existing(self, mut table: Table) -> Result<Found> {
        let Self {
            transaction, spec, ..
        } = self;
        let name = table.relation.name.clone();
        let in_table = |error: Error| error.with_table(&name);
        let Some(publish) = of_existing(&spec.mode).map_err(in_table)? else {
            return Ok(Found::LeaveAlone(table.relation));
        };
        check_table(transaction, publish, &table)
            .await
            .map_err(in_table)?;
        if spec.sync_sequences {
            check_sequences(transaction, &table.relation).await?;
        }
        let mut markers = mark(spec, self.schema, &mut table)?;
        let added = columns_to_add(transaction, spec, self.schema, &table.relation).await?;
        extend_relation(transaction, spec, publish, &mut table, &added).await?;
        markers.extend(mark_places(transaction, spec, self.schema, publish, &mut table).await?);
        Ok(Found::Existing(Target {
            table,
            added,
            publish,
            markers,
        }))
    }

    /// Plans how the rows get into a table.
    ///
    /// # Errors
    /// [`ErrorKind::SchemaMismatch`](crate::error::ErrorKind::SchemaMismatch) when the rows do not fit the table.
    pub(crate) async fn plan(self, target: Target) -> Result<ExistingPlan> {
        let Target {
            table,
            added,
            publish,
            markers,
        } = target;
        let encode = self.encode(&table.relation);
        let encode = encode.map_err(|error| error.with_table(&table.relation.name))?;
        let keys = find_checked_keys(self.transaction, self.spec, self.schema, &table, &encode);
        let keys = keys.await?;
        let on = (&table, &*added);
        let part = find_checked_part(self.transaction, self.spec, self.schema, on, &encode);
        let part = part.await?;
        Ok(ExistingPlan {
            table,
            added,
            publish,
            encode,
            keys,
            part,
            markers,
        })
    }

    async fn find_missing(self) -> Result<MissingPlan> {
        let Self {
            transaction,
            caller,
            spec,
            schema,
            ..
        } = self;
        if !makes_table(&spec.mode) {
            return Err(missing_table(transaction, caller, &spec.table).await?);
        }
        if let Some(rules) = &spec.rejects
            && let Some(kind) = rules.first_named(unserved(false))
        {
            return Err(not_served(kind, "in a new table yet").with_table(&spec.table));
        }
        let name = qualify(transaction, &spec.table).await?;
        check_new(caller, spec, &name)?;
        self.statements.check(spec)?;
        let geometry = match asks_for_geometry(schema) {
            true => find_geometry(transaction).await?,
            false => None,
        };
        let mut columns = column_definitions(schema, &spec.column_types, geometry.as_deref())
            .map_err(|error| Error::from(error).with_table(&spec.table))?;
        let resolved = resolve_requested_types(transaction, &mut columns, None).await;
        resolved.map_err(|error| error.with_table(&name))?;
        for key in &spec.primary_key {
            let column = columns.iter_mut().find(|column| column.name == *key);
            let column = column.ok_or_else(|| {
                Error::schema_mismatch("the data has no such column for the primary key")
                    .with_table(&spec.table)
                    .with_column(key.as_str())
            })?;
            column.not_null = true;
        }
        Ok(MissingPlan {
            name,
            columns,
            publish: match spec.mode {
                Mode::Keyed { .. } => Publish::Merge,
                Mode::Append { .. }
                | Mode::Create { .. }
                | Mode::Overwrite { .. }
                | Mode::Replace { .. } => Publish::Create,
            },
        })
    }

    /// Plans how the rows are encoded for a table.
    ///
    /// # Errors
    /// The errors of [`encode_plan`].
    pub(crate) fn encode(&self, relation: &Relation) -> Result<EncodePlan> {
        let plan = || encode_plan(self.spec, self.schema, relation);
        let plan = match self.stream {
            Some(stream) => stream.work(Activity::Plan, plan),
            None => plan(),
        }?;
        tracing::debug!(table = ?relation.name.to_string(), plan = %plan, "planned");
        Ok(plan)
    }
}

fn makes_table(mode: &Mode) -> bool {
    match mode {
        Mode::Create { .. } | Mode::Overwrite { .. } => true,
        Mode::Replace { .. } => false,
        Mode::Append {
            create_if_missing, ..
        }
        | Mode::Keyed {
            create_if_missing, ..
        } => *create_if_missing,
    }
}

/// Plans how rows are encoded for a table. A mode that adds no rows needs only the columns of the data.
///
/// # Errors
/// The errors of [`EncodePlan::with_conversions`], and of [`written_schema`].
pub(crate) fn encode_plan(
    spec: &WriteSpec,
    schema: &Schema,
    relation: &Relation,
) -> Result<EncodePlan> {
    let schema = written_schema(spec, schema, relation)?;
    let schema = &*with_places(spec, schema, relation);
    let mut conversions = Cow::Borrowed(&spec.conversions);
    if spec.schema_evolution == SchemaEvolution::Ignore {
        conversions
            .to_mut()
            .retain(|name, _| name == ALL_COLUMNS || schema.field_with_name(name).is_ok());
    }
    let planned = |relation: &Relation| -> Result<EncodePlan> {
        Ok(EncodePlan::with_conversions(
            schema,
            relation,
            &conversions,
        )?)
    };
    match &spec.mode {
        Mode::Keyed {
            action: KeyedAction::UpdateOnly | KeyedAction::DeleteByKey,
            ..
        } => {
            let mut named = relation.clone();
            named
                .columns
                .retain(|column| schema.field_with_name(column.name.as_str()).is_ok());
            // The plan for the whole table gives the error: it can suggest the column that the caller may have meant.
            planned(&named).or_else(|error| planned(relation).and(Err(error)))
        }
        Mode::Keyed { .. }
        | Mode::Append { .. }
        | Mode::Create { .. }
        | Mode::Overwrite { .. }
        | Mode::Replace { .. } => planned(relation),
    }
}

/// Rejects a column that PostgreSQL would have to cast, when the rows are copied straight into the future target.
///
/// # Errors
/// [`ErrorKind::SchemaMismatch`](crate::error::ErrorKind::SchemaMismatch), with the column.
pub(crate) fn reject_casts(plan: &EncodePlan) -> Result<()> {
    match plan.first_cast() {
        None => Ok(()),
        Some(column) => Err(Error::schema_mismatch(format!(
            "Arrow type {} is cast to {} by PostgreSQL, and this write has no staging table to cast from",
            column.data_type, column.type_name
        ))
        .with_hint(
            "make the table first and append to it or truncate it, or cast the data before writing",
        )
        .with_column(column.name.as_str())),
    }
}
