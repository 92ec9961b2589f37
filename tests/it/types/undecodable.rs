//! Data that Arrow's reader rejects is reported with its column, and with its row if it has one.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, BinaryArray, BinaryViewArray, DictionaryArray, Int32Array, LargeBinaryArray,
    LargeStringArray, ListArray, StringArray, StringViewArray,
};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::datatypes::Field;
use arrow::datatypes::Int32Type;
use arrow_flight::encode::{DictionaryHandling, FlightDataEncoderBuilder};
use futures_util::{StreamExt, stream};

use crate::support::{CallError, Database, Pgflight, Put, batch, path};

/// Rows whose column is sent under the schema of another type with the same buffers.
fn disguised(column: &str, batches: &[ArrayRef], as_it_were: ArrayRef) -> Put {
    let rows: Vec<_> = batches
        .iter()
        .map(|array| batch(&[(column, Arc::clone(array))]))
        .collect();
    let mut put = Put::bare(path(&["t"]), &rows);
    put.0[0] = Put::bare(path(&["t"]), &[batch(&[(column, as_it_were)])]).0[0].clone();
    put
}

#[tokio::test]
async fn invalid_utf8_is_rejected_by_place_and_ignored_below_null() {
    let database = Database::new().await;
    database.execute("CREATE TABLE t (s text, l text[])").await;
    let server = Pgflight::start(&database);
    let mut client = server.client().await;
    let values: [&[u8]; 3] = [b"a", b"s3cret\xff", "été".as_bytes()];
    let present = || NullBuffer::from(vec![true, false, true]);
    let (binary, large, views) = (
        BinaryArray::from_vec(values.to_vec()),
        LargeBinaryArray::from_vec(values.to_vec()),
        BinaryViewArray::from_iter_values(values),
    );
    let (offsets, bytes, _) = binary.clone().into_parts();
    let (large_offsets, large_bytes, _) = large.clone().into_parts();
    let (shown, buffers, _) = views.clone().into_parts();
    // For each type: with a NULL in the middle, without one, and the declared type.
    let layouts: [(ArrayRef, ArrayRef, ArrayRef); 3] = [
        (
            Arc::new(BinaryArray::new(offsets, bytes, Some(present()))),
            Arc::new(binary),
            Arc::new(StringArray::from(vec![Some("")])),
        ),
        (
            Arc::new(LargeBinaryArray::new(
                large_offsets,
                large_bytes,
                Some(present()),
            )),
            Arc::new(large),
            Arc::new(LargeStringArray::from(vec![Some("")])),
        ),
        (
            Arc::new(BinaryViewArray::new(shown, buffers, Some(present()))),
            Arc::new(views),
            Arc::new(StringViewArray::from(vec![Some("")])),
        ),
    ];
    for (hidden, bad, text) in layouts {
        let name = text.data_type().to_string();
        let put = disguised("s", std::slice::from_ref(&hidden), text.clone());
        client
            .put(put)
            .await
            .unwrap_or_else(|status| panic!("{name}: {status}"));
        let landed = database.text("SELECT s FROM t").await;
        assert_eq!(landed, "a,null,été", "{name}");
        database.execute("TRUNCATE t").await;
        let put = disguised("s", &[hidden, bad], text);
        let reported = CallError::from(client.put(put).await.expect_err(&name));
        assert_eq!(reported.reason, "DATA_REJECTED", "{}", reported.message);
        assert!(
            reported.message.starts_with("text is not UTF-8"),
            "{}",
            reported.message
        );
        let place = ["row", "column", "sqlstate"].map(|name| reported.details[name].as_str());
        assert_eq!(place, ["4", "s", "22021"], "{name}");
    }
    let list = |items: ArrayRef| -> ArrayRef {
        let item = Arc::new(Field::new("item", items.data_type().clone(), true));
        Arc::new(ListArray::new(
            item,
            OffsetBuffer::from_lengths([items.len()]),
            items,
            None,
        ))
    };
    let bad = list(Arc::new(BinaryArray::from_vec(values.to_vec())));
    let text = list(Arc::new(StringArray::from(vec![""])));
    let reported = CallError::from(client.put(disguised("l", &[bad], text)).await.unwrap_err());
    assert!(
        reported.message.starts_with("text is not UTF-8"),
        "{}",
        reported.message
    );
    assert_eq!(reported.details["column"], "l");
    assert_eq!(database.text("SELECT count(*) FROM t").await, "0");
}

#[tokio::test]
async fn an_index_beyond_its_dictionary_names_only_the_column() {
    let database = Database::new().await;
    database.execute("CREATE TABLE t (s text)").await;
    let server = Pgflight::start(&database);
    let mut client = server.client().await;
    let messages = async |words: usize, last: i32| {
        let words: Vec<String> = (0..words).map(|word| word.to_string()).collect();
        let keys = Int32Array::from(vec![0, last]);
        let words = Arc::new(StringArray::from(words));
        let array = DictionaryArray::<Int32Type>::new(keys, words);
        let messages = FlightDataEncoderBuilder::new()
            .with_dictionary_handling(DictionaryHandling::Resend)
            .with_flight_descriptor(Some(path(&["t"])))
            .build(stream::iter([Ok(batch(&[(
                "s",
                Arc::new(array) as ArrayRef,
            )]))]));
        messages.map(Result::unwrap).collect::<Vec<_>>().await
    };
    let mut longer = messages(4322, 4321).await;
    longer[1] = messages(2, 1).await[1].clone();
    let reported = CallError::from(client.put(Put(longer)).await.unwrap_err());
    assert!(
        reported
            .message
            .contains("an index is not in its dictionary"),
        "{}",
        reported.message
    );
    assert!(!reported.message.contains("4321"), "{}", reported.message);
    assert_eq!(reported.details["column"], "s");
}
