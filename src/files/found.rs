//! Which files the arguments name: files, folders with all files in them, and patterns such as `trips/*.parquet`.

use std::collections::HashMap;
use std::path::{Component, Path, PathBuf};

use glob::MatchOptions;
use walkdir::{DirEntry, WalkDir};

use super::source::STDIN;
use crate::error::{Error, Result};

/// `*` matches within a folder, and matches no hidden file.
const PATTERN: MatchOptions = MatchOptions {
    case_sensitive: true,
    require_literal_separator: true,
    require_literal_leading_dot: true,
};

/// Returns the files that these arguments name, in the order of the arguments, and by name within a folder. Files and
/// folders whose names begin with `.` or `_`, such as Spark's `_SUCCESS`, are left out of folders and patterns.
///
/// # Errors
/// [`ErrorKind::InvalidCommand`](crate::error::ErrorKind::InvalidCommand) when an argument names no file, and when two
/// arguments name one file, whose rows would be doubled.
pub fn find_files(arguments: &[PathBuf]) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for argument in arguments {
        files.extend(named_by(argument)?);
    }
    let mut seen = HashMap::new();
    for file in &files {
        let real = file.canonicalize().unwrap_or_else(|_| file.clone());
        if seen.insert(real, file).is_some() {
            let file = file.display();
            return Err(Error::invalid_command(format!("{file} is named twice")));
        }
    }
    Ok(files)
}

fn named_by(argument: &Path) -> Result<Vec<PathBuf>> {
    if argument.as_os_str() == STDIN {
        return Ok(vec![argument.to_owned()]);
    }
    let text = argument.to_string_lossy();
    if let Some((scheme, _)) = text.split_once("://").filter(|(scheme, _)| {
        !scheme.is_empty() && scheme.bytes().all(|byte| byte.is_ascii_alphanumeric())
    }) {
        return Err(
            Error::invalid_command(format!("{text} is a URL, which `load` cannot read"))
                .with_hint(url_hint(scheme)),
        );
    }
    if argument.is_dir() {
        return files_of(argument);
    }
    // A file may have the characters of a pattern in its name.
    if argument.exists() || !text.contains(['*', '?', '[']) {
        return Ok(vec![argument.to_owned()]);
    }
    matches_of(&text)
}

fn url_hint(scheme: &str) -> String {
    let copy = match scheme {
        "s3" | "s3a" | "s3n" => "aws s3 cp URL -",
        "gs" => "gcloud storage cat URL",
        "http" | "https" => "curl --fail --location URL",
        _ => "COMMAND",
    };
    format!(
        "pipe it from its own client, with --write-id: {copy} | pgflight load - …; or copy the files and name their folder"
    )
}

fn files_of(folder: &Path) -> Result<Vec<PathBuf>> {
    let shown = |entry: &DirEntry| entry.depth() == 0 || !is_hidden(Path::new(entry.file_name()));
    let entries = WalkDir::new(folder).follow_links(true).sort_by_file_name();
    let mut files = Vec::new();
    for entry in entries.into_iter().filter_entry(shown) {
        let entry = entry.map_err(|error| {
            Error::invalid_command(format!("cannot read the folder {}", folder.display()))
                .with_source(error)
        })?;
        if entry.file_type().is_file() {
            files.push(entry.into_path());
        }
    }
    if files.is_empty() {
        let folder = folder.display();
        return Err(Error::invalid_command(format!(
            "the folder {folder} has no files of rows"
        )));
    }
    Ok(files)
}

fn matches_of(pattern: &str) -> Result<Vec<PathBuf>> {
    let invalid = |reason: &str| {
        Error::invalid_command(format!("{pattern:?} is not a pattern of files: {reason}"))
    };
    let paths = glob::glob_with(pattern, PATTERN).map_err(|error| invalid(error.msg))?;
    let mut files = Vec::new();
    for path in paths {
        let path = path.map_err(|error| invalid(&error.to_string()))?;
        let spelled = |name: Component<'_>| Path::new(pattern).components().any(|own| own == name);
        let mut names = path.components();
        if names.any(|name| is_hidden(Path::new(&name)) && !spelled(name)) {
            continue;
        }
        if path.is_dir() {
            files.extend(files_of(&path)?);
        } else {
            files.push(path);
        }
    }
    if files.is_empty() {
        return Err(Error::invalid_command(format!("no file matches {pattern}")));
    }
    Ok(files)
}

/// Returns whether a name begins with `.` or `_`. A folder such as `_day=1` is a column, as in Spark.
fn is_hidden(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    name.starts_with('.') || (name.starts_with('_') && !name.contains('='))
}
