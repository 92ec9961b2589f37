//! Configuration: flags, environment and a file, combined into one valid configuration.

mod change;
mod cli;
mod example;
mod file;
mod load;
mod options;
mod problems;
#[cfg(test)]
mod tests;
mod value;

pub use change::Change;
pub use cli::{
    Abort, Check, Cli, Command, Completions, ConfigCheck, ConfigCommand, Destination, FileFormat,
    Load, Man, Migrate, Plan, Postgres, Quote, ReadFiles, Serve, Writes,
};
pub use example::example;
pub use load::{Config, load_target, load_targets};
pub use options::log::LogConfig;
pub use options::target::TargetConfig;
