//! CSV is what PostgreSQL's COPY makes of it; anything else is an error with its place.

use super::Loads;

/// Files of two columns, which COPY and `load` must read alike, or both refuse.
const FILES: &[&str] = &[
    "id,a\n1,x\n2,y\n",
    "id,a\n1,\"\"\n2,\n\"\",\"\"\n,\n",
    "id,a\r\n1,x\r\n2,\"y\r\nz\"\r\n",
    "id,a\r1,x\r2,\"y\rz\"\r",
    "id,a\n1,x",
    "id,a\n1,\"x\"",
    "id,a\n1,",
    "id,a\n",
    "id,a",
    "id,a\n1,\"x, \"\"y\"\" z\"\n",
    "id,a\n1,x\"y,z\"w\n",
    "id,a\n1,5\" pipe\n2,6\" pipe\n",
    "id,a\n1,5\" pipe\n2,6 pipe\n",
    "id,a\n1, \"x\"\n2,\"x\" \n",
    "id,a\n1,\"x\n2,y\n",
    "id,a\n1,\"x\"\"\n",
    "id,a\n1,x\n\n2,y\n",
    "id,a\n1,x\n\n",
    "id,a\n1\n",
    "id,a\n1,x,y\n",
    "id,a\n1,x,\n",
    "id,a\n1,x\r\n",
    "id,a\r\n1,x\n",
    "id,a\r\n1,x\ry\r\n",
    "id,a\r1,x\n",
    "id,a\n1,\"x\r\ny\"\n",
    "id,a\n1,\\N\n2,NULL\n3,NA\n",
    "id,a\n1,\\\n2,\\\"x\n",
    "\"id\",\"a\"\n\"1\",\"ä\"\n",
    "\"id\n\",a\n1,x\n",
    "id,a\n1,\t x \t\n",
];

#[tokio::test]
async fn csv_is_read_as_copy_reads_it() {
    let loads = Loads::into("id text, a text").await;
    let copy = "COPY t FROM STDIN (FORMAT csv, HEADER)";
    for (number, text) in FILES.iter().enumerate() {
        let copied = loads.database.try_copy(copy, text.as_bytes()).await;
        let copied = (loads.rows().await, copied);
        let file = loads.folder.put(&format!("{number}.csv"), text);
        let names = ["--columns", "id,a", &file];
        match loads.outcome(&names).await {
            Ok(rows) => assert_eq!((rows, true), copied, "{text:?}"),
            Err(error) => {
                assert!(!copied.1, "{text:?}: {error}");
                assert!(error.contains(&format!("{number}.csv: line ")), "{error}");
            }
        }
    }
}

#[tokio::test]
async fn faults_of_csv_name_file_line_and_column() {
    let loads = Loads::into("id text, a text").await;
    let long = "x".repeat(300_000);
    let cases: [(&[u8], &str); 14] = [
        (
            b"id,a\n1,x\n2,\"s3cret\n3,y\n",
            "line 3, column a: the quoted field does not end",
        ),
        (
            b"id,a\n1,\"x\ny\"\n2\n",
            "line 4: the line has 1 field, and the file has 2 columns",
        ),
        (
            b"id,a\n1,s3cret,3\n",
            "line 2: the line has 3 fields, and the file has 2 columns",
        ),
        (b"id,a\n1,x\n\n2,y\n", "line 3: the line has 1 field"),
        (
            b"id,a\n1,x\n2,s3cret\xe9\n",
            "line 3, column a: the text is not UTF-8",
        ),
        (b"id,a\n1,\xc3\n", "line 2, column a: the text is not UTF-8"),
        (
            b"id,a\n\xc3,\xa9\n",
            "line 2, column id: the text is not UTF-8",
        ),
        (
            b"id,a\n1,s3cret\0\n",
            "line 2, column a: the text holds a NUL character",
        ),
        (
            b"id,a\n1,s3cret\r\n",
            "line 2, column a: a carriage return is not in quotes",
        ),
        (
            b"id,a\r\n1,s3cret\n",
            "line 2, column a: a newline is not in quotes",
        ),
        (b"id,id\n1,x\n", "line 1: two columns are named id"),
        (b"id,\xe9\n1,x\n", "line 1: the text is not UTF-8"),
        (b"\n", "line 1: column 1 has no name"),
        (b"\xff\xfei\0d\0\n\0", "line 1: the text is not UTF-8"),
    ];
    let numbered = cases.iter().map(|(text, error)| (text.to_vec(), *error));
    let late = format!("id,a\n1,{long}\n2,\"{long}\n");
    let late = (
        late.into_bytes(),
        "line 3, column a: the quoted field does not end",
    );
    for (text, expected) in numbered.chain([late]) {
        let file = loads.folder.put("bad.csv", &text);
        let error = loads.outcome(&[&file]).await.unwrap_err();
        assert!(error.contains("bad.csv: "), "{error}");
        assert!(error.contains(expected), "{expected}: {error}");
        assert!(!error.contains("s3cret"), "{error}");
        assert!(error.contains("hint: "), "{error}");
    }
}

#[tokio::test]
async fn options_say_how_csv_is_written() {
    let loads = Loads::into("id int, a text").await;
    let latin = b"id,a\n1,\xe9\n".as_slice();
    let utf16 = "\u{feff}id,a\n1,é\n"
        .encode_utf16()
        .flat_map(u16::to_le_bytes);
    let utf16: Vec<u8> = utf16.collect();
    let cases: &[(&str, &[u8], &[&str], &str)] = &[
        ("x.csv", b"id\ta\n1\tx\n", &["--delimiter", r"\t"], "(1,x)"),
        ("x.csv", b"id\ta\n1\tx\n", &["--delimiter", "tab"], "(1,x)"),
        ("x.tsv", b"id\ta\n1\t\"x,\ty\"\n", &[], "(1,\"x,\ty\")"),
        ("x.tsv", b"id,a\n1,x\n", &["--delimiter", ","], "(1,x)"),
        (
            "x.csv",
            b"id\x1fa\n1\x1fx\n",
            &["--delimiter", r"\x1f"],
            "(1,x)",
        ),
        (
            "x.csv",
            b"id|a\n1|x,y\n",
            &["--delimiter", "|"],
            "(1,\"x,y\")",
        ),
        (
            "x.csv",
            b"1,x\n2,y\n",
            &["--no-header", "--columns", "id,a"],
            "(1,x) (2,y)",
        ),
        ("x.csv", b"A,B\n1,x\n", &["--columns", "id,a"], "(1,x)"),
        (
            "x.csv",
            b"id,a\n1,'x,y'\n",
            &["--quote", "'"],
            "(1,\"x,y\")",
        ),
        (
            "x.csv",
            b"id,a\n1,5\" pipe\n",
            &["--quote", "none"],
            "(1,\"5\"\" pipe\")",
        ),
        (
            "x.csv",
            b"id,a\n1,\"x\\\"y\\\\z\\w\"\n",
            &["--escape", "\\"],
            "(1,\"x\"\"y\\\\z\\\\w\")",
        ),
        (
            "x.csv",
            b"id,a\nNA,NULL\n1,\\N\n2,\n3,\"NA\"\n",
            &["--null", "NA", "--null", "NULL", "--null", r"\N"],
            "(,) (1,) (2,\"\") (3,NA)",
        ),
        (
            "x.csv",
            b"id,a\n,NA\n",
            &["--null", "NA", "--null", ""],
            "(,)",
        ),
        (
            "x.csv",
            b"title\n\"\nid,a\n1,x\n",
            &["--skip", "2"],
            "(1,x)",
        ),
        (
            "x.csv",
            b"# s, \"\nid,a\n#\n1,x\n2,#y\n# end",
            &["--comment", "#"],
            "(1,x) (2,#y)",
        ),
        ("x.csv", b"\xef\xbb\xbfid,a\n1,x\n", &[], "(1,x)"),
        ("x.csv", b"\xef\xbb\xbf\"id\",a\n1,x\n", &[], "(1,x)"),
        ("x.csv", latin, &["--encoding", "latin1"], "(1,é)"),
        ("x.csv", latin, &["--encoding", "WIN1252"], "(1,é)"),
        ("x.csv", &utf16, &["--encoding", "utf-16le"], "(1,é)"),
        ("x.csv", b",a\n1,x\n", &["--name-unnamed", "id"], "(1,x)"),
        (
            "x.csv",
            b"\"\",id,a\nr1,1,x\n",
            &["--drop-unnamed"],
            "(1,x)",
        ),
        // R's write.table has no name for the row names.
        (
            "x.csv",
            b"id a\n\"r1\" 1 x\n",
            &["--drop-unnamed", "--delimiter", "space"],
            "(1,x)",
        ),
        ("x.csv", b"a\n1,x\n", &["--name-unnamed", "id"], "(1,x)"),
    ];
    for (name, text, options, expected) in cases {
        let file = loads.folder.put(name, text);
        let outcome = loads.outcome(&[options, &[&*file][..]].concat()).await;
        assert_eq!(outcome.as_deref(), Ok(*expected), "{options:?}");
    }
}

#[tokio::test]
async fn options_that_cannot_be_meant_are_refused() {
    let loads = Loads::into("id text, a text").await;
    let cases: &[(&[u8], &[&str], &str)] = &[
        (
            b",a\n1,x\n",
            &[],
            "line 1: column 1 has no name hint: name it with --name-unnamed NAME, or leave it out",
        ),
        (b"a\n1,x\n", &[], "row name of R"),
        (b"id,a\n", &["--no-header"], "--columns"),
        (
            b"id,a\n",
            &["--columns", "id"],
            "--columns names 1 column, and the header 2",
        ),
        (b"id,a\n", &["--delimiter", "ab"], "not one ASCII character"),
        (b"id,a\n", &["--delimiter", "é"], "not one ASCII character"),
        (
            b"id,a\n",
            &["--delimiter", "\""],
            "--delimiter and --quote name one character",
        ),
        (b"id,a\n", &["--null", "a,b"], "--null holds a separator"),
        (
            b"id,a\n",
            &["--encoding", "klingon"],
            "the encoding klingon is unknown",
        ),
        (
            b"id,a\n1,\xff\n",
            &["--encoding", "gbk"],
            "line 2, column a: the bytes are not of the encoding",
        ),
        (
            b"id,a\n1,x\n",
            &["--skip", "9"],
            "the file has no line of names",
        ),
    ];
    for (text, options, expected) in cases {
        let file = loads.folder.put("x.csv", text);
        let error = loads
            .outcome(&[options, &[&*file][..]].concat())
            .await
            .unwrap_err();
        assert!(error.contains(expected), "{expected}: {error}");
    }
}

#[tokio::test]
async fn a_value_that_postgresql_rejects_names_its_line() {
    let loads = Loads::into("id int, a text CHECK (a <> 'bad')").await;
    let rows = "1,\"x\ny\"\n".repeat(10_000);
    let cases = [
        (
            "x.csv",
            format!("id,a\n{rows}s3cret,z\n"),
            "x.csv: line 20002: ",
        ),
        (
            "x.csv",
            format!("# c\nid,a\n# c\n{rows}s3cret,z\n"),
            "x.csv: line 20004: ",
        ),
        (
            "x.jsonl",
            "{\"id\": 1}\n\n{\"id\": \"s3cret\"}\n".to_owned(),
            "x.jsonl: line 3: ",
        ),
    ];
    for (name, text, expected) in cases {
        let file = loads.folder.put(name, text);
        let error = loads.outcome(&["--comment", "#", &file]).await.unwrap_err();
        assert!(error.contains(expected), "{error}");
        assert!(error.contains("no rows were written"), "{error}");
        assert!(!error.contains("s3cret"), "{error}");
    }
}
