//! Patterns of names, as Flight SQL has them.

/// Whether a name matches a pattern: `%` matches any characters, `_` matches one, and a backslash takes the special
/// meaning from the next character.
pub(super) fn matches(pattern: &str, name: &str) -> bool {
    let pattern: Vec<char> = pattern.chars().collect();
    let name: Vec<char> = name.chars().collect();
    let (mut at, mut from) = (0, 0);
    // The last `%`, and where the name goes on after the characters that it matched so far.
    let mut any: Option<(usize, usize)> = None;
    while from < name.len() {
        let (step, fits) = match pattern.get(at) {
            Some('%') => {
                any = Some((at + 1, from));
                at += 1;
                continue;
            }
            Some('_') => (1, true),
            Some('\\') if at + 1 < pattern.len() => (2, pattern[at + 1] == name[from]),
            Some(letter) => (1, *letter == name[from]),
            None => (0, false),
        };
        match any {
            _ if fits => {
                at += step;
                from += 1;
            }
            Some((after, matched)) => {
                any = Some((after, matched + 1));
                (at, from) = (after, matched + 1);
            }
            None => return false,
        }
    }
    pattern[at..].iter().all(|letter| *letter == '%')
}

#[cfg(test)]
mod tests {
    use super::matches;

    #[test]
    fn patterns_match_as_like_does() {
        let cases = [
            ("trips", "trips", true),
            ("trips", "Trips", false),
            ("trip", "trips", false),
            ("trips", "trip", false),
            ("", "", true),
            ("", "a", false),
            ("%", "", true),
            ("%", "ünï", true),
            ("t%s", "trips", true),
            ("t%s", "trip", false),
            ("%i%i%", "trips", false),
            ("%i%s%", "trips", true),
            ("a_c", "abc", true),
            ("a_c", "a_c", true),
            (r"a\_c", "a_c", true),
            (r"a\_c", "abc", false),
            (r"a\%", "a%", true),
            ("_", "ü", true),
            ("%%x", "aax", true),
            ("a%b%c", "a-b-b-c", true),
        ];
        for (pattern, name, expected) in cases {
            assert_eq!(matches(pattern, name), expected, "{pattern} ~ {name}");
        }
    }
}
