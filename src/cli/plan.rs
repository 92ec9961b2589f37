//! `pgflight plan`: what a write would do.

use std::fmt::Display;
use std::fs::File;
use std::process::ExitCode;

use pgflight::config::Plan;
use pgflight::error::{Error, Result};
use pgflight::flight::{read_schema, write_spec_from_json};

use super::{connect, print};

pub(super) async fn plan(options: Plan) -> Result<ExitCode> {
    let named = |error: &dyn Display| {
        Error::invalid_command(format!("{}: {error}", options.schema.display()))
    };
    let schema = match options.schema.as_os_str().to_str() {
        Some("-") => read_schema(std::io::stdin()),
        _ => read_schema(File::open(&options.schema).map_err(|error| named(&error))?),
    };
    let schema = schema.map_err(|error| named(&error))?;
    let mut fields = options.spec;
    let mode = format!("MODE_{}", options.mode.to_ascii_uppercase());
    fields.insert("table".to_owned(), options.table.into());
    fields.insert("mode".to_owned(), mode.into());
    if !options.keys.is_empty() {
        fields.insert("keys".to_owned(), options.keys.into());
    }
    let spec = write_spec_from_json(fields)?;
    let (_, writer) = connect(&options.destination).await?;
    let preview = writer.preview(&spec, &schema).await?;
    if options.json {
        print(&serde_json::to_string(&preview)
            .map_err(|error| Error::internal("cannot print the plan").with_source(error))?);
    } else {
        print(preview.to_string().trim_end());
    }
    Ok(match preview.is_accepted() {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    })
}
