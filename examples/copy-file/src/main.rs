//! Writes Arrow batches as a file for PostgreSQL's binary COPY.
//!
//! ```sh
//! cargo run --package copy-file trips.bin
//! psql --command 'CREATE TABLE trips (id bigint, fare numeric(8,2), note text)' \
//!     --command '\copy trips (id, note, fare) from trips.bin with (format binary)'
//! ```

use std::error::Error;
use std::fs::File;
use std::io::Write;
use std::sync::Arc;

use arrow_array::{ArrayRef, Decimal128Array, Int32Array, RecordBatch, StringArray};
use arrow_pgcopy::{
    BatchEncoder, Chunks, Column, EncodePlan, Ident, PgType, QualifiedName, Relation, format,
};

/// Bytes of a chunk.
const CHUNK: usize = 256 << 10;

fn main() -> Result<(), Box<dyn Error>> {
    let path = std::env::args().nth(1).ok_or("name the file to write")?;
    write_copy(
        &[batch(0..1000)?, batch(1000..2000)?],
        &mut File::create(path)?,
    )
}

/// Describes the table, as a query of `pg_attribute` would.
fn table() -> Result<Relation, Box<dyn Error>> {
    let column = |name: &str, oid: u32| -> Result<Column, Box<dyn Error>> {
        let ty = PgType::builtin(oid).ok_or("the type is not built in")?;
        Ok(Column::new(Ident::new(name)?, ty))
    };
    let fare = Column {
        // numeric(8,2), as `atttypmod` has it.
        typmod: (8 << 16 | 2) + 4,
        ..column("fare", 1700)?
    };
    Ok(Relation {
        oid: 16_384,
        name: QualifiedName {
            schema: Ident::new("public")?,
            name: Ident::new("trips")?,
        },
        columns: vec![column("id", 20)?, fare, column("note", 25)?],
    })
}

fn batch(ids: std::ops::Range<i32>) -> Result<RecordBatch, Box<dyn Error>> {
    let notes: StringArray = ids
        .clone()
        .map(|id| (id % 3 != 0).then(|| format!("trip {id}")))
        .collect();
    let fares: Decimal128Array = ids.clone().map(|id| Some(i128::from(id) * 25)).collect();
    let columns: [(&str, ArrayRef, bool); 3] = [
        ("id", Arc::new(ids.collect::<Int32Array>()), false),
        ("note", Arc::new(notes), true),
        (
            "fare",
            Arc::new(fares.with_precision_and_scale(8, 2)?),
            true,
        ),
    ];
    Ok(RecordBatch::try_from_iter_with_nullable(columns)?)
}

/// Writes batches of one schema as one COPY.
fn write_copy(batches: &[RecordBatch], out: &mut impl Write) -> Result<(), Box<dyn Error>> {
    let schema = batches.first().ok_or("no batches")?.schema();
    let plan = EncodePlan::new(&schema, &table()?)?;
    let mut chunks = Chunks::new(CHUNK);
    let mut row = 0;
    out.write_all(&format::HEADER)?;
    for batch in batches {
        let mut encoder = BatchEncoder::new(&plan, batch, row)?;
        while let Some(chunk) = encoder.next_chunk(&mut chunks)? {
            out.write_all(&chunk)?;
        }
        row += u64::try_from(batch.num_rows())?;
    }
    out.write_all(&format::TRAILER)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{batch, format, write_copy};

    #[test]
    fn batches_become_one_copy() {
        let mut copy = Vec::new();
        write_copy(&[batch(0..1).unwrap(), batch(1..2).unwrap()], &mut copy).unwrap();
        let tuples = [
            // Three fields: bigint 0, NULL, numeric 0.00.
            &b"\0\x03\0\0\0\x08\0\0\0\0\0\0\0\0\xff\xff\xff\xff\0\0\0\x08\0\0\0\0\0\0\0\x02"[..],
            // bigint 1, 'trip 1', numeric 0.25.
            b"\0\x03\0\0\0\x08\0\0\0\0\0\0\0\x01\0\0\0\x06trip 1",
            b"\0\0\0\x0a\0\x01\xff\xff\0\0\0\x02\x09\xc4",
        ];
        assert_eq!(
            copy,
            [&format::HEADER[..], &tuples.concat(), &format::TRAILER].concat()
        );
    }
}
