//! The limits of one stream: its connections and its volume.

use crate::auth::Volume;
use crate::write::spec::{IfExists, Mode, WriteSpec};

/// The connections that one stream may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FanOut {
    /// Largest number of connections of a stream; 1 for its own only.
    pub lanes: usize,
    /// Bytes of COPY after which the further connections are taken.
    pub after_bytes: u64,
}

impl Default for FanOut {
    fn default() -> Self {
        Self {
            lanes: 1,
            after_bytes: u64::MAX,
        }
    }
}

impl FanOut {
    /// Returns the number of bytes after which a stream of this write, into a new table, takes more connections. A stream
    /// with statements keeps the transaction in which they run.
    pub(crate) fn after(&self, spec: &WriteSpec) -> u64 {
        match self.lanes > 1 && may_wait(&spec.mode) && !spec.has_statements() {
            true => self.after_bytes,
            false => u64::MAX,
        }
    }
}

/// Returns whether the new table may have another name until the commit. If another session creates the same table at
/// the same time and must append to it, the table needs its own name: the session then waits for it.
fn may_wait(mode: &Mode) -> bool {
    match mode {
        Mode::Create {
            if_exists: IfExists::Fail,
        }
        | Mode::Overwrite { .. } => true,
        Mode::Create {
            if_exists: IfExists::Append | IfExists::Ignore,
        }
        | Mode::Append { .. }
        | Mode::Replace { .. }
        | Mode::Keyed { .. } => false,
    }
}

/// The limits of a target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct VolumeLimits {
    /// The limits of one stream and one write.
    pub most: Volume,
    /// Number of bytes of COPY allowed for each byte of Arrow of a stream, beyond the first GiB of COPY.
    pub max_expansion: u32,
}

impl Default for VolumeLimits {
    fn default() -> Self {
        Self {
            most: Volume::default(),
            max_expansion: 1000,
        }
    }
}
