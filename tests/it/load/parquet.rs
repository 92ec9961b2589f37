//! Parquet of other writers, made by the lowest layer of the Parquet library, since pyarrow cannot write all of it.

use std::fs::File;
use std::sync::Arc;

use parquet::basic::{BrotliLevel, Compression, GzipLevel, ZstdLevel};
use parquet::data_type::{
    ByteArray, ByteArrayType, FixedLenByteArrayType, Int32Type, Int64Type, Int96, Int96Type,
};
use parquet::file::metadata::KeyValue;
use parquet::file::properties::WriterProperties;
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::parser::parse_message_type;

use super::Loads;

/// The values of a column.
enum Values {
    Bytes(Vec<&'static [u8]>),
    Fixed(Vec<Vec<u8>>),
    Int32(Vec<i32>),
    Int64(Vec<i64>),
    Int96(Vec<Int96>),
}

/// Writes a file with these columns, whose values are all present.
fn write(
    path: &str,
    columns: &str,
    values: &[Values],
    metadata: &[(&str, &str)],
    compression: Compression,
) {
    let schema = Arc::new(parse_message_type(&format!("message m {{ {columns} }}")).unwrap());
    let pairs = metadata
        .iter()
        .map(|(key, value)| KeyValue::new((*key).to_owned(), (*value).to_owned()));
    let properties = WriterProperties::builder()
        .set_compression(compression)
        .set_key_value_metadata(Some(pairs.collect()))
        .build();
    let mut writer =
        SerializedFileWriter::new(File::create(path).unwrap(), schema, properties.into()).unwrap();
    let mut group = writer.next_row_group().unwrap();
    for values in values {
        let mut column = group.next_column().unwrap().unwrap();
        match values {
            Values::Bytes(values) => {
                let values: Vec<_> = values
                    .iter()
                    .map(|bytes| ByteArray::from(bytes.to_vec()))
                    .collect();
                column
                    .typed::<ByteArrayType>()
                    .write_batch(&values, None, None)
            }
            Values::Fixed(values) => {
                let values: Vec<_> = values
                    .iter()
                    .map(|bytes| ByteArray::from(bytes.clone()).into())
                    .collect();
                column
                    .typed::<FixedLenByteArrayType>()
                    .write_batch(&values, None, None)
            }
            Values::Int32(values) => column.typed::<Int32Type>().write_batch(values, None, None),
            Values::Int64(values) => column.typed::<Int64Type>().write_batch(values, None, None),
            Values::Int96(values) => column.typed::<Int96Type>().write_batch(values, None, None),
        }
        .unwrap();
        column.close().unwrap();
    }
    group.close().unwrap();
    writer.close().unwrap();
}

/// Returns a time as its writers store it: a day since 1970, and nanoseconds of the day.
fn int96(day: i64, nanoseconds: u64) -> Int96 {
    let mut time = Int96::new();
    let low = u32::try_from(nanoseconds & 0xffff_ffff).unwrap();
    let high = u32::try_from(nanoseconds >> 32).unwrap();
    time.set_data(low, high, u32::try_from(day + 2_440_588).unwrap());
    time
}

const SECOND: u64 = 1_000_000_000;
const DAY_SECONDS: u64 = 86_400;
const YEAR_1: i64 = -719_162;
const YEAR_9999: i64 = 2_932_896;
const SPARK: (&str, &str) = ("org.apache.spark.sql.parquet.row.metadata", "{}");
const SPARK_3: (&str, &str) = ("org.apache.spark.version", "3.5.0");

#[tokio::test]
async fn types_of_parquet_keep_their_meaning() {
    let loads = Loads::into("").await;
    let columns = "
        required binary e (ENUM); required binary j (JSON); required fixed_len_byte_array(16) u (UUID);
        required fixed_len_byte_array(3) d (DECIMAL(5, 2)); required int32 n (DECIMAL(9, 2));
        required int32 t (TIME(MILLIS, true)); required int64 tu (TIME(MICROS, false));
        required int64 z (TIMESTAMP(MICROS, true)); required int64 l (TIMESTAMP(MILLIS, false));
        required int32 day (DATE); required int32 s (INTEGER(8, true)); required int64 ul (INTEGER(64, false));";
    let values = [
        Values::Bytes(vec![b"sad"]),
        Values::Bytes(vec![b"{\"a\": 1}"]),
        Values::Fixed(vec![(0..16).collect()]),
        Values::Fixed(vec![vec![0xff, 0xff, 0xff]]),
        Values::Int32(vec![12345]),
        Values::Int32(vec![3_600_001]),
        Values::Int64(vec![3_600_000_001]),
        Values::Int64(vec![1]),
        Values::Int64(vec![-1]),
        Values::Int32(vec![1]),
        Values::Int32(vec![-128]),
        Values::Int64(vec![-1]),
    ];
    let file = loads.folder.path("types.parquet");
    write(&file, columns, &values, &[], Compression::UNCOMPRESSED);
    let database = &loads.database;
    let made = crate::support::load(&loads.url, &["--to", "made", "--mode", "create", &file]);
    assert!(made.status.success(), "{}", crate::support::stderr(&made));
    database.execute("SET timezone = 'UTC'").await;
    let types = "SELECT format_type(atttypid, atttypmod) FROM pg_attribute WHERE attrelid = 'made'::regclass AND attnum > 0 ORDER BY attnum";
    assert_eq!(
        database.text(types).await,
        "text,jsonb,uuid,numeric(5,2),numeric(9,2),time without time zone,time without time zone,\
         timestamp with time zone,timestamp without time zone,date,smallint,numeric(20,0)"
    );
    assert_eq!(
        database.text("SELECT made::text FROM made").await,
        "(sad,\"{\"\"a\"\": 1}\",00010203-0405-0607-0809-0a0b0c0d0e0f,-0.01,123.45,01:00:00.001,01:00:00.000001,\
         \"1970-01-01 00:00:00.000001+00\",\"1969-12-31 23:59:59.999\",1970-01-02,-128,18446744073709551615)"
    );
    database.execute("CREATE TYPE mood AS ENUM ('sad'); DROP TABLE t; CREATE TABLE t (e mood, u uuid, j json)").await;
    let columns = "required binary e (ENUM); required fixed_len_byte_array(16) u (UUID); required binary j (JSON);";
    let [e, j, u, ..] = values;
    write(&file, columns, &[e, u, j], &[], Compression::UNCOMPRESSED);
    let row = "(sad,00010203-0405-0607-0809-0a0b0c0d0e0f,\"{\"\"a\"\": 1}\")";
    assert_eq!(loads.outcome(&[&file]).await.as_deref(), Ok(row));
}

#[tokio::test]
async fn every_codec_and_metadata_of_parquet_is_read() {
    let loads = Loads::into("id int").await;
    let file = loads.folder.path("x.parquet");
    let codecs = [
        Compression::SNAPPY,
        Compression::GZIP(GzipLevel::default()),
        Compression::BROTLI(BrotliLevel::default()),
        Compression::ZSTD(ZstdLevel::default()),
        Compression::LZ4_RAW,
    ];
    for codec in codecs {
        let metadata = [("pandas", "{}"), ("key", "value")];
        write(
            &file,
            "required int32 id;",
            &[Values::Int32(vec![1, 2])],
            &metadata,
            codec,
        );
        assert_eq!(
            loads.outcome(&[&file]).await.as_deref(),
            Ok("(1) (2)"),
            "{codec}"
        );
    }
    let bytes = std::fs::read(&file).unwrap();
    let cut = loads.folder.put("cut.parquet", &bytes[..bytes.len() - 9]);
    let error = loads.outcome(&[&cut]).await.unwrap_err();
    assert!(error.contains("cut.parquet: "), "{error}");
}

#[tokio::test]
async fn int96_covers_all_years_and_loses_nothing() {
    let loads = Loads::into("at timestamp").await;
    let file = loads.folder.path("x.parquet");
    let column = "required int96 at;";
    let last = (DAY_SECONDS - 1) * SECOND;
    let times = vec![int96(YEAR_1, 0), int96(0, 1000), int96(YEAR_9999, last)];
    let plain = Compression::UNCOMPRESSED;
    write(&file, column, &[Values::Int96(times.clone())], &[], plain);
    let rows =
        "(\"0001-01-01 00:00:00\") (\"1970-01-01 00:00:00.000001\") (\"9999-12-31 23:59:59\")";
    assert_eq!(loads.outcome(&[&file]).await.as_deref(), Ok(rows));
    // Spark's are instants.
    loads
        .database
        .execute("ALTER TABLE t ALTER at TYPE timestamptz")
        .await;
    write(
        &file,
        column,
        &[Values::Int96(times)],
        &[SPARK, SPARK_3],
        plain,
    );
    loads.database.execute("SET timezone = 'UTC'").await;
    let rows = "(\"0001-01-01 00:00:00+00\") (\"1970-01-01 00:00:00.000001+00\") (\"9999-12-31 23:59:59+00\")";
    assert_eq!(loads.outcome(&[&file]).await.as_deref(), Ok(rows));
    for day in [0, YEAR_1] {
        let mut times = vec![int96(0, 0); 10_000];
        times.push(int96(day, 999));
        write(
            &file,
            column,
            &[Values::Int96(times)],
            &[SPARK, SPARK_3],
            plain,
        );
        let error = loads.outcome(&[&file]).await.unwrap_err();
        assert!(error.contains("finer than a microsecond"), "{error}");
        assert!(error.contains("column at, row 10000"), "{error}");
    }
}

#[tokio::test]
async fn days_of_the_old_calendar_keep_their_names() {
    let loads = Loads::into("day date, at timestamptz").await;
    loads.database.execute("SET timezone = 'UTC'").await;
    let file = loads.folder.path("x.parquet");
    let columns = "required int32 day (DATE); required int64 at (TIMESTAMP(MICROS, true));";
    let day_micros = 86_400_000_000;
    // 0001-01-01 and 1582-10-04 in the Julian calendar.
    let old = [-719_164, -141_428];
    let values = |days: &[i32]| {
        let times = days
            .iter()
            .map(|day| i64::from(*day) * day_micros + 1)
            .collect();
        [Values::Int32(days.to_vec()), Values::Int64(times)]
    };
    let moved = "(0001-01-01,\"0001-01-01 00:00:00.000001+00\") (1582-10-04,\"1582-10-04 00:00:00.000001+00\")";
    let zone = ("org.apache.spark.timeZone", "UTC");
    let legacy = ("org.apache.spark.legacyDateTime", "");
    let hive = ("writer.date.proleptic", "false");
    let plain = Compression::UNCOMPRESSED;
    let old_files: [&[(&str, &str)]; 4] = [
        &[SPARK, SPARK_3, legacy, zone],
        &[SPARK, ("org.apache.spark.version", "2.4.8"), zone],
        &[SPARK, zone],
        &[hive, zone],
    ];
    for metadata in old_files {
        write(&file, columns, &values(&old), metadata, plain);
        assert_eq!(
            loads.outcome(&[&file]).await.as_deref(),
            Ok(moved),
            "{metadata:?}"
        );
    }
    let kept = "(\"0001-12-30 BC\",\"0001-12-30 00:00:00.000001+00 BC\") (1582-10-14,\"1582-10-14 00:00:00.000001+00\")";
    for metadata in [&[SPARK, SPARK_3][..], &[]] {
        write(&file, columns, &values(&old), metadata, plain);
        assert_eq!(
            loads.outcome(&[&file]).await.as_deref(),
            Ok(kept),
            "{metadata:?}"
        );
    }
    // A zone's old offsets are not the same in both calendars of Java.
    write(
        &file,
        columns,
        &values(&[0, -25_568]),
        &[
            SPARK,
            SPARK_3,
            legacy,
            ("org.apache.spark.timeZone", "Europe/Paris"),
        ],
        plain,
    );
    let error = loads.outcome(&[&file]).await.unwrap_err();
    assert!(
        error.contains("a time before 1900 is counted by the old calendar"),
        "{error}"
    );
    assert!(error.contains("column at, row 1"), "{error}");
    write(
        &file,
        columns,
        &values(&[0, -25_567]),
        &[SPARK, SPARK_3, legacy],
        plain,
    );
    assert!(loads.outcome(&[&file]).await.is_ok());
    // Version 3.0 wrote INT96 in the old calendar without a word.
    let columns = "required int32 day (DATE); required int96 at;";
    let both = [
        Values::Int32(vec![-719_162]),
        Values::Int96(vec![int96(-719_164, 0)]),
    ];
    write(
        &file,
        columns,
        &both,
        &[SPARK, ("org.apache.spark.version", "3.0.1"), zone],
        plain,
    );
    let row = "(0001-01-01,\"0001-01-01 00:00:00+00\")";
    assert_eq!(loads.outcome(&[&file]).await.as_deref(), Ok(row));
}

#[tokio::test]
async fn types_that_would_lose_their_meaning_are_refused() {
    let loads = Loads::into("v jsonb, i interval").await;
    let file = loads.folder.path("x.parquet");
    let interval = "required fixed_len_byte_array(12) i (INTERVAL);";
    let months = vec![1, 0, 0, 0, 2, 0, 0, 0, 3, 0, 0, 0];
    let plain = Compression::UNCOMPRESSED;
    write(&file, interval, &[Values::Fixed(vec![months])], &[], plain);
    let error = loads.outcome(&[&file]).await.unwrap_err();
    assert!(
        error.contains("the column i has Parquet's type INTERVAL"),
        "{error}"
    );
    let schema = r#"{"type": "struct", "fields": [
        {"name": "v", "type": {"type": "array", "elementType": "variant"}, "metadata": {}}]}"#;
    let marked = "required group v (VARIANT) { required binary metadata; required binary value; }";
    let spark = "required group v { required binary metadata; required binary value; }";
    let cases: [(&str, &[(&str, &str)]); 2] = [(marked, &[]), (spark, &[(SPARK.0, schema)])];
    for (columns, metadata) in cases {
        let values = [Values::Bytes(vec![b"x"]), Values::Bytes(vec![b"y"])];
        write(&file, columns, &values, metadata, plain);
        let error = loads.outcome(&[&file]).await.unwrap_err();
        assert!(error.contains("a column has the type VARIANT"), "{error}");
    }
}
