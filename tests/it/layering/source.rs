//! The source of a package: its modules, and the paths that each names.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// A module's path below the crate; empty for `lib.rs`.
pub(super) type Module = Vec<String>;

/// The files of a package's `src`.
pub(super) struct Package {
    /// The folder of the files, from the root of the workspace.
    pub(super) root: String,
    pub(super) files: BTreeMap<Module, File>,
}

/// A file, without its unit tests.
pub(super) struct File {
    /// From the root of the workspace.
    pub(super) path: String,
    /// The paths that its code names.
    pub(super) names: Vec<Module>,
}

impl Package {
    /// Reads the package at this path from the root of the workspace; tests are left out.
    pub(super) fn read(package: &str) -> Self {
        let root = Path::new(package).join("src").display().to_string();
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(&root);
        let mut paths = Vec::new();
        collect(&folder, &mut paths);
        let files = paths.into_iter().filter_map(|path| {
            let relative = path.strip_prefix(&folder).unwrap().with_extension("");
            let mut module: Module = relative
                .iter()
                .map(|part| part.to_str().unwrap().to_owned())
                .collect();
            if module.contains(&"tests".to_owned()) {
                return None;
            }
            if matches!(module.last().unwrap().as_str(), "lib" | "mod") {
                module.pop();
            }
            let names = paths_of(&code_of(&fs::read_to_string(&path).unwrap()));
            let path = format!("{root}/{}.rs", relative.display());
            Some((module, File { path, names }))
        });
        let files = files.collect();
        Self { root, files }
    }
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

/// The lines of a file before its unit tests, without comments.
pub(super) fn code_of(text: &str) -> String {
    let lines = text
        .lines()
        .take_while(|line| !line.contains("mod tests {"))
        .filter(|line| !line.trim_start().starts_with("//"));
    lines.collect::<Vec<_>>().join("\n")
}

/// Paths in code: each of a `use`, and each other one that has two parts or more.
pub(super) fn paths_of(code: &str) -> Vec<Module> {
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    let mut paths = Vec::new();
    let mut rest = code;
    while let Some(start) = rest.find(is_word) {
        // A part of a longer path, of a lifetime or of a macro's variable does not begin a path.
        let continues = rest[..start].ends_with("::") || rest[..start].ends_with(['\'', '$']);
        let from = &rest[start..];
        let end = from.find(|c: char| !is_word(c)).unwrap_or(from.len());
        if !continues && &from[..end] == "use" && from[end..].starts_with(' ') {
            let tree = from[end..].split(';').next().unwrap();
            expand(&[], tree, &mut paths);
            rest = &from[end + tree.len()..];
            continue;
        }
        let path = from
            .find(|c: char| !is_word(c) && c != ':')
            .map_or(from, |end| &from[..end]);
        let parts: Module = path.split("::").map(str::to_owned).collect();
        if !continues && parts.len() > 1 && parts.iter().all(|part| !part.contains(':')) {
            paths.push(parts.into_iter().filter(|part| !part.is_empty()).collect());
        }
        rest = &from[path.len().max(end)..];
    }
    paths
}

/// The paths of `a::{b, c::{d}}`, after what stands before it.
fn expand(before: &[String], tree: &str, paths: &mut Vec<Module>) {
    let tree = tree.trim();
    let (head, body) = match tree.split_once('{') {
        None => (tree.split(" as ").next().unwrap_or(tree), None),
        Some((head, body)) => (head, body.trim_end().strip_suffix('}')),
    };
    let parts = head.split("::").map(str::trim);
    let mut path = before.to_vec();
    path.extend(parts.filter(|part| !part.is_empty()).map(str::to_owned));
    let Some(body) = body else {
        paths.push(path);
        return;
    };
    let (mut depth, mut start) = (0, 0);
    for (at, c) in body.char_indices() {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                expand(&path, &body[start..at], paths);
                start = at + 1;
            }
            _ => {}
        }
    }
    if !body[start..].trim().is_empty() {
        expand(&path, &body[start..], paths);
    }
}
