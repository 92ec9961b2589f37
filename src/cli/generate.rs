//! Generates shell completions and manual pages from the definition of the command line.

use std::io::{self, Write};

use clap::CommandFactory;
use pgflight::config::{Cli, Completions, Man};
use pgflight::error::{Error, Result};

/// Prints completions for a shell.
pub(super) fn completions(options: &Completions) -> Result<()> {
    let mut script = Vec::new();
    clap_complete::generate(options.shell, &mut Cli::command(), "pgflight", &mut script);
    print(&script)
}

/// Prints the manual page, or writes the pages of all subcommands.
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
        // The reader closed the pipe, as `head` does.
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(Error::internal("cannot print").with_source(error))
        }
        _ => Ok(()),
    }
}
