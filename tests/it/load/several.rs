//! Several files are one table: columns by name, types widened, missing columns NULL.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, Float64Array, Int32Array, Int64Array, LargeStringArray, StringArray,
    TimestampMicrosecondArray, TimestampSecondArray,
};

use super::Loads;
use crate::support::{batch, stderr, stdout};

#[tokio::test]
async fn files_of_one_load_may_differ_in_order_and_width() {
    let loads = Loads::into("id bigint, a text, at timestamp, x float8").await;
    let texts = |text: &str| -> ArrayRef { Arc::new(StringArray::from(vec![text])) };
    let first = loads.folder.write(
        "first.parquet",
        &batch(&[
            ("id", Arc::new(Int32Array::from(vec![1])) as ArrayRef),
            ("a", texts("x")),
            ("at", Arc::new(TimestampSecondArray::from(vec![1]))),
        ]),
    );
    let second = loads.folder.write(
        "second.arrow",
        &batch(&[
            ("x", Arc::new(Float64Array::from(vec![0.5])) as ArrayRef),
            ("at", Arc::new(TimestampMicrosecondArray::from(vec![1]))),
            ("a", Arc::new(LargeStringArray::from(vec!["y"]))),
            ("id", Arc::new(Int64Array::from(vec![i64::MAX]))),
        ]),
    );
    let rows =
        "(1,x,\"1970-01-01 00:00:01\",) (9223372036854775807,y,\"1970-01-01 00:00:00.000001\",0.5)";
    assert_eq!(loads.outcome(&[&first, &second]).await.as_deref(), Ok(rows));
    assert_eq!(loads.outcome(&[&second, &first]).await.as_deref(), Ok(rows));
    let csv = loads.folder.put("a.csv", "a,id\nx,1\n");
    let json = loads.folder.put("b.jsonl", "{\"id\": 2, \"x\": 1.5}\n");
    let rows = "(1,x,,) (2,,,1.5)";
    assert_eq!(loads.outcome(&[&csv, &json]).await.as_deref(), Ok(rows));
}

#[tokio::test]
async fn types_that_no_type_holds_both_are_an_error() {
    let loads = Loads::into("id bigint").await;
    let long: ArrayRef = Arc::new(Int64Array::from(vec![1]));
    let float: ArrayRef = Arc::new(Float64Array::from(vec![1.0]));
    let first = loads.folder.write("first.parquet", &batch(&[("id", long)]));
    let second = loads
        .folder
        .write("second.parquet", &batch(&[("id", float)]));
    let error = loads.outcome(&[&first, &second]).await.unwrap_err();
    assert!(
        error.contains("second.parquet differ from those of"),
        "{error}"
    );
    assert!(error.contains("id is Float64 instead of Int64"), "{error}");
}

#[tokio::test]
async fn a_load_reports_the_rows_of_each_file() {
    let loads = Loads::into("id int").await;
    let [first, second] = [("a.csv", "id\n1\n2\n"), ("b.csv", "id\n3\n")]
        .map(|(name, text)| loads.folder.put(name, text));
    let output = loads.load(&[&first, &second]);
    assert!(output.status.success(), "{}", stderr(&output));
    let said = stdout(&output);
    let lines: Vec<_> = said.lines().collect();
    assert!(
        lines[0].starts_with("loaded 3 rows of 2 files into public.t"),
        "{said}"
    );
    assert_eq!(
        lines[1..],
        [
            format!("  2 rows of {first}"),
            format!("  1 rows of {second}")
        ]
    );
}
