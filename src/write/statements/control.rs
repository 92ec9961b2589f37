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
            rest = comment.trim_start_matches(|c| c != '\n' && c != '\r');
        } else if let Some(comment) = rest.strip_prefix("/*") {
            rest = after_comment(comment);
        } else {
            break;
        }
    }
    let is_word = |c: &char| c.is_ascii_alphanumeric() || *c == '_' || !c.is_ascii();
    let word = rest.chars().take_while(is_word);
    word.map(|c| c.to_ascii_lowercase()).collect()
}

/// Returns the text after a comment that has begun. Comments nest.
fn after_comment(text: &str) -> &str {
    let mut depth = 1;
    let mut rest = text;
    while depth > 0 {
        if let Some(inner) = rest.strip_prefix("/*") {
            depth += 1;
            rest = inner;
        } else if let Some(after) = rest.strip_prefix("*/") {
            depth -= 1;
            rest = after;
        } else {
            let mut letters = rest.chars();
            if letters.next().is_none() {
                break;
            }
            rest = letters.as_str();
        }
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
