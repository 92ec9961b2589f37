//! A temporary file.

use std::path::PathBuf;

/// A temporary file with this text, removed when it is dropped.
pub struct File(pub PathBuf);

impl File {
    pub fn new(text: &str) -> Self {
        let name = format!("pgflight-{}", uuid::Uuid::new_v4());
        let path = std::env::temp_dir().join(name);
        std::fs::write(&path, text).unwrap();
        Self(path)
    }

    /// The path of the file, for an option or a configuration.
    pub fn name(&self) -> &str {
        self.0.to_str().unwrap()
    }
}

impl Drop for File {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}
