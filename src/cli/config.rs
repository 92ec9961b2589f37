//! `pgflight config`: checks a configuration file, or prints an example.

use pgflight::config::{Config, ConfigCommand, example};
use pgflight::error::Result;

use super::print;

pub(super) fn config(command: ConfigCommand) -> Result<()> {
    match command {
        ConfigCommand::Example => print(example().trim_end()),
        ConfigCommand::Check(options) => {
            let config = Config::load_file(&options.file)?;
            let targets: Vec<&str> = config.targets.keys().map(String::as_str).collect();
            print(&format!(
                "{} is valid; targets: {}. `pgflight check` connects to them.",
                options.file.display(),
                targets.join(", ")
            ));
        }
    }
    Ok(())
}
