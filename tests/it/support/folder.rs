//! Files to load, and `pgflight load`.

use std::path::{Path, PathBuf};
use std::process::Output;

use arrow::array::RecordBatch;
use arrow::ipc::writer::{FileWriter, StreamWriter};
use parquet::arrow::ArrowWriter;

use super::Pgflight;

/// A folder of files, removed when it is dropped.
pub struct Folder(pub PathBuf);

impl Folder {
    pub fn new() -> Self {
        let folder = std::env::temp_dir().join(format!("pgflight-load-{}", uuid::Uuid::new_v4()));
        std::fs::create_dir(&folder).unwrap();
        Self(folder)
    }

    pub fn path(&self, name: &str) -> String {
        self.0.join(name).to_str().unwrap().to_owned()
    }

    /// Writes bytes, in a folder that need not exist yet.
    pub fn put(&self, name: &str, content: impl AsRef<[u8]>) -> String {
        let path = self.path(name);
        std::fs::create_dir_all(Path::new(&path).parent().unwrap()).unwrap();
        std::fs::write(&path, content).unwrap();
        path
    }

    /// Writes rows in the format of the file's extension.
    pub fn write(&self, name: &str, rows: &RecordBatch) -> String {
        let path = self.path(name);
        let file = std::fs::File::create(&path).unwrap();
        let schema = rows.schema();
        match Path::new(name).extension().unwrap().to_str().unwrap() {
            "parquet" => {
                let mut writer = ArrowWriter::try_new(file, schema, None).unwrap();
                writer.write(rows).unwrap();
                writer.close().unwrap();
            }
            "arrow" => {
                let mut writer = FileWriter::try_new(file, &schema).unwrap();
                writer.write(rows).unwrap();
                writer.finish().unwrap();
            }
            "arrows" => {
                let mut writer = StreamWriter::try_new(file, &schema).unwrap();
                writer.write(rows).unwrap();
                writer.finish().unwrap();
            }
            _ => arrow::csv::Writer::new(file).write(rows).unwrap(),
        }
        path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Runs the command against a server.
pub fn load(url: &str, arguments: &[&str]) -> Output {
    Pgflight::command()
        .args(["load", "--server", url])
        .args(arguments)
        .output()
        .unwrap()
}

pub fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

pub fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}
