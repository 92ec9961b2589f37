//! The `pgflight` command: parses the command line, runs the subcommand and sets the exit status.

mod cli;

use std::process::ExitCode;

use clap::error::ErrorKind as ClapErrorKind;
use pgflight::config::Cli;
use pgflight::error::{Error, ErrorKind};

/// `EX_USAGE` of sysexits.h.
const USAGE: u8 = 64;

fn main() -> ExitCode {
    let cli = match Cli::read() {
        Ok(cli) => cli,
        Err(error) => {
            // A closed terminal does not change the exit status.
            error.print().ok();
            let asked_for = matches!(
                error.kind(),
                ClapErrorKind::DisplayHelp | ClapErrorKind::DisplayVersion
            );
            return if asked_for {
                ExitCode::SUCCESS
            } else {
                ExitCode::from(USAGE)
            };
        }
    };
    let outcome = tokio::runtime::Runtime::new()
        .map_err(|error| Error::internal("could not start the runtime").with_source(error))
        .and_then(|runtime| runtime.block_on(cli::run(cli.command)));
    match outcome {
        Ok(code) => code,
        Err(error) => {
            cli::eprint_error(&error);
            if error.kind() == ErrorKind::InvalidCommand {
                ExitCode::from(USAGE)
            } else {
                ExitCode::FAILURE
            }
        }
    }
}
