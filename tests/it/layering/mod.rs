//! Compares the source of every package with the table of layers in ARCHITECTURE.md: which modules and crates each
//! module may name. Also checks that no files of a folder name each other in a cycle.

mod graph;
mod source;

use std::fs;
use std::path::Path;

use self::graph::circles;
use self::source::{Package, code_of, paths_of};

/// A package, and its modules: those of the package that each may name, and the guarded crates.
const LAYERS: [(&str, &[Layer]); 2] = [("", SERVER), ("crates/arrow-pgcopy", ENCODER)];

type Layer = (
    &'static str,
    &'static [&'static str],
    &'static [&'static str],
);

const SERVER: &[Layer] = &[
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
            "telemetry",
            "write",
        ],
        &["arrow_pgcopy", "tokio"],
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
        &["arrow_flight", "prost", "tokio", "tonic"],
    ),
    (
        "flight",
        &[
            "auth",
            "write",
            "proto",
            "error",
            "metrics",
            "telemetry",
            "tls",
        ],
        &["arrow_flight", "arrow_pgcopy", "prost", "tokio", "tonic"],
    ),
    (
        "write",
        &["auth", "pg", "error", "failpoint", "metrics"],
        &["arrow_pgcopy", "tokio"],
    ),
    (
        "monitor",
        &["write", "metrics", "error"],
        &["tokio", "hyper"],
    ),
    ("files", &["error"], &[]),
    (
        "pg",
        &["error", "metrics", "tls"],
        &["arrow_pgcopy", "deadpool", "tokio", "tokio_postgres"],
    ),
    ("auth", &["error"], &["arrow_pgcopy"]),
    ("tls", &["error"], &[]),
    ("error", &[], &["arrow_pgcopy"]),
    ("metrics", &["error"], &["tokio"]),
    ("failpoint", &[], &[]),
];

const ENCODER: &[Layer] = &[
    (
        "encode",
        &["conversion", "error", "field", "mapping", "plan", "table"],
        &[],
    ),
    (
        "plan",
        &["conversion", "error", "mapping", "refusal", "table"],
        &[],
    ),
    ("conversion", &["field", "mapping", "refusal", "table"], &[]),
    ("mapping", &["field", "refusal", "table"], &[]),
    ("schema", &["error", "field", "table"], &[]),
    ("field", &["refusal"], &[]),
    ("table", &["error"], &[]),
    ("refusal", &["error"], &[]),
    ("error", &[], &[]),
];

/// Crates that only some modules may name.
const GUARDED: [&str; 8] = [
    "arrow_flight",
    "arrow_pgcopy",
    "deadpool",
    "hyper",
    "prost",
    "tokio",
    "tokio_postgres",
    "tonic",
];

/// Files that name each other, and why they may.
const CIRCLES: [(&str, &[&str], &str); 1] = [(
    "crates/arrow-pgcopy/src/mapping",
    &["arrow_to_postgres", "nested"],
    "a type within another is mapped as a type of its own",
)];

#[test]
fn modules_name_only_the_layers_below_them() {
    let mut broken = Vec::new();
    for (package, layers) in LAYERS {
        let package = Package::read(package);
        assert!(package.files.len() > 20, "{}: the source", package.root);
        for (module, file) in &package.files {
            let Some(top) = module.first() else { continue };
            if top == "proto" {
                continue;
            }
            let (_, ours, crates) = layers
                .iter()
                .find(|(name, ..)| name == top)
                .unwrap_or_else(|| panic!("{}: {top} has no row in LAYERS", package.root));
            for path in file.names.iter().filter(|path| !path.is_empty()) {
                let named = path.get(1).map(String::as_str).unwrap_or_default();
                let is_module = package
                    .files
                    .keys()
                    .any(|m| m.first().is_some_and(|m| m == named));
                if matches!(path[0].as_str(), "crate" | "pgflight")
                    && is_module
                    && named != top
                    && !ours.contains(&named)
                {
                    broken.push(format!("{} names crate::{named}", file.path));
                }
                let guarded = GUARDED.iter().find(|guarded| **guarded == path[0]);
                if let Some(guarded) = guarded.filter(|guarded| !crates.contains(guarded)) {
                    broken.push(format!("{} names {guarded}", file.path));
                }
            }
        }
    }
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

#[test]
fn files_of_a_folder_form_no_circle() {
    let mut broken = Vec::new();
    for (package, _) in LAYERS {
        let package = Package::read(package);
        for (folder, files) in circles(&package) {
            let allowed = CIRCLES.iter().any(|(at, known, _)| {
                *at == folder && files.iter().all(|file| known.contains(&file.as_str()))
            });
            if !allowed {
                broken.push(format!("{folder}: {}", files.join(" → ")));
            }
        }
    }
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

#[test]
fn folders_hold_at_most_a_dozen_files() {
    let mut broken = Vec::new();
    for folder in [
        "src",
        "crates/arrow-pgcopy/src",
        "tests",
        "python/pgflight",
        "python/tests",
    ] {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
        let mut folders = vec![root];
        while let Some(folder) = folders.pop() {
            let entries: Vec<_> = fs::read_dir(&folder)
                .unwrap()
                .map(|entry| entry.unwrap().path())
                .collect();
            let (inner, files): (Vec<_>, Vec<_>) =
                entries.into_iter().partition(|path| path.is_dir());
            if files.len() > 12 {
                broken.push(format!("{}: {} files", folder.display(), files.len()));
            }
            let is_cache = |path: &Path| path.ends_with("__pycache__");
            folders.extend(inner.into_iter().filter(|path| !is_cache(path)));
        }
    }
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

#[test]
fn the_reader_of_paths_sees_through_use_trees() {
    let code = "use crate::a::{self, b::{c, d as e}};\nfn f() { super::x::y(); tokio::spawn() }";
    let paths: Vec<String> = paths_of(&code_of(code))
        .iter()
        .map(|path| path.join("::"))
        .collect();
    assert_eq!(
        paths,
        [
            "crate::a::self",
            "crate::a::b::c",
            "crate::a::b::d",
            "super::x::y",
            "tokio::spawn"
        ]
    );
}
