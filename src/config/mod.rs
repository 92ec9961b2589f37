//! What the process is told: flags and environment, a file, and out of both one valid configuration.

mod args;
mod change;
mod example;
mod file;
mod load;
mod problems;
mod serve;
mod target;
#[cfg(test)]
mod tests;
mod validate;
mod value;

pub use args::{
    Abort, Check, Cli, Command, Completions, ConfigCheck, ConfigCommand, Destination, Man, Migrate,
    Plan, Postgres, Writes,
};
pub use change::Change;
pub use example::example;
pub use load::Load;
pub use serve::Serve;
pub use target::{TargetConfig, load_target, load_targets};
pub use validate::{Config, LogConfig};
