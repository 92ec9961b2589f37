//! What `pgflight load` makes of other people's files.

mod csv;
mod forms;
mod json;
mod parquet;
mod places;
mod several;

use std::process::Output;

use crate::support::{Database, Folder, Pgflight, load, stderr};

/// A table, a server and a folder of files.
struct Loads {
    database: Database,
    _server: Pgflight,
    url: String,
    folder: Folder,
}

impl Loads {
    /// Makes a table `t` with these columns.
    async fn into(columns: &str) -> Self {
        let database = Database::new().await;
        database
            .execute(&format!("CREATE TABLE t ({columns})"))
            .await;
        let server = Pgflight::start(&database);
        Self {
            url: format!("grpc://{}", server.address),
            database,
            _server: server,
            folder: Folder::new(),
        }
    }

    /// Loads files into the table.
    fn load(&self, arguments: &[&str]) -> Output {
        load(&self.url, &[&["--to", "t"], arguments].concat())
    }

    /// Returns the rows as PostgreSQL prints them, in their order, and empties the table.
    async fn rows(&self) -> String {
        let rows =
            "SELECT coalesce(string_agg(t::text, ' ' ORDER BY t::text COLLATE \"C\"), '') FROM t";
        let rows = self.database.text(rows).await;
        self.database.execute("TRUNCATE t").await;
        rows
    }

    /// Loads files, and returns the rows, or the error on one line.
    async fn outcome(&self, arguments: &[&str]) -> Result<String, String> {
        let output = self.load(arguments);
        let rows = self.rows().await;
        if output.status.success() {
            return Ok(rows);
        }
        assert_eq!(rows, "", "a failed load leaves nothing");
        let said = stderr(&output).replace('\n', " ");
        // What clap rejects was no load.
        let is_load = !said.starts_with("error: ");
        assert_eq!(is_load, said.contains("no rows were written"), "{said}");
        Err(said)
    }
}
