//! What of PostgreSQL's words may be passed on: never the value of a cell.
//!
//! PostgreSQL puts values into messages of its own (`invalid input syntax for type integer: "…"`), and so do types
//! of extensions. The words also depend on `lc_messages`, which a server's role may not set. So messages about
//! values are passed on only as far as they begin like one that is known to be safe; in place of the others
//! stands what their SQLSTATE means.

/// How messages of class 22 begin that name types, lengths and limits. What follows a colon is cut off.
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

/// Texts that come after a value in quotes.
const AFTER_VALUE: [&str; 3] = [
    " is out of range for type ",
    " is not a valid binary digit",
    " is not a valid hexadecimal digit",
];

/// Marks of quotation in the languages that PostgreSQL speaks.
const QUOTES: [char; 9] = ['"', '\'', '«', '»', '„', '“', '”', '‘', '’'];

/// What `to_tsquery`, hstore, ltree and jsonpath answer text with that they cannot read. Our own SQL has no such
/// errors.
pub(super) const SYNTAX_ERROR: &str = "42601";

/// A message without the values that may be in it. `beside_rows` says that it came while PostgreSQL was busy
/// with rows or with a function of the table's owner.
pub(super) fn told(sqlstate: &str, message: &str, beside_rows: bool) -> String {
    let class = sqlstate.get(..2).unwrap_or_default();
    match class {
        "22" => format!(
            "PostgreSQL rejected a value: {}",
            about_value(sqlstate, message, beside_rows)
        ),
        _ if sqlstate == SYNTAX_ERROR => {
            let words = match message.starts_with("syntax error") {
                true => without_quoted(message),
                false => meaning(sqlstate).to_owned(),
            };
            format!("PostgreSQL rejected a value: {words}")
        }
        // A cast of text to regclass speaks of a table that is not there, by the name that the text is.
        "42" if beside_rows && sqlstate != "42501" => format!(
            "PostgreSQL: {} in a trigger, a default or a cast; PostgreSQL's log has the name",
            missing(sqlstate)
        ),
        // Code may have taken the name from a value. Tables and sequences are named by code alone.
        "42" if beside_rows
            && message.starts_with("permission denied for ")
            && !["table ", "sequence ", "view ", "relation "]
                .iter()
                .any(|kind| message.starts_with(&format!("permission denied for {kind}"))) =>
        {
            "PostgreSQL: permission denied in a trigger, a default or a cast; PostgreSQL's log has the name"
                .to_owned()
        }
        "0A" | "21" | "26" | "2F" | "34" | "38" | "39" | "3D" | "3F" | "54" | "55" | "F0" | "HV" | "XX"
            if beside_rows && !message.starts_with("index row ") =>
        {
            format!("PostgreSQL: {}", without_quoted(message))
        }
        // Messages about constraints name no values. What a function of the table's owner raises, with P0001 or
        // with a SQLSTATE of its own, is in its owner's words.
        _ => format!("PostgreSQL: {message}"),
    }
}

fn about_value(sqlstate: &str, message: &str, beside_rows: bool) -> String {
    if sqlstate == "22P05"
        && let Some((_, rest)) = message.rsplit_once("has no equivalent in encoding \"")
    {
        let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
        let encoding: String = rest.chars().take_while(|c| is_name(*c)).collect();
        return format!(
            "text has a character that the database's encoding {encoding} lacks; replace such characters before \
             writing, or write to a database in UTF8"
        );
    }
    for text in AFTER_VALUE {
        if let Some((_, rest)) = message.rsplit_once(&format!("\"{text}")) {
            let is_plain = |c: char| c.is_ascii_alphanumeric() || " _()".contains(c);
            let rest: String = rest.chars().take_while(|c| is_plain(*c)).collect();
            return format!("value{text}{rest}");
        }
    }
    // What a table was to be made with.
    if let Some((_, option)) = message.split_once(" out of bounds for option \"") {
        let is_name = |c: &char| c.is_ascii_alphanumeric() || *c == '_';
        let option: String = option.chars().take_while(is_name).collect();
        return format!("the value of option {option} is out of its bounds");
    }
    if message.starts_with("Geometry SRID ") {
        return "the SRID of a geometry is not that of its column".to_owned();
    }
    // It names the parameter, which code may have taken from a value.
    let is_named = beside_rows && message.starts_with("unrecognized parameter ");
    match !is_named && SAFE.iter().any(|start| message.starts_with(start)) {
        true => cut(message).to_owned(),
        false => meaning(sqlstate).to_owned(),
    }
}

/// What comes before a colon, or before the place that an error is near.
fn cut(message: &str) -> &str {
    let ends = [": ", "：", ", near \""];
    let end = ends.iter().filter_map(|end| message.find(end)).min();
    end.and_then(|end| message.get(..end)).unwrap_or(message)
}

/// A message of any language without what is quoted in it. What is quoted may have quotes: so all from the
/// first to the last is left out.
fn without_quoted(message: &str) -> String {
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

/// What a SQLSTATE of class 42 means, by the same appendix.
fn missing(sqlstate: &str) -> &'static str {
    match sqlstate {
        "42P01" => "a table does not exist that is named",
        "42703" => "a column does not exist that is named",
        "42704" => "a type or another object does not exist that is named",
        "42883" => "a function or an operator does not exist that is named",
        "42804" | "42846" => "types do not fit",
        _ => "a name or a type is wrong",
    }
}

/// What a SQLSTATE means (PostgreSQL manual, appendix A).
fn meaning(sqlstate: &str) -> &'static str {
    match sqlstate {
        "22001" => "text is too long",
        "22003" => "a number is out of range",
        "22004" => "a NULL stands where none may",
        "22007" => "text is no date or time",
        "22008" => "a date or time is out of range",
        "22009" => "a time zone displacement is out of range",
        "2200L" | "2200M" | "2200N" | "2200S" | "2200T" => "text is no XML",
        "22012" => "a number is divided by zero",
        "22021" => "text is not valid in the database's encoding",
        "22023" => "a value is not one of those that are allowed",
        "22026" => "a bit string has the wrong length",
        "22030" => "a JSON object has a key twice",
        "22P02" => "text cannot be read as the type that it is for",
        "22P03" => "the binary form of a value is not that of its type",
        "22P05" => "text has a character that the database cannot hold",
        SYNTAX_ERROR => "the syntax of text is not that of its type",
        _ => "a value is not valid",
    }
}

#[cfg(test)]
mod tests {
    use super::told;

    #[test]
    fn messages_about_values_keep_types_and_lose_values() {
        let check = |sqlstate, message, expected: &str| {
            let text = told(sqlstate, message, true);
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
            "\"s\" is not a valid binary digit",
            "value is not a valid binary digit",
        );
        check(
            "22P05",
            "character with byte sequence 0xe6 0x97 0xa5 in encoding \"UTF8\" has no equivalent in encoding \
             \"LATIN1\"",
            "text has a character that the database's encoding LATIN1 lacks; replace such characters before \
             writing, or write to a database in UTF8",
        );
        check(
            "22021",
            "invalid byte sequence for encoding \"UTF8\": 0x73",
            "invalid byte sequence for encoding \"UTF8\"",
        );
        check(
            "22P02",
            "cannot cast EAN13(s3cret) to ISBN for number: \"s3cret\"",
            "text cannot be read as the type that it is for",
        );
        check(
            "22023",
            "time zone \"s3cret\" not recognized",
            "a value is not one of those that are allowed",
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
            "the syntax of text is not that of its type",
        );
    }

    #[test]
    fn messages_of_other_languages_are_told_in_our_words() {
        let text = told(
            "22P02",
            "ungültige Eingabesyntax für Typ integer: »s3cret«",
            true,
        );
        assert_eq!(
            text,
            "PostgreSQL rejected a value: text cannot be read as the type that it is for"
        );
        let text = told("42P01", "Relation »s3cret« existiert nicht", true);
        assert!(text.contains("a table does not exist"), "{text}");
        let text = told("54000", "Wort ist zu lang in »s3cret«", true);
        assert_eq!(text, "PostgreSQL: Wort ist zu lang in …");
    }

    #[test]
    fn other_messages_are_passed_on_unless_rows_are_about() {
        let check = |sqlstate, message: &str, beside_rows, expected: &str| {
            assert_eq!(
                told(sqlstate, message, beside_rows),
                format!("PostgreSQL: {expected}")
            );
        };
        let missing = "relation \"s3cret\" does not exist";
        check("42P01", missing, false, missing);
        let function = "function s3cret(text) does not exist";
        check("42883", function, false, function);
        let unnamed = "a function or an operator does not exist that is named in a trigger, a default or a cast; \
                       PostgreSQL's log has the name";
        check("42883", function, true, unnamed);
        let doubled = "duplicate key value violates unique constraint \"t_pkey\"";
        check("23505", doubled, true, doubled);
        check("P0001", "say \"why\": 7", true, "say \"why\": 7");
        let word = "word is too long in tsquery: \"s3cret\"";
        check("54000", word, true, "word is too long in tsquery");
        let denied = "permission denied for table t";
        check("42501", denied, true, denied);
    }
}
