//! Where files are: standard input, pipes, folders, patterns, folders that are columns, and compressed files.

use std::io::Write;
use std::process::{Command, Stdio};
use std::sync::Arc;

use arrow::array::{ArrayRef, Int32Array};
use arrow::ipc::writer::StreamWriter;

use super::Loads;
use crate::support::{COPYING, Pgflight, batch, stderr, wait_until};

const TEXT: &str = "id,a\n1,x\n2,\n";
const ROWS: &str = "(1,x) (2,)";

/// Compresses by the program that people use.
fn compressed(program: &str, text: &[u8]) -> Vec<u8> {
    let mut child = Command::new(program)
        .arg("-c")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("{program}: {error}"));
    child.stdin.take().unwrap().write_all(text).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
    output.stdout
}

fn gzip(text: &[u8]) -> Vec<u8> {
    compressed("gzip", text)
}

#[tokio::test]
async fn compressed_files_are_read_to_their_end() {
    let loads = Loads::into("id int, a text").await;
    let halves = TEXT.as_bytes().split_at(9);
    let mut forms = vec![("gz", gzip(TEXT.as_bytes()))];
    // As `cat` joins them.
    forms.push(("gz", [gzip(halves.0), gzip(halves.1)].concat()));
    for (program, ending) in [("bzip2", "bz2"), ("xz", "xz"), ("zstd", "zst")] {
        let is_there = Command::new(program).arg("--version").output().is_ok();
        if !is_there {
            crate::support::left_out(program);
            continue;
        }
        forms.push((ending, compressed(program, TEXT.as_bytes())));
        let (first, second) = (compressed(program, halves.0), compressed(program, halves.1));
        forms.push((ending, [first, second].concat()));
    }
    for (ending, bytes) in forms {
        let file = loads.folder.put(&format!("x.csv.{ending}"), &bytes);
        assert_eq!(
            loads.outcome(&[&file]).await.as_deref(),
            Ok(ROWS),
            "{ending}"
        );
        // The first bytes say it, and not the name.
        let file = loads.folder.put("x.csv", &bytes);
        assert_eq!(
            loads.outcome(&[&file]).await.as_deref(),
            Ok(ROWS),
            "{ending}"
        );
        let cut = loads
            .folder
            .put(&format!("cut.csv.{ending}"), &bytes[..bytes.len() - 3]);
        let error = loads.outcome(&[&cut]).await.unwrap_err();
        assert!(error.contains(&format!("cut.csv.{ending}: ")), "{error}");
    }
    let tabs = loads.folder.put("x.tsv.gz", gzip(b"id\ta\n1\tx\n2\t\n"));
    assert_eq!(loads.outcome(&[&tabs]).await.as_deref(), Ok(ROWS));
    let noise = [&gzip(TEXT.as_bytes())[..], b"noise"].concat();
    let noise = loads.folder.put("noise.csv.gz", noise);
    let error = loads.outcome(&[&noise]).await.unwrap_err();
    assert!(error.contains("noise.csv.gz: "), "{error}");
}

#[tokio::test]
async fn a_stream_of_arrow_without_its_end_is_rejected() {
    let loads = Loads::into("id int").await;
    let rows = |id: i32| {
        let ids: ArrayRef = Arc::new(Int32Array::from(vec![id]));
        batch(&[("id", ids)])
    };
    let whole = |ids: &[i32]| {
        let mut writer = StreamWriter::try_new(Vec::new(), &rows(0).schema()).unwrap();
        for id in ids {
            writer.write(&rows(*id)).unwrap();
        }
        writer.finish().unwrap();
        writer.into_inner().unwrap()
    };
    let (one, two) = (whole(&[1]), whole(&[1, 2]));
    let (mark, first) = (8, one.len() - 8);
    let cut = "x.arrows: the stream ends without its end mark";
    let more = "x.arrows: there is more after the end of the stream";
    let cases: [(&str, Vec<u8>, Result<&str, &str>); 8] = [
        ("whole", two.clone(), Ok("(1) (2)")),
        ("no batches", whole(&[]), Ok("")),
        ("cut after the first batch", two[..first].to_vec(), Err(cut)),
        (
            "cut in the next message",
            two[..first + 2].to_vec(),
            Err(cut),
        ),
        (
            "cut in the next batch",
            two[..first + 40].to_vec(),
            Err("x.arrows: "),
        ),
        (
            "cut before its end mark",
            two[..two.len() - mark].to_vec(),
            Err(cut),
        ),
        ("two streams", [one.clone(), two].concat(), Err(more)),
        ("noise", [one, b"x".to_vec()].concat(), Err(more)),
    ];
    for (what, bytes, expected) in cases {
        let file = loads.folder.put("x.arrows", &bytes);
        match (loads.outcome(&[&file]).await, expected) {
            (Ok(rows), Ok(expected)) => assert_eq!(rows, expected, "{what}"),
            (Err(error), Err(part)) => assert!(error.contains(part), "{what}: {error}"),
            (found, _) => panic!("{what}: {found:?}"),
        }
    }
}

#[tokio::test]
async fn standard_input_and_pipes_are_read() {
    let loads = Loads::into("id int, a text").await;
    let rows = {
        use arrow::array::{ArrayRef, Int32Array, StringArray};
        let ids: ArrayRef = std::sync::Arc::new(Int32Array::from(vec![1, 2]));
        let texts: ArrayRef = std::sync::Arc::new(StringArray::from(vec![Some("x"), None]));
        batch(&[("id", ids), ("a", texts)])
    };
    let csv = loads.folder.put("x.csv", TEXT);
    let zipped = loads.folder.put("x.csv.gz", gzip(TEXT.as_bytes()));
    let json = loads
        .folder
        .put("x.jsonl", "{\"id\": 1, \"a\": \"x\"}\n{\"id\": 2}\n");
    let mut files = vec![csv, zipped, json];
    files.extend(
        ["parquet", "arrow", "arrows"]
            .map(|ending| loads.folder.write(&format!("x.{ending}"), &rows)),
    );
    for file in &files {
        let bytes = std::fs::read(file).unwrap();
        let mut child = Pgflight::command()
            .args(["load", "--server", &loads.url, "--to", "t", "-"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(&bytes).unwrap();
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{file}");
        assert_eq!(loads.rows().await, ROWS, "{file}");
        let pipe = loads.folder.path("pipe");
        assert!(
            Command::new("mkfifo")
                .arg(&pipe)
                .status()
                .unwrap()
                .success()
        );
        let into = pipe.clone();
        let writing = std::thread::spawn(move || std::fs::write(into, bytes).unwrap());
        assert_eq!(loads.outcome(&[&pipe]).await.as_deref(), Ok(ROWS), "{file}");
        writing.join().unwrap();
        std::fs::remove_file(&pipe).unwrap();
    }
}

#[tokio::test]
async fn a_rejected_row_of_an_open_pipe_ends_the_load() {
    let loads = Loads::into("id int, a text").await;
    let mut child = Pgflight::command()
        .args(["load", "--server", &loads.url, "--to", "t", "-"])
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut pipe = child.stdin.take().unwrap();
    let rows = "1,x\n".repeat(20_000);
    // The load may have ended before all is written.
    pipe.write_all(format!("id,a\nno number,x\n{rows}").as_bytes())
        .ok();
    let waited = tokio::task::spawn_blocking(move || child.wait_with_output());
    let output = waited.await.unwrap().unwrap();
    assert_eq!(output.status.code(), Some(1));
    drop(pipe);
    assert_eq!(loads.rows().await, "");
}

#[tokio::test]
async fn a_pipe_is_read_once_and_never_before_it_is_sent() {
    let loads = Loads::into("id int, a text").await;
    let database = &loads.database;
    let start = || {
        let direct = r#"{"append": {"publish": "PUBLISH_DIRECT"}}"#;
        let mut child = Pgflight::command()
            .args([
                "load", "--server", &loads.url, "--to", "t", "--spec", direct, "-",
            ])
            .stdin(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let pipe = child.stdin.take().unwrap();
        (child, pipe)
    };
    let wait = async |child: std::process::Child| {
        let waited = tokio::task::spawn_blocking(move || child.wait_with_output());
        waited.await.unwrap().unwrap()
    };
    // The attempt waits for the table, breaks, and is repeated.
    database.execute("BEGIN; LOCK TABLE t IN SHARE MODE").await;
    let (child, mut pipe) = start();
    pipe.write_all(TEXT.as_bytes()).unwrap();
    drop(pipe);
    let waiting = "SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = 't'::regclass";
    wait_until(async || database.text(waiting).await == "1", "it waits").await;
    let end = "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE NOT granted AND relation = 't'::regclass";
    database.text(end).await;
    wait_until(async || database.text(waiting).await == "0", "it broke").await;
    wait_until(
        async || database.text(waiting).await == "1",
        "it waits again",
    )
    .await;
    database.execute("COMMIT").await;
    let output = wait(child).await;
    assert!(output.status.success(), "{}", stderr(&output));
    assert!(
        stderr(&output).contains("trying again"),
        "{}",
        stderr(&output)
    );
    assert_eq!(loads.rows().await, ROWS);
    // Rows were sent, and are gone from the pipe.
    let (child, mut pipe) = start();
    pipe.write_all(format!("id,a\n{}", "1,x\n".repeat(100_000)).as_bytes())
        .unwrap();
    let copying = format!("SELECT count(*) FROM {COPYING}");
    wait_until(
        async || database.text(&copying).await == "1",
        "rows are sent",
    )
    .await;
    database
        .text(&format!("SELECT pg_terminate_backend(pid) FROM {COPYING}"))
        .await;
    pipe.write_all("1,x\n".repeat(100_000).as_bytes()).ok();
    let output = wait(child).await;
    drop(pipe);
    let said = stderr(&output);
    assert_eq!(output.status.code(), Some(64), "{said}");
    assert!(
        said.contains("cannot read standard input again from its beginning"),
        "{said}"
    );
    assert!(said.contains("no rows were written"), "{said}");
    assert_eq!(loads.rows().await, "");
}

#[tokio::test]
async fn folders_and_patterns_name_their_files_of_rows() {
    let loads = Loads::into("id int, a text").await;
    let folder = &loads.folder;
    folder.put("t/_SUCCESS", "");
    folder.put("t/.part-0.csv.crc", "no rows");
    folder.put("t/_temporary/0/x.csv", "id,a\n3,hidden\n");
    folder.put("t/.hidden/x.csv", "id,a\n3,hidden\n");
    folder.put("t/part-0.csv", "id,a\n1,x\n");
    folder.put("t/deep/er/part-1.csv", "id,a\n2,\n");
    folder.put("none/_SUCCESS", "");
    let odd = folder.put("odd[1].csv", TEXT);
    let [all, stars, one, none] =
        ["t", "t/**/*.csv", "t/part-?.csv", "none"].map(|name| folder.path(name));
    assert_eq!(loads.outcome(&[&all]).await.as_deref(), Ok(ROWS));
    assert_eq!(loads.outcome(&[&stars]).await.as_deref(), Ok(ROWS));
    assert_eq!(loads.outcome(&[&one]).await.as_deref(), Ok("(1,x)"));
    assert_eq!(loads.outcome(&[&odd]).await.as_deref(), Ok(ROWS));
    let errors: [(&[&str], &str); 7] = [
        (&[&none], "the folder"),
        (&[&folder.path("*.orc")], "no file matches"),
        (&[&folder.path("gone.csv")], "gone.csv: No such file"),
        (&[&all, &one], "part-0.csv is named twice"),
        (
            &["s3://bucket/x.parquet"],
            "is a URL, which `load` cannot read hint: pipe it",
        ),
        (&["https://example.com/x.csv"], "curl --fail"),
        (&["-", "-"], "- is named twice"),
    ];
    for (arguments, expected) in errors {
        let error = loads.outcome(arguments).await.unwrap_err();
        assert!(error.contains(expected), "{expected}: {error}");
    }
}

#[tokio::test]
async fn folders_named_name_equals_value_are_columns() {
    let loads = Loads::into("id int, day date, at text").await;
    let folder = &loads.folder;
    folder.put("t/day=2026-01-01/at=10%3A30/a.csv", "id\n1\n");
    folder.put(
        "t/day=2026-01-02/at=__HIVE_DEFAULT_PARTITION__/a.csv",
        "id\n2\n",
    );
    folder.put("t/day=2026-01-02/at=/b.csv", "id\n3\n");
    let rows = "(1,2026-01-01,10:30) (2,2026-01-02,) (3,2026-01-02,\"\")";
    let all = folder.path("t");
    assert_eq!(loads.outcome(&[&all]).await.as_deref(), Ok(rows));
    let one = folder.path("t/day=2026-01-01/at=10%3A30/a.csv");
    assert_eq!(
        loads.outcome(&[&one]).await.as_deref(),
        Ok("(1,2026-01-01,10:30)")
    );
    assert_eq!(
        loads.outcome(&["--no-hive", &one]).await.as_deref(),
        Ok("(1,,)")
    );
    folder.put("u/day=s3/a.csv", "id,day\n1,2026-01-01\n");
    let error = loads.outcome(&[&folder.path("u")]).await.unwrap_err();
    assert!(
        error.contains("the column day is in the file and in the name of its folder"),
        "{error}"
    );
    let wrong = folder.put("v/day=soon/a.csv", "id\n1\n");
    let error = loads.outcome(&[&wrong]).await.unwrap_err();
    assert!(error.contains("column day"), "{error}");
}

#[tokio::test]
async fn files_of_unread_formats_are_named() {
    let loads = Loads::into("id int, a text").await;
    let cases: [(&[u8], &str); 5] = [
        (b"PK\x03\x04rest", "the file is a zip archive"),
        (b"ORC\x08\x01", "the file is ORC"),
        (b"Obj\x01\x02", "the file is Avro"),
        (b"FEA1\0\0\0\0", "the file is Feather of version 1"),
        (b"", "the file is empty"),
    ];
    for (text, expected) in cases {
        let file = loads.folder.put("x", text);
        let error = loads.outcome(&[&file]).await.unwrap_err();
        assert!(error.contains(expected), "{expected}: {error}");
    }
    let file = loads.folder.put("x.csv", "id,a\n1,x\n");
    for (format, name) in [("parquet", "Parquet"), ("arrow", "Arrow IPC")] {
        let error = loads
            .outcome(&["--format", format, &file])
            .await
            .unwrap_err();
        assert!(
            error.contains(&format!("the file is not {name}, as --format says")),
            "{error}"
        );
    }
}
