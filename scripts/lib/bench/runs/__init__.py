"""The measurements, a file for each subcommand of `scripts/bench`."""
