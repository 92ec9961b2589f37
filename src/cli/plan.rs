//! `pgflight plan`: prints what a write would do.

use std::fs::File;
use std::process::ExitCode;

use pgflight::config::Plan;
use pgflight::error::{Error, Result};
use pgflight::flight::{read_schema, write_spec_from_json};

use super::spec::spec_fields;
use super::{connect, print};

pub(super) async fn plan(options: Plan) -> Result<ExitCode> {
    let unreadable = format!("cannot read a schema from {}", options.schema.display());
    let schema = if options.schema.as_os_str() == "-" {
        read_schema(std::io::stdin())
    } else {
        let file = File::open(&options.schema)
            .map_err(|error| Error::invalid_command(unreadable.clone()).with_source(error))?;
        read_schema(file)
    };
    let schema = schema.map_err(|error| error.caused(unreadable))?;
    let fields = spec_fields(options.spec, options.table, &options.mode, options.keys)?;
    let spec = write_spec_from_json(fields)?;
    let (_, writer) = connect(&options.destination).await?;
    let preview = writer.preview(&spec, &schema).await?;
    if options.json {
        print(
            &serde_json::to_string(&preview)
                .map_err(|error| Error::internal("cannot encode the plan").with_source(error))?,
        );
    } else {
        print(preview.to_string().trim_end());
    }
    Ok(if preview.is_accepted() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}
