//! Moves sequences after a write: they would otherwise return values that the data already has.

use crate::error::{Result, one_line};
use crate::pg::move_sequences;
use crate::write::plan::permission::find_permitted;
use crate::write::spec::WriteSpec;
use crate::write::writer::Writer;

impl Writer {
    /// Advances the sequences of the table, if the spec asks for it. The rows are committed by then, so a failure is
    /// only logged.
    pub(crate) async fn move_sequences(&self, spec: &WriteSpec) {
        if !spec.sync_sequences {
            return;
        }
        let table = one_line(&spec.table.to_string());
        match self.try_move_sequences(spec).await {
            Ok(moved) => tracing::debug!(%table, moved, "sequences were moved"),
            Err(error) => tracing::warn!(
                %table, error = %error.report(),
                "the rows are committed, and the table's sequences were not moved"
            ),
        }
    }

    async fn try_move_sequences(&self, spec: &WriteSpec) -> Result<usize> {
        let turn = self.enter_statement().await?;
        // Reading the largest value runs code of a view, and takes long without an index.
        let transaction = self.begin_commit("sequences").await?;
        transaction.assume_role().await?;
        let found = find_permitted(&transaction, &self.caller, &spec.table).await?;
        let Some(table) = found else {
            return Ok(0);
        };
        let moved = move_sequences(&transaction, &table.relation).await?;
        transaction.rollback().await;
        drop(turn);
        Ok(moved)
    }
}
