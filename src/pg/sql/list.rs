//! Lists of names.

use std::fmt::Display;

/// Returns a list of quoted names: `a, "B"`.
pub(super) fn list<T: Display>(items: impl IntoIterator<Item = T>) -> String {
    let items: Vec<String> = items.into_iter().map(|item| item.to_string()).collect();
    items.join(", ")
}
