//! What is made of the command line's own description: completions for shells, manual pages.

use std::io::{self, Write};

use clap::CommandFactory;
use pgflight::config::{Cli, Completions, Man};
use pgflight::error::{Error, Result};

/// Prints completions.
pub(super) fn completions(options: &Completions) -> Result<()> {
    let mut script = Vec::new();
    clap_complete::generate(options.shell, &mut Cli::command(), "pgflight", &mut script);
    print(&script)
}

/// Prints the manual page, or writes all of them.
pub(super) fn man(options: &Man) -> Result<()> {
    match &options.directory {
        None => {
            let mut page = Vec::new();
            clap_mangen::Man::new(Cli::command())
                .render(&mut page)
                .map_err(|error| {
                    Error::internal("cannot make the manual page").with_source(error)
                })?;
            print(&page)
        }
        Some(directory) => clap_mangen::generate_to(Cli::command(), directory).map_err(|error| {
            let text = format!("cannot write to {}", directory.display());
            Error::invalid_command(text).with_source(error)
        }),
    }
}

fn print(bytes: &[u8]) -> Result<()> {
    match io::stdout().write_all(bytes) {
        // `pgflight man | head` has seen enough.
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(Error::internal("cannot print").with_source(error))
        }
        _ => Ok(()),
    }
}
