//! JSON lines: the members of objects are columns.

use super::Loads;

#[tokio::test]
async fn json_lines_keep_every_value() {
    let loads = Loads::into("id numeric, a text, b boolean, j jsonb").await;
    let text = concat!(
        "{\"id\": 12345678901234567890.123456789, \"a\": \"\"}\n",
        "\n",
        "{\"a\": \"\\u00e9 \\\"x\\\"\\n\", \"j\": {\"k\": [1, 2.50]}, \"b\": true}\r\n",
        "{\"b\": null, \"id\": 1e2, \"a\": null, \"j\": \"\\\"s\\\"\"}",
    );
    let rows = "(,\"é \"\"x\"\"\n\",t,\"{\"\"k\"\": [1, 2.50]}\") (100,,,\"\"\"s\"\"\") \
                (12345678901234567890.123456789,\"\",,)";
    let named = loads.folder.put("x.jsonl", text);
    let found = loads.folder.put("x", text);
    let requested = loads.folder.put("x.data", format!("\n{text}"));
    for arguments in [&[&*named][..], &[&found], &["--format", "json", &requested]] {
        assert_eq!(loads.outcome(arguments).await.as_deref(), Ok(rows));
    }
}

#[tokio::test]
async fn a_line_that_is_no_object_is_an_error() {
    let loads = Loads::into("id text, a text").await;
    let cases: [(&[u8], &str); 9] = [
        (
            b"{\"id\": 1}\n[2, \"s3cret\"]\n",
            "line 2: the line is no JSON object",
        ),
        (
            b"{\"id\": 1}\n{\"id\": \"s3cret\n",
            "line 2: the line is not JSON",
        ),
        (
            b"{\"id\": 1}\n{\"id\": 2} {\"id\": 3}\n",
            "line 2: the line is not JSON from its character 11",
        ),
        (
            b"{\"id\": 1, \"id\": 2}\n",
            "line 1, column id: the object has two members",
        ),
        (
            b"{\"id\": \"\\ud800\"}\n",
            "line 1, column id: the string is no valid Unicode",
        ),
        (b"{\"id\": \"\xff\"}\n", "line 1: the line is not JSON"),
        (b"[{\"id\": 1}]", "the file is one JSON array"),
        (b"{}\n", "the file has no members of objects"),
        (b"id\n1\n", "line 1: the line is not JSON"),
    ];
    for (text, expected) in cases {
        let file = loads.folder.put("x.json", text);
        let error = loads.outcome(&[&file]).await.unwrap_err();
        assert!(error.contains(expected), "{expected}: {error}");
        assert!(!error.contains("s3cret"), "{error}");
    }
}
