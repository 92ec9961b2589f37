//! Removes the values of cells from PostgreSQL's messages.
//!
//! PostgreSQL puts values into messages (`invalid input syntax for type integer: "…"`), and so do the types of
//! extensions. The language of a message depends on `lc_messages`, which the server's role may not be allowed to set.
//! So a message about a value is passed on only if it begins like one that is known to be safe, and only up to the
//! value. Other messages are replaced by the meaning of their SQLSTATE.

/// Beginnings of messages of class 22 that name types, lengths and limits. The text after a colon is cut off.
const SAFE: [&str; 49] = [
    "Column has ",
    "Geometry has ",
    "Geometry type ",
    "NUMERIC precision ",
    "NUMERIC scale ",
    "NaN not allowed in ",
    "array size exceeds ",
    "bigint out of range",
    "bit string length ",
    "bit string too long for type ",
    "date out of range",
    "date/time field value out of range",
    "different vector dimensions ",
    "division by zero",
    "duplicate JSON object key value",
    "expected ",
    "incorrect binary data format",
    "infinite value not allowed in ",
    "integer out of range",
    "interval field value out of range",
    "interval out of range",
    "invalid XML",
    "invalid byte sequence for encoding ",
    "invalid cidr value",
    "invalid hexadecimal ",
    "invalid input syntax for ",
    "invalid input value for enum ",
    "invalid octet value in ",
    "invalid regular expression",
    "invalid value for ",
    "malformed array literal",
    "malformed multirange literal",
    "malformed range literal",
    "malformed record literal",
    "money out of range",
    "null value not allowed",
    "numeric field overflow",
    "range lower bound must be ",
    "smallint out of range",
    "string too long ",
    "time out of range",
    "time zone displacement out of range",
    "timestamp out of range",
    "unexpected EOF in COPY data",
    "unrecognized parameter ",
    "unsupported Unicode escape sequence",
    "value out of range",
    "value overflows numeric format",
    "value too long for type ",
];

/// Texts that follow a quoted value.
const AFTER_VALUE: [&str; 3] = [
    " is out of range for type ",
    " is not a valid binary digit",
    " is not a valid hexadecimal digit",
];

/// Quotation marks of the languages that PostgreSQL is translated into.
const QUOTES: [char; 9] = ['"', '\'', '«', '»', '„', '“', '”', '‘', '’'];

/// The SQLSTATE of `to_tsquery`, hstore, ltree and jsonpath for text that they cannot parse. The server's own SQL has
/// no such errors.
pub(super) const SYNTAX_ERROR: &str = "42601";

/// The SQLSTATE of a missing privilege.
const INSUFFICIENT_PRIVILEGE: &str = "42501";

/// Objects that a type, a default or a check does not name by a value, in messages about privileges.
const NAMED_BY_CODE: [&str; 4] = ["table ", "sequence ", "view ", "relation "];

/// Beginning of the message that a value is too long for an index. The name of the index follows.
const INDEX_ROW: &str = "index row ";

/// The classes of PostgreSQL's own errors (PostgreSQL manual, appendix A). Code may raise errors of other classes.
const CLASSES: [&str; 42] = [
    "00", "01", "02", "03", "08", "09", "0A", "0B", "0F", "0L", "0P", "0Z", "10", "20", "21", "22",
    "24", "25", "26", "27", "28", "2B", "2D", "2F", "34", "38", "39", "3B", "3D", "3F", "40", "42",
    "44", "53", "54", "55", "57", "58", "72", "F0", "HV", "XX",
];

/// Reasons of the operating system, which stand behind the name of a file.
const REASONS: [&str; 6] = [
    "Disk quota exceeded",
    "Input/output error",
    "No space left on device",
    "No such file or directory",
    "Permission denied",
    "Read-only file system",
];

/// Returns whether PostgreSQL itself reports errors with this SQLSTATE.
pub(super) fn is_of_postgresql(sqlstate: &str) -> bool {
    sqlstate
        .get(..2)
        .is_some_and(|class| CLASSES.contains(&class))
}

/// What PostgreSQL was doing when it reported an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Origin {
    /// A statement of the server's own that touches no rows of a user's table.
    Statement,
    /// A statement of the server's own that reads or writes rows.
    Rows,
    /// A statement or a function of a table's owner, which may have made any name of a value.
    Code,
}

/// Removes the values from a message.
pub(super) fn redact(sqlstate: &str, message: &str, origin: Origin) -> String {
    let class = sqlstate.get(..2).unwrap_or_default();
    match class {
        "22" => format!(
            "PostgreSQL rejected a value: {}",
            about_value(sqlstate, message, origin)
        ),
        _ if sqlstate == SYNTAX_ERROR => {
            let words = if message.starts_with("syntax error") {
                without_quoted(message)
            } else {
                meaning(sqlstate).to_owned()
            };
            format!("PostgreSQL rejected a value: {words}")
        }
        _ if hides_name(sqlstate, message, origin) => format!(
            "PostgreSQL: a trigger, a default or a cast {}",
            wrong_use(sqlstate)
        ),
        _ if message.starts_with(INDEX_ROW) => {
            let (words, _) = message.split_once(" for index ").unwrap_or((message, ""));
            format!("PostgreSQL: {words}")
        }
        // Without the name of a constraint, a function of the table's owner raised an error of class 23, as it raised
        // those of P0001 and of classes of its own: the words are the owner's.
        _ if origin == Origin::Statement || !CLASSES.contains(&class) => {
            format!("PostgreSQL: {message}")
        }
        "53" | "58" => {
            let reason = REASONS.iter().find(|reason| message.ends_with(*reason));
            let words = without_quoted(message);
            match reason {
                Some(reason) if !words.ends_with(reason) => {
                    format!("PostgreSQL: {words}: {reason}")
                }
                _ => format!("PostgreSQL: {words}"),
            }
        }
        _ => format!("PostgreSQL: {}", without_quoted(message)),
    }
}

/// Returns whether [`redact`] leaves out the name that PostgreSQL did not find, or to which it denies permission. A cast
/// of text to regclass reports a missing table by the text, which is the value of a cell, and code may have taken the
/// name of any object from a value. The server's own statements name tables and sequences.
pub(super) fn hides_name(sqlstate: &str, message: &str, origin: Origin) -> bool {
    if origin == Origin::Statement || sqlstate == SYNTAX_ERROR {
        return false;
    }
    // The names of dependent objects stand without quotes.
    if sqlstate.starts_with("2B") {
        return true;
    }
    if !sqlstate.starts_with("42") {
        return false;
    }
    if origin == Origin::Code {
        return true;
    }
    if sqlstate != INSUFFICIENT_PRIVILEGE {
        return true;
    }
    let Some(denied) = message.strip_prefix("permission denied for ") else {
        // "permission denied to set role", "access to library": the name may come from a value.
        return !message.starts_with("must be owner of ") && message.contains('"');
    };
    !NAMED_BY_CODE.iter().any(|kind| denied.starts_with(kind))
}

/// Returns the meaning of a SQLSTATE of class 23, for an error whose fields name the constraint or the column.
pub(super) fn constraint_violation(sqlstate: &str) -> Option<&'static str> {
    Some(match sqlstate {
        "23502" => "a value is NULL, and the column is NOT NULL",
        // RESTRICT has a SQLSTATE of its own from PostgreSQL 18 on.
        "23001" | "23503" => "a row violates a foreign key",
        "23505" => "a duplicate key violates a unique constraint",
        "23514" => "a row violates a check constraint",
        "23P01" => "a row violates an exclusion constraint",
        _ => return None,
    })
}

fn about_value(sqlstate: &str, message: &str, origin: Origin) -> String {
    if sqlstate == "22P05"
        && let Some((_, rest)) = message.rsplit_once("has no equivalent in encoding \"")
    {
        let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
        let encoding: String = rest.chars().take_while(|c| is_name(*c)).collect();
        return format!("text has a character that the database's encoding {encoding} lacks");
    }
    // A storage option of CREATE TABLE.
    if let Some((_, option)) = message.split_once(" out of bounds for option \"") {
        let is_name = |c: &char| c.is_ascii_alphanumeric() || *c == '_';
        let option: String = option.chars().take_while(is_name).collect();
        return format!("the value of option {option} is out of its bounds");
    }
    if message.starts_with("Geometry SRID ") {
        return "the SRID of a geometry differs from that of its column".to_owned();
    }
    // It names the parameter, which code may have taken from a value.
    let is_named = origin != Origin::Statement && message.starts_with("unrecognized parameter ");
    if !is_named && SAFE.iter().any(|start| message.starts_with(start)) {
        return cut(message).to_owned();
    }
    // After the messages that end in a value, which may contain these words.
    for text in AFTER_VALUE {
        if let Some((_, rest)) = message.rsplit_once(&format!("\"{text}")) {
            let is_plain = |c: char| c.is_ascii_alphanumeric() || " _()".contains(c);
            let rest: String = rest.chars().take_while(|c| is_plain(*c)).collect();
            return format!("value{text}{rest}");
        }
    }
    meaning(sqlstate).to_owned()
}

/// Returns the text before a colon, or before the place that a syntax error is near.
fn cut(message: &str) -> &str {
    let ends = [": ", "：", ", near \""];
    let end = ends.iter().filter_map(|end| message.find(end)).min();
    end.and_then(|end| message.get(..end)).unwrap_or(message)
}

/// Removes the quoted text from a message of any language. The quoted text may contain quotes, so everything from the
/// first quote to the last is removed.
pub(super) fn without_quoted(message: &str) -> String {
    let words = cut(message);
    match (words.find(QUOTES), words.rfind(QUOTES)) {
        (Some(first), Some(last)) => {
            let after = words.get(last..).unwrap_or_default();
            let after = after.trim_start_matches(QUOTES);
            let before = words.get(..first).unwrap_or_default();
            format!("{before}…{after}")
        }
        _ => words.to_owned(),
    }
}

/// Returns what a trigger, a default or a cast does wrong, by a SQLSTATE of class 2B or 42 (PostgreSQL manual, appendix
/// A).
fn wrong_use(sqlstate: &str) -> &'static str {
    match sqlstate {
        "42P01" => "names a table that does not exist",
        "42703" => "names a column that does not exist",
        "42704" => "names a type or another object that does not exist",
        "42883" => "names a function or an operator that does not exist",
        "42804" | "42846" => "uses types that do not fit",
        INSUFFICIENT_PRIVILEGE => "lacks a permission",
        _ if sqlstate.starts_with("2B") => "drops an object that others depend on",
        _ => "uses a wrong name or type",
    }
}

/// Returns the meaning of a SQLSTATE (PostgreSQL manual, appendix A).
fn meaning(sqlstate: &str) -> &'static str {
    match sqlstate {
        "22001" => "text is too long",
        "22003" => "a number is out of range",
        "22004" => "a NULL is not allowed here",
        "22007" => "text is not a date or time",
        "22008" => "a date or time is out of range",
        "22009" => "a time zone displacement is out of range",
        "2200L" | "2200M" | "2200N" | "2200S" | "2200T" => "text is not XML",
        "22012" => "a number is divided by zero",
        "22021" => "text is not valid in the database's encoding",
        "22023" => "a value is not allowed",
        "22026" => "a bit string has the wrong length",
        "22030" => "a JSON object has a key twice",
        "22P02" => "text is not valid for its type",
        "22P03" => "the binary form of a value is not valid for its type",
        "22P05" => "text has a character that the database's encoding lacks",
        SYNTAX_ERROR => "the syntax of text is not valid for its type",
        _ => "a value is not valid",
    }
}

#[cfg(test)]
mod tests {
    use super::{Origin, redact};

    #[test]
    fn messages_about_values_keep_types_and_lose_values() {
        let check = |sqlstate, message, expected: &str| {
            let text = redact(sqlstate, message, Origin::Rows);
            let text = text.strip_prefix("PostgreSQL rejected a value: ").unwrap();
            assert_eq!(text, expected, "{message}");
        };
        check(
            "22P02",
            "invalid input value for enum mood: \"s3cret\"",
            "invalid input value for enum mood",
        );
        check("22003", "numeric field overflow", "numeric field overflow");
        check(
            "22003",
            "\"1e50\" is out of range for type real",
            "value is out of range for type real",
        );
        check(
            "22003",
            "value \"9\"9\" is out of range for type integer",
            "value is out of range for type integer",
        );
        check(
            "22P02",
            "invalid input syntax for type point: \"x\" is out of range for type secret\"",
            "invalid input syntax for type point",
        );
        check(
            "22P02",
            "\"s\" is not a valid binary digit",
            "value is not a valid binary digit",
        );
        check(
            "22P05",
            "character with byte sequence 0xe6 0x97 0xa5 in encoding \"UTF8\" has no equivalent in encoding \
             \"LATIN1\"",
            "text has a character that the database's encoding LATIN1 lacks",
        );
        check(
            "22021",
            "invalid byte sequence for encoding \"UTF8\": 0x73",
            "invalid byte sequence for encoding \"UTF8\"",
        );
        check(
            "22P02",
            "cannot cast EAN13(s3cret) to ISBN for number: \"s3cret\"",
            "text is not valid for its type",
        );
        check(
            "22023",
            "time zone \"s3cret\" not recognized",
            "a value is not allowed",
        );
        check(
            "42601",
            "syntax error in hstore, near \"s3cret\" at position 3",
            "syntax error in hstore",
        );
        check(
            "42601",
            "syntax error at or near \"s3\"cret\" of jsonpath input",
            "syntax error at or near … of jsonpath input",
        );
        check(
            "42601",
            "invalid type name \"s3cret\"",
            "the syntax of text is not valid for its type",
        );
    }

    #[test]
    fn messages_in_other_languages_are_replaced() {
        let text = redact(
            "22P02",
            "ungültige Eingabesyntax für Typ integer: »s3cret«",
            Origin::Rows,
        );
        assert_eq!(
            text,
            "PostgreSQL rejected a value: text is not valid for its type"
        );
        let text = redact("42P01", "Relation »s3cret« existiert nicht", Origin::Rows);
        assert!(text.contains("names a table"), "{text}");
        let text = redact("54000", "Wort ist zu lang in »s3cret«", Origin::Rows);
        assert_eq!(text, "PostgreSQL: Wort ist zu lang in …");
    }

    #[test]
    fn other_messages_are_passed_on_unless_rows_are_involved() {
        let check = |sqlstate, message: &str, origin, expected: &str| {
            assert_eq!(
                redact(sqlstate, message, origin),
                format!("PostgreSQL: {expected}")
            );
        };
        use Origin::{Code, Rows, Statement};
        let missing = "relation \"s3cret\" does not exist";
        check("42P01", missing, Statement, missing);
        let function = "function s3cret(text) does not exist";
        check("42883", function, Statement, function);
        let unnamed =
            "a trigger, a default or a cast names a function or an operator that does not exist";
        check("42883", function, Rows, unnamed);
        for origin in [Statement, Rows, Code] {
            for raised in ["P0001", "P0004", "U0002", "45000", "23514"] {
                check(raised, "say \"why\": 7", origin, "say \"why\": 7");
            }
        }
        let word = "word is too long in tsquery: \"s3cret\"";
        check("54000", word, Rows, "word is too long in tsquery");
        let denied = "permission denied for table t";
        check("42501", denied, Rows, denied);
        let unnamed = "a trigger, a default or a cast lacks a permission";
        check("42501", denied, Code, unnamed);
        check("42501", "must be owner of table t", Code, unnamed);
    }

    #[test]
    fn names_made_of_values_are_left_out_in_every_class() {
        let named = "could not do it with \"s3\"cret\"";
        for class in super::CLASSES {
            for origin in [Origin::Rows, Origin::Code] {
                let text = redact(&format!("{class}000"), named, origin);
                assert!(!text.contains("cret"), "{class}: {text}");
            }
        }
        let check = |sqlstate, message: &str, expected: &str| {
            assert_eq!(redact(sqlstate, message, Origin::Code), expected);
        };
        check(
            "2BP01",
            "cannot drop table tmp_s3cret because other objects depend on it",
            "PostgreSQL: a trigger, a default or a cast drops an object that others depend on",
        );
        check(
            "58P01",
            "could not open file \"s3cret\" for reading: No such file or directory",
            "PostgreSQL: could not open file … for reading: No such file or directory",
        );
        check(
            "58P01",
            "could not load library \"s3cret\": s3cret: invalid ELF header",
            "PostgreSQL: could not load library …",
        );
        check(
            "53100",
            "could not extend file \"base/1/2\": No space left on device",
            "PostgreSQL: could not extend file …: No space left on device",
        );
        check(
            "40P01",
            "deadlock detected",
            "PostgreSQL: deadlock detected",
        );
    }
}
