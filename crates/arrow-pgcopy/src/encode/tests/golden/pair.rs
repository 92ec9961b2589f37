//! The name of a pair of types in `tests/golden/pairs`, shared with the test that makes `docs/types.md`.

use std::fmt::{Debug, Display};

/// Returns `Int64 into Int4`. All decimals, all zones and all enums have the same name, and arrays are named by
/// their elements.
pub(crate) fn pair(data_type: &dyn Display, kind: &dyn Debug) -> String {
    let arrow = data_type.to_string();
    let before = |separator: &str| arrow.split(separator).next().unwrap_or_default().to_owned();
    let arrow = match (arrow.starts_with("Decimal"), arrow.starts_with("Timestamp")) {
        (true, _) => before("("),
        (_, true) if arrow.contains(", ") => before(", ") + ", zone)",
        _ => arrow.clone(),
    };
    let kind = format!("{kind:?}");
    let word = |text: &str| {
        text.split([' ', '(', '['])
            .next()
            .unwrap_or_default()
            .to_owned()
    };
    let name = match (kind.starts_with("Array"), kind.split("kind: ").nth(1)) {
        (true, Some(element)) => format!("array of {}", word(element)),
        _ => word(&kind),
    };
    format!("{arrow} into {name}")
}
