//! The dependencies among the files of a folder, and their cycles.

use std::collections::{BTreeMap, BTreeSet};

use super::source::{Module, Package};

/// The names of a folder's files or folders, and those that each names.
type Graph = BTreeMap<String, BTreeSet<String>>;

/// The cycles of each folder: the folder from the root of the workspace, and the files that name each other.
pub(super) fn circles(package: &Package) -> Vec<(String, Vec<String>)> {
    let mut folders: BTreeMap<Module, Graph> = BTreeMap::new();
    for (module, file) in &package.files {
        for path in &file.names {
            let Some(named) = resolve(package, module, path, 0) else {
                continue;
            };
            let common = module
                .iter()
                .zip(&named)
                .take_while(|(a, b)| a == b)
                .count();
            // A folder's own `mod.rs` names its files, and they name it.
            if let (Some(from), Some(to)) = (module.get(common), named.get(common)) {
                let graph = folders.entry(module[..common].to_vec()).or_default();
                graph.entry(from.clone()).or_default().insert(to.clone());
            }
        }
    }
    let mut found = Vec::new();
    for (folder, graph) in folders {
        let at = [std::slice::from_ref(&package.root), &folder[..]]
            .concat()
            .join("/");
        let mut left: BTreeSet<&String> = graph.keys().collect();
        while let Some(file) = left.pop_first() {
            let circle: Vec<String> = reachable(&graph, file)
                .into_iter()
                .filter(|other| reachable(&graph, other).contains(file))
                .collect();
            left.retain(|file| !circle.contains(file));
            if circle.len() > 1 {
                found.push((at.clone(), circle));
            }
        }
    }
    found
}

fn reachable(graph: &Graph, from: &str) -> BTreeSet<String> {
    let mut seen = BTreeSet::new();
    let mut next = vec![from.to_owned()];
    while let Some(file) = next.pop() {
        for named in graph.get(&file).into_iter().flatten() {
            if seen.insert(named.clone()) {
                next.push(named.clone());
            }
        }
    }
    seen
}

/// The module that a path leads to, through the `pub use` of the modules on its way.
fn resolve(package: &Package, module: &Module, path: &[String], depth: usize) -> Option<Module> {
    let (first, mut rest) = path.split_first()?;
    let mut at = match first.as_str() {
        "crate" => Vec::new(),
        "self" => module.clone(),
        "super" => module.split_last()?.1.to_vec(),
        name => {
            let child = [&module[..], &[name.to_owned()]].concat();
            package.files.contains_key(&child).then_some(child)?
        }
    };
    while let Some((name, after)) = rest.split_first() {
        let child = [&at[..], std::slice::from_ref(name)].concat();
        if name == "super" {
            at.pop();
        } else if package.files.contains_key(&child) {
            at = child;
        } else {
            let exported = package
                .files
                .get(&at)?
                .names
                .iter()
                .find(|path| depth < 6 && path.len() > 1 && path.last() == Some(name));
            let inner = exported.and_then(|path| resolve(package, &at, path, depth + 1));
            return Some(inner.unwrap_or(at));
        }
        rest = after;
    }
    Some(at)
}
