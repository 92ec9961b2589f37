//! The sections of the configuration, a file each. A section's struct holds its options of the command line, the
//! environment and the file, each `None` where it is not set, and builds its module's configuration.

pub(super) mod identity;
pub(super) mod limits;
pub(super) mod log;
pub(super) mod metrics;
pub(super) mod server;
pub(super) mod target;
pub(super) mod writes;
