//! Batches whose headers and buffers are wrong: the server rejects each with its column and writes no rows.

use arrow::datatypes::{DataType as D, Field, Fields, Schema};
use arrow::ipc::CompressionType;

use super::raw::{
    GIB, LZ4, Raw, ZSTD, check, columns, list_of, little, prefixed, raw, schema_message,
};

#[tokio::test]
async fn malformed_and_oversized_batches_are_rejected() {
    let eight = &[7_u8; 8];
    let long = |raw: Raw| (columns(&[("n", D::Int64)]), raw);
    let two = |raw: Raw| (columns(&[("n", D::Int64), ("m", D::Int64)]), raw);
    let text = |raw: Raw| (columns(&[("s", D::Utf8)]), raw);
    let view = |raw: Raw| (columns(&[("s", D::Utf8View)]), raw);
    let empty_struct = || D::Struct(Fields::empty());
    let int_pair = || D::Struct(Fields::from(vec![Field::new("x", D::Int32, true)]));
    let lists = |size| D::FixedSizeList(list_of(D::Int32), size);
    let huge = 1_i64 << 40;
    let lying = |codec, prefix| {
        let body = prefixed(prefix, &[0; 56]);
        raw(1, &[(0, 0), (0, 64)], &body).codec(codec)
    };
    // Every view refers to a whole buffer of 1 MiB: its length, its first four bytes, buffer 0, offset 0.
    let one_view = [(1_i32 << 20).to_le_bytes(), *b"aaaa", [0; 4], [0; 4]].concat();
    let long_view = |length: i32, prefix| [length.to_le_bytes(), prefix, [0; 4], [0; 4]].concat();
    let short_view = |bytes: [u8; 2]| [&[2, 0, 0, 0, bytes[0], bytes[1]][..], &[0; 10]].concat();
    let views = one_view.repeat(100_000);
    let view_bytes = i64::try_from(views.len()).unwrap();
    let shared_views = raw(
        100_000,
        &[(0, 0), (0, view_bytes), (view_bytes, 1 << 20)],
        &[views, vec![b'a'; 1 << 20]].concat(),
    );
    let text_of = |offsets: &[i32], bytes: &[u8]| {
        let offsets = little(offsets);
        let length = i64::try_from(offsets.len()).unwrap();
        let body = [&offsets[..], bytes].concat();
        raw(
            length / 4 - 1,
            &[
                (0, 0),
                (0, length),
                (length, i64::try_from(bytes.len()).unwrap()),
            ],
            &body,
        )
    };
    let cases = vec![
        (
            "buffer past the body",
            long(raw(1, &[(0, 0), (64, 8)], eight)),
            "8 bytes at offset 64",
        ),
        (
            "buffer longer than the body",
            long(raw(1, &[(0, 0), (0, 16)], eight)),
            "16 bytes at offset 0",
        ),
        (
            "negative offset",
            long(raw(1, &[(0, 0), (-8, 8)], eight)),
            "at offset -8",
        ),
        (
            "negative length",
            long(raw(1, &[(0, 0), (0, -1)], eight)),
            "-1 bytes",
        ),
        (
            "offset that overflows",
            long(raw(1, &[(0, 0), (i64::MAX, i64::MAX)], eight)),
            "of a body",
        ),
        (
            "values too few for the rows",
            long(raw(2, &[(0, 0), (0, 8)], eight)),
            "needs 16",
        ),
        (
            "negative rows",
            long(raw(-1, &[(0, 0), (0, 8)], eight)),
            "-1 rows",
        ),
        (
            "negative node",
            long(raw(1, &[(0, 0), (0, 8)], eight).nodes(&[(-1, 0)])),
            "-1 values",
        ),
        (
            "endless node",
            long(raw(1, &[(0, 0), (0, 8)], eight).nodes(&[(i64::MAX, 0)])),
            "needs",
        ),
        (
            "node of other rows",
            long(raw(2, &[(0, 0), (0, 8)], eight).nodes(&[(1, 0)])),
            "cannot decode",
        ),
        (
            "negative NULLs",
            long(raw(1, &[(0, 0), (0, 8)], eight).nodes(&[(1, -1)])),
            "-1 NULLs",
        ),
        (
            "more NULLs than values",
            long(raw(1, &[(0, 0), (0, 8)], eight).nodes(&[(1, 2)])),
            "2 NULLs",
        ),
        (
            "NULLs without validity",
            long(raw(1, &[(0, 0), (0, 8)], eight).nodes(&[(1, 1)])),
            "validity",
        ),
        (
            "NULLs that are none",
            two(Raw {
                nodes: vec![(1, 1), (1, 0)],
                ..raw(1, &[(0, 8), (8, 8), (0, 0), (16, 8)], &[255; 24])
            }),
            "cannot decode",
        ),
        (
            "no node",
            long(raw(1, &[(0, 0), (0, 8)], eight).nodes(&[])),
            "fewer arrays",
        ),
        (
            "a node too many",
            long(raw(1, &[(0, 0), (0, 8)], eight).nodes(&[(1, 0), (1, 0)])),
            "fewer arrays",
        ),
        (
            "a buffer too few",
            long(raw(1, &[(0, 0)], eight)),
            "fewer buffers",
        ),
        (
            "a buffer too many",
            long(raw(1, &[(0, 0), (0, 8), (0, 0)], eight)),
            "fewer buffers",
        ),
        (
            "shared buffer",
            two(raw(1, &[(0, 0), (0, 8), (0, 0), (0, 8)], eight).nodes(&[(1, 0), (1, 0)])),
            "share",
        ),
        (
            "a buffer within another, beside bytes that none has",
            two(raw(1, &[(0, 0), (0, 8), (0, 0), (4, 8)], &[7; 32]).nodes(&[(1, 0), (1, 0)])),
            "share the byte at 4",
        ),
        (
            "the same buffer twice in a body with room for two",
            two(raw(1, &[(0, 0), (8, 8), (0, 0), (8, 8)], &[7; 32]).nodes(&[(1, 0), (1, 0)])),
            "share the byte at 8",
        ),
        (
            "a later buffer that reaches into an earlier",
            two(raw(1, &[(0, 0), (16, 8), (0, 0), (8, 16)], &[7; 32]).nodes(&[(1, 0), (1, 0)])),
            "share the byte at 16",
        ),
        (
            "offsets that are the text too",
            text(raw(1, &[(0, 0), (0, 8), (4, 3)], &[0; 64])),
            "share the byte at 4",
        ),
        (
            "validity that is the values too",
            long(raw(1, &[(0, 1), (0, 8)], &[1; 64])),
            "share the byte at 0",
        ),
        (
            "shared ZSTD buffer",
            two(raw(
                1,
                &[(0, 0), (0, 64), (0, 0), (0, 64)],
                &prefixed(8, &[0; 56]),
            )
            .nodes(&[(1, 0), (1, 0)])
            .codec(ZSTD)),
            "share",
        ),
        (
            "offsets of odd length",
            text(raw(1, &[(0, 0), (0, 9), (9, 3)], &[0; 12])),
            "offsets",
        ),
        (
            "offsets too few",
            text(raw(3, &[(0, 0), (0, 8), (8, 4)], &[0; 12])),
            "needs 16",
        ),
        (
            "offsets past the text",
            text(text_of(&[0, 9], b"abc")),
            "cannot decode",
        ),
        (
            "offsets that decrease",
            text(text_of(&[0, 3, 1, 3], b"abc")),
            "cannot decode",
        ),
        (
            "negative offsets",
            text(text_of(&[-1, 3], b"abc")),
            "cannot decode",
        ),
        (
            "text that is no UTF-8",
            text(text_of(&[0, 2], &[0xc3, 0x28])),
            "is not UTF-8",
        ),
        (
            "large text that is no UTF-8",
            (
                columns(&[("s", D::LargeUtf8)]),
                raw(
                    1,
                    &[(0, 0), (0, 16), (16, 2)],
                    &[&[0; 8][..], &[2, 0, 0, 0, 0, 0, 0, 0, 0xc3, 0x28]].concat(),
                ),
            ),
            "is not UTF-8",
        ),
        (
            "a view of no UTF-8",
            view(raw(1, &[(0, 0), (0, 16)], &short_view([0xc3, 0x28])).views(&[0])),
            "is not UTF-8",
        ),
        (
            "a view that begins otherwise than its string",
            view(
                raw(
                    1,
                    &[(0, 0), (0, 16), (16, 16)],
                    &[long_view(16, *b"abcd"), vec![b'x'; 16]].concat(),
                )
                .views(&[1]),
            ),
            "cannot decode",
        ),
        (
            "lists that go back",
            (
                columns(&[("a", D::List(list_of(D::Int32)))]),
                raw(
                    2,
                    &[(0, 0), (0, 12), (0, 0), (12, 8)],
                    &little(&[0, 2, 1, 7, 7]),
                )
                .nodes(&[(2, 0), (2, 0)]),
            ),
            "cannot decode",
        ),
        (
            "lists past their values",
            (
                columns(&[("a", D::List(list_of(D::Int32)))]),
                raw(1, &[(0, 0), (0, 8), (0, 0), (8, 8)], &little(&[0, 9, 7, 7]))
                    .nodes(&[(1, 0), (2, 0)]),
            ),
            "cannot decode",
        ),
        (
            "views that share",
            view(shared_views.views(&[1])),
            "views of a batch show",
        ),
        (
            "views without count",
            view(raw(0, &[(0, 0), (0, 0)], &[])),
            "fewer buffers",
        ),
        (
            "views of a negative count",
            view(raw(0, &[(0, 0), (0, 0)], &[]).views(&[-1])),
            "fewer buffers",
        ),
        (
            "views of an endless count",
            view(raw(0, &[(0, 0), (0, 0)], &[]).views(&[i64::MAX])),
            "fewer buffers",
        ),
        (
            "view counts too many",
            view(raw(0, &[(0, 0), (0, 0)], &[]).views(&[0, 0])),
            "fewer buffers",
        ),
        (
            "view into no buffer",
            view(raw(1, &[(0, 0), (0, 16)], &one_view).views(&[0])),
            "cannot decode",
        ),
        (
            "compressed views",
            view(
                raw(1, &[(0, 0), (0, 24)], &prefixed(-1, &one_view))
                    .views(&[0])
                    .codec(LZ4),
            ),
            "views in a compressed",
        ),
        (
            "LZ4 to 64 GiB",
            long(lying(LZ4, 64 * GIB)),
            "more than LZ4 can",
        ),
        (
            "LZ4 to 1 TiB",
            long(lying(LZ4, 1024 * GIB)),
            "more than LZ4 can",
        ),
        (
            "LZ4 to all there is",
            long(lying(LZ4, i64::MAX)),
            "more than LZ4 can",
        ),
        ("LZ4 to -2", long(lying(LZ4, -2)), "decompress to -2"),
        ("not LZ4", long(lying(LZ4, 8)), "cannot decode"),
        (
            "ZSTD to 1 TiB",
            long(lying(ZSTD, 1024 * GIB)),
            "when decompressed",
        ),
        (
            "ZSTD to all there is",
            long(lying(ZSTD, i64::MAX)),
            "when decompressed",
        ),
        (
            "ZSTD to 512 MiB",
            long(lying(ZSTD, GIB / 2)),
            "when decompressed",
        ),
        ("ZSTD to -2", long(lying(ZSTD, -2)), "decompress to -2"),
        ("not ZSTD", long(lying(ZSTD, 8)), "cannot decode"),
        (
            "buffer too short for its prefix",
            long(raw(1, &[(0, 0), (0, 3)], eight).codec(ZSTD)),
            "too few for its length",
        ),
        (
            "unknown codec",
            long(raw(1, &[(0, 0), (0, 8)], eight).codec(CompressionType(7))),
            "unknown codec",
        ),
        (
            "endless NULLs",
            (
                columns(&[("n", D::Null)]),
                raw(huge, &[], &[]).nodes(&[(huge, huge)]),
            ),
            "may take no bytes",
        ),
        (
            "endless rows of nothing",
            (Schema::empty(), raw(huge, &[], &[]).nodes(&[])),
            "1099511627776",
        ),
        (
            "endless empty structs",
            (columns(&[("j", empty_struct())]), raw(huge, &[(0, 0)], &[])),
            "may take no bytes",
        ),
        (
            "endless lists",
            (
                columns(&[("a", lists(i32::MAX))]),
                raw(huge, &[(0, 0), (0, 0), (0, 0)], &[]).nodes(&[(huge, 0), (0, 0)]),
            ),
            "may take no bytes",
        ),
        (
            "an array of more than PostgreSQL's 134,217,727 elements",
            (
                columns(&[("a", D::List(list_of(D::Null)))]),
                raw(1, &[(0, 0), (0, 8)], &little(&[0, 1 << 27]))
                    .nodes(&[(1, 0), (1 << 27, 1 << 27)]),
            ),
            "may take no bytes",
        ),
        (
            "lists longer than their values",
            (
                columns(&[("a", lists(3))]),
                raw(2, &[(0, 0), (0, 0), (0, 4)], eight).nodes(&[(2, 0), (1, 0)]),
            ),
            "cannot decode",
        ),
        (
            "struct longer than its child",
            (
                columns(&[("j", int_pair())]),
                raw(2, &[(0, 0), (0, 0), (0, 4)], eight).nodes(&[(2, 0), (1, 0)]),
            ),
            "cannot decode",
        ),
    ];
    let cases = cases.into_iter().map(|(what, (schema, raw), part)| {
        (what, vec![schema_message(&schema), raw.batch()], part)
    });
    check(cases.collect()).await;
}
