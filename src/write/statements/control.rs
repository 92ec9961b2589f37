//! The first word of a statement, which says whether the statement could end the transaction of a write.

/// Statements that begin, divide or end a transaction, and COPY, whose rows the server neither sends nor takes here.
/// PostgreSQL's grammar decides for each of them by the first word.
const REJECTED: [&str; 10] = [
    "abort",
    "begin",
    "commit",
    "copy",
    "end",
    "prepare",
    "release",
    "rollback",
    "savepoint",
    "start",
];

/// Returns the first word of a statement in lower case; empty if the statement begins with no word. Skips what
/// PostgreSQL skips: blanks, comments and empty statements.
pub(super) fn first_word(sql: &str) -> String {
    let mut rest = sql;
    loop {
        rest = rest.trim_start_matches([' ', '\t', '\n', '\r', '\x0b', '\x0c', ';']);
        if let Some(comment) = rest.strip_prefix("--") {
            let end = comment.find(['\n', '\r']);
            rest = end.map_or("", |end| &comment[end..]);
        } else if let Some(comment) = rest.strip_prefix("/*") {
            rest = after_comment(comment);
        } else {
            break;
        }
    }
    let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_' || !c.is_ascii();
    let end = rest.find(|c| !is_word(c)).unwrap_or(rest.len());
    rest[..end].to_ascii_lowercase()
}

/// Returns the text after a comment that has begun. Comments nest.
fn after_comment(text: &str) -> &str {
    let mut depth = 1;
    let mut rest = text;
    while depth > 0 {
        let Some(at) = rest.find(['*', '/']) else {
            return "";
        };
        let found = &rest[at..];
        rest = if let Some(inner) = found.strip_prefix("/*") {
            depth += 1;
            inner
        } else if let Some(after) = found.strip_prefix("*/") {
            depth -= 1;
            after
        } else {
            &found[1..]
        };
    }
    rest
}

/// Returns whether a statement with this first word cannot run within the transaction of a write.
pub(super) fn is_rejected(word: &str) -> bool {
    REJECTED.contains(&word)
}

#[cfg(test)]
mod tests {
    use super::{first_word, is_rejected};

    #[test]
    fn the_first_word_is_the_one_that_postgresql_sees() {
        for (sql, expected) in [
            ("COMMIT", "commit"),
            (" \t\r\n\x0b\x0c;; commit;", "commit"),
            ("-- a\n-- b\rEnd", "end"),
            ("/* a /* b */ c */ rollback", "rollback"),
            ("/**/--\n/***/;/*/**/*/PREPARE TRANSACTION 'a'", "prepare"),
            ("commit_log()", "commit_log"),
            ("commité", "commité"),
            ("(SELECT 1)", ""),
            ("\"commit\"", ""),
            ("/* open", ""),
            ("--", ""),
            ("", ""),
        ] {
            assert_eq!(first_word(sql), expected, "{sql:?}");
        }
        assert!(is_rejected("start") && !is_rejected("refresh"));
    }
}
