//! Who may import whom: the table of ARCHITECTURE.md, held against the source.

use std::fs;
use std::path::{Path, PathBuf};

/// Module, the modules of ours it may name, the guarded crates it may name.
const LAYERS: [(&str, &[&str], &[&str]); 17] = [
    ("main", &["cli", "config", "error"], &["tokio"]),
    (
        "cli",
        &[
            "auth",
            "client",
            "config",
            "error",
            "files",
            "flight",
            "metrics",
            "monitor",
            "pg",
            "plan",
            "telemetry",
            "write",
        ],
        &["tokio"],
    ),
    (
        "config",
        &["auth", "error", "flight", "pg", "telemetry", "write"],
        &[],
    ),
    ("telemetry", &[], &[]),
    (
        "client",
        &["error", "flight", "proto"],
        &["tonic", "arrow_flight", "prost", "tokio"],
    ),
    (
        "flight",
        &[
            "auth",
            "write",
            "plan",
            "proto",
            "error",
            "metrics",
            "telemetry",
            "tls",
        ],
        &["tonic", "arrow_flight", "prost", "tokio"],
    ),
    (
        "write",
        &[
            "auth",
            "plan",
            "encode",
            "pg",
            "error",
            "failpoint",
            "metrics",
        ],
        &["tokio"],
    ),
    (
        "monitor",
        &["write", "metrics", "error"],
        &["tokio", "hyper"],
    ),
    ("files", &["error"], &[]),
    ("encode", &["plan", "error"], &[]),
    (
        "pg",
        &["plan", "error", "metrics", "tls"],
        &["tokio", "tokio_postgres", "deadpool"],
    ),
    ("plan", &["error"], &[]),
    ("auth", &["plan", "error"], &[]),
    ("tls", &["error"], &[]),
    ("error", &[], &[]),
    ("metrics", &[], &["tokio"]),
    ("failpoint", &[], &[]),
];

/// Crates that only some modules may name.
const GUARDED: [&str; 7] = [
    "tonic",
    "arrow_flight",
    "prost",
    "tokio",
    "tokio_postgres",
    "deadpool",
    "hyper",
];

#[test]
fn modules_import_only_what_the_architecture_allows() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    collect(&source, &mut files);
    assert!(files.len() > 20, "the source was found");
    let mut broken = Vec::new();
    for file in files {
        let relative = file
            .strip_prefix(&source)
            .unwrap()
            .to_string_lossy()
            .into_owned();
        let module = relative.split(['/', '.']).next().unwrap();
        if matches!(module, "lib" | "proto") {
            continue;
        }
        let (_, ours, crates) = LAYERS
            .iter()
            .find(|(name, ..)| *name == module)
            .unwrap_or_else(|| panic!("{module} has no row in LAYERS"));
        let text = fs::read_to_string(&file).unwrap();
        let code: Vec<&str> = text
            .lines()
            .take_while(|line| !line.contains("#[cfg(test)]"))
            .filter(|line| !line.trim_start().starts_with("//"))
            .collect();
        for line in code {
            for part in line
                .split("crate::")
                .skip(1)
                .chain(line.split("pgflight::").skip(1))
            {
                let named = part
                    .split(|c: char| !c.is_alphanumeric() && c != '_')
                    .next()
                    .unwrap();
                if named != module && !ours.contains(&named) {
                    broken.push(format!("{relative} names crate::{named}"));
                }
            }
            for guarded in GUARDED {
                let named = line.contains(&format!("{guarded}::")) && {
                    let before = line
                        .find(&format!("{guarded}::"))
                        .and_then(|at| line[..at].chars().last());
                    !before.is_some_and(|c| c.is_alphanumeric() || c == '_' || c == ':')
                };
                if named && !crates.contains(&guarded) {
                    broken.push(format!("{relative} names {guarded}"));
                }
            }
        }
    }
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
}
