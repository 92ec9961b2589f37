//! Every Arrow type that the wire carries, with values of it and the same values in SQL.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::*;
use arrow::array::{MapBuilder, StringBuilder};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, Fields, IntervalUnit, TimeUnit};
use arrow::datatypes::{IntervalDayTime, IntervalMonthDayNano};

use super::super::every_type::{CAST, Case, ENCODED};

/// An Arrow type and some values of it.
pub(crate) struct Source {
    /// The name on the page.
    pub(crate) name: String,
    /// An extension type of Arrow.
    pub(crate) extension: Option<&'static str>,
    pub(crate) values: Values,
}

pub(crate) enum Values {
    /// The same values for any column, and their literals of this SQL type; an empty literal is NULL.
    Scalar(ArrayRef, &'static str, Vec<&'static str>),
    /// Text that the column's type is parsed from, in a layout.
    Text(fn(StringArray) -> ArrayRef),
    /// Lists of three such texts, in a layout.
    TextLists(fn(StringArray) -> ArrayRef),
    /// Bytes in a layout: the number that the column's type takes, or a given number.
    Binary(Option<usize>, fn(BinaryArray) -> ArrayRef),
    /// Nested values, and literals for each type that accepts them, by its name on the page.
    Nested(ArrayRef, Vec<(&'static str, Vec<&'static str>)>),
}

impl Source {
    pub(crate) fn field(&self, name: &str, data_type: &DataType) -> Field {
        let field = Field::new(name, data_type.clone(), true);
        match self.extension {
            Some(extension) => {
                let key = "ARROW:extension:name".to_owned();
                field.with_metadata(HashMap::from([(key, extension.to_owned())]))
            }
            None => field,
        }
    }

    /// The type alone, for the plan.
    pub(crate) fn data_type(&self) -> DataType {
        match &self.values {
            Values::Scalar(array, ..) | Values::Nested(array, _) => array.data_type().clone(),
            Values::Text(layout) => layout(StringArray::from(vec![""])).data_type().clone(),
            Values::TextLists(layout) => layout(StringArray::from(vec![""; 3])).data_type().clone(),
            Values::Binary(width, layout) => {
                let blob = vec![0; width.unwrap_or(16)];
                let blobs = BinaryArray::from_vec(vec![&blob]);
                layout(blobs).data_type().clone()
            }
        }
    }
}

/// Text that a type is parsed from, by its name on the page.
pub(crate) fn texts(target: &str) -> &'static [&'static str] {
    let name = match target {
        "char" => "char(3)",
        "varchar" => "varchar(5)",
        "bit" => "bit(3)",
        "enum" => "mood",
        "composite" => return &["(7,\"a b\")", "(,)"],
        "text[]" => return &["{a,NULL,\"b c\"}", "{}"],
        "integer[]" => return &["{{1,2},{3,4}}", "{NULL}"],
        "composite[]" => return &["{\"(k,v)\"}"],
        "vector" | "halfvec" => return &["[1,-2.5]"],
        "sparsevec" => return &["{1:1.5}/2"],
        target => target,
    };
    let of = |cases: &'static [Case]| cases.iter().find(|(ty, _)| *ty == name);
    let case = of(ENCODED).or_else(|| of(CAST));
    case.unwrap_or_else(|| panic!("no text for {target}")).1
}

fn scalar(
    name: &str,
    array: impl Array + 'static,
    ty: &'static str,
    sql: &[&'static str],
) -> Source {
    Source {
        name: name.to_owned(),
        extension: None,
        values: Values::Scalar(Arc::new(array), ty, sql.to_vec()),
    }
}

fn nested(
    name: &str,
    array: impl Array + 'static,
    documents: &[&'static str],
    others: &[(&'static str, &[&'static str])],
) -> Source {
    let documents = [("json", documents), ("jsonb", documents)];
    let others = documents.iter().chain(others);
    Source {
        name: name.to_owned(),
        extension: None,
        values: Values::Nested(
            Arc::new(array),
            others
                .map(|(target, sql)| (*target, sql.to_vec()))
                .collect(),
        ),
    }
}

pub(crate) fn sources() -> Vec<Source> {
    let mut all = numbers();
    all.extend(times());
    all.extend(text_and_bytes());
    all.extend(lists());
    all.extend(others());
    all
}

fn numbers() -> Vec<Source> {
    let integers = Int32Array::from(vec![Some(1), Some(0), None, Some(100)]);
    let of = |name: &str, data_type: &DataType| {
        let array = cast(&integers, data_type).unwrap();
        let values = Values::Scalar(array, "bigint", vec!["1", "0", "", "100"]);
        Source {
            name: name.to_owned(),
            extension: None,
            values,
        }
    };
    use DataType as D;
    let mut all = vec![scalar("null", NullArray::new(2), "text", &["", ""])];
    let flags = BooleanArray::from(vec![Some(true), Some(false), None]);
    all.push(scalar("bool", flags, "boolean", &["t", "f", ""]));
    for (name, data_type) in [
        ("int8", D::Int8),
        ("int16", D::Int16),
        ("int32", D::Int32),
        ("int64", D::Int64),
        ("uint8", D::UInt8),
        ("uint16", D::UInt16),
        ("uint32", D::UInt32),
        ("uint64", D::UInt64),
    ] {
        all.push(of(name, &data_type));
    }
    all.push(Source {
        extension: Some("arrow.bool8"),
        ..of("arrow.bool8", &D::Int8)
    });
    let floats = Float32Array::from(vec![Some(-2.0), None, Some(1.5), Some(0.25)]);
    for (name, data_type, ty) in [
        ("float16", D::Float16, "real"),
        ("float32", D::Float32, "real"),
        ("float64", D::Float64, "double precision"),
    ] {
        let array = cast(&floats, &data_type).unwrap();
        let values = Values::Scalar(array, ty, vec!["-2", "", "1.5", "0.25"]);
        all.push(Source {
            name: name.to_owned(),
            extension: None,
            values,
        });
    }
    let decimals = Decimal128Array::from(vec![Some(700), Some(-300), None, Some(125)]);
    let decimals = decimals.with_precision_and_scale(9, 2).unwrap();
    for (name, data_type) in [
        ("decimal32", D::Decimal32(9, 2)),
        ("decimal64", D::Decimal64(18, 2)),
        ("decimal128", D::Decimal128(38, 2)),
        ("decimal256", D::Decimal256(76, 2)),
    ] {
        let array = cast(&decimals, &data_type).unwrap();
        let values = Values::Scalar(array, "numeric", vec!["7.00", "-3.00", "", "1.25"]);
        all.push(Source {
            name: name.to_owned(),
            extension: None,
            values,
        });
    }
    all
}

fn times() -> Vec<Source> {
    use DataType as D;
    use TimeUnit as U;
    let mut all = Vec::new();
    let days = Date32Array::from(vec![Some(16_070), Some(-1), None]);
    let dates = ["2013-12-31", "1969-12-31", ""];
    let millis = cast(&days, &D::Date64).unwrap();
    all.push(scalar("date32", days, "date", &dates));
    all.push(scalar(
        "date64",
        millis.as_ref().slice(0, 3),
        "date",
        &dates,
    ));
    let seconds = Time32SecondArray::from(vec![Some(45_000), Some(86_399), None]);
    for (name, data_type) in [
        ("time32[s]", D::Time32(U::Second)),
        ("time32[ms]", D::Time32(U::Millisecond)),
        ("time64[us]", D::Time64(U::Microsecond)),
        ("time64[ns]", D::Time64(U::Nanosecond)),
    ] {
        let array = cast(&seconds, &data_type).unwrap();
        let literals = ["12:30:00", "23:59:59", ""];
        all.push(scalar(name, array, "time", &literals));
    }
    // The first is midnight, local or in the zone of the conversion.
    let values = |first| vec![Some(first), Some(7), None, Some(1_372_681_800), Some(-1)];
    let seconds = TimestampSecondArray::from(values(0));
    let zoned_seconds = TimestampSecondArray::from(values(-7200)).with_timezone("UTC");
    let local = [
        "1970-01-01 00:00:00",
        "1970-01-01 00:00:07",
        "",
        "2013-07-01 12:30:00",
        "1969-12-31 23:59:59",
    ];
    let zoned = [
        "1969-12-31 22:00:00Z",
        "1970-01-01 00:00:07Z",
        "",
        "2013-07-01 12:30:00Z",
        "1969-12-31 23:59:59Z",
    ];
    let durations = DurationSecondArray::from(vec![Some(3723), None, Some(5)]);
    for (unit, of) in [
        ("s", U::Second),
        ("ms", U::Millisecond),
        ("us", U::Microsecond),
        ("ns", U::Nanosecond),
    ] {
        let array = cast(&seconds, &D::Timestamp(of, None)).unwrap();
        all.push(scalar(
            &format!("timestamp[{unit}]"),
            array,
            "timestamp",
            &local,
        ));
        let array = cast(&zoned_seconds, &D::Timestamp(of, Some("UTC".into()))).unwrap();
        let name = format!("timestamp[{unit}, zone]");
        all.push(scalar(&name, array, "timestamptz", &zoned));
        let array = cast(&durations, &D::Duration(of)).unwrap();
        let literals = ["01:02:03", "", "00:00:05"];
        all.push(scalar(
            &format!("duration[{unit}]"),
            array,
            "interval",
            &literals,
        ));
    }
    let months = IntervalYearMonthArray::from(vec![Some(14), None]);
    assert_eq!(*months.data_type(), D::Interval(IntervalUnit::YearMonth));
    all.push(scalar(
        "month_interval",
        months,
        "interval",
        &["14 mons", ""],
    ));
    let days = IntervalDayTimeArray::from(vec![Some(IntervalDayTime::new(2, -500)), None]);
    let literals = ["2 days -00:00:00.5", ""];
    all.push(scalar("day_time_interval", days, "interval", &literals));
    let all_three = IntervalMonthDayNano::new(14, 3, 1_500_000_000);
    let all_three = IntervalMonthDayNanoArray::from(vec![Some(all_three), None]);
    let literals = ["14 mons 3 days 00:00:01.5", ""];
    all.push(scalar(
        "month_day_nano_interval",
        all_three,
        "interval",
        &literals,
    ));
    all
}

fn text_and_bytes() -> Vec<Source> {
    use DataType as D;
    let source = |name: &str, values| Source {
        name: name.to_owned(),
        extension: None,
        values,
    };
    fn dictionary(array: StringArray) -> ArrayRef {
        cast(
            &array,
            &DataType::Dictionary(D::Int32.into(), D::Utf8.into()),
        )
        .unwrap()
    }
    fn large(items: StringArray) -> ArrayRef {
        let item = Field::new("item", DataType::Utf8, true);
        let lists = list(items, &[Some(3), None]);
        cast(&lists, &DataType::LargeList(item.into())).unwrap()
    }
    fn fixed_lists(items: StringArray) -> ArrayRef {
        let item = Arc::new(Field::new("item", DataType::Utf8, true));
        let twice = items.iter().chain(items.iter()).collect::<StringArray>();
        let valid = NullBuffer::from(vec![true, false]);
        Arc::new(FixedSizeListArray::new(
            item,
            3,
            Arc::new(twice),
            Some(valid),
        ))
    }
    fn fixed<const WIDTH: i32>(array: BinaryArray) -> ArrayRef {
        cast(&array, &D::FixedSizeBinary(WIDTH)).unwrap()
    }
    vec![
        source("string", Values::Text(|array| Arc::new(array))),
        source(
            "large_string",
            Values::Text(|array| cast(&array, &D::LargeUtf8).unwrap()),
        ),
        source(
            "string_view",
            Values::Text(|array| cast(&array, &D::Utf8View).unwrap()),
        ),
        source("dictionary of string", Values::Text(dictionary)),
        source(
            "list of string",
            Values::TextLists(|items| Arc::new(list(items, &[Some(3), None]))),
        ),
        source("large_list of string", Values::TextLists(large)),
        source("fixed_size_list of string", Values::TextLists(fixed_lists)),
        source("binary", Values::Binary(None, |array| Arc::new(array))),
        source(
            "large_binary",
            Values::Binary(None, |array| cast(&array, &D::LargeBinary).unwrap()),
        ),
        source(
            "binary_view",
            Values::Binary(None, |array| cast(&array, &D::BinaryView).unwrap()),
        ),
        source("fixed_size_binary[4]", Values::Binary(Some(4), fixed::<4>)),
        source("fixed_size_binary[6]", Values::Binary(Some(6), fixed::<6>)),
        source("fixed_size_binary[8]", Values::Binary(Some(8), fixed::<8>)),
        source(
            "fixed_size_binary[16]",
            Values::Binary(Some(16), fixed::<16>),
        ),
        Source {
            extension: Some("arrow.uuid"),
            ..source("arrow.uuid", Values::Binary(Some(16), fixed::<16>))
        },
    ]
}

/// Lists of these lengths; `None` is NULL.
fn list(items: impl Array + 'static, lengths: &[Option<usize>]) -> ListArray {
    let field = Arc::new(Field::new("item", items.data_type().clone(), true));
    let offsets = OffsetBuffer::from_lengths(lengths.iter().map(|n| n.unwrap_or(0)));
    let nulls = NullBuffer::from(lengths.iter().map(Option::is_some).collect::<Vec<_>>());
    ListArray::new(field, offsets, Arc::new(items), Some(nulls))
}

fn structure(fields: Vec<(&str, ArrayRef)>, valid: Vec<bool>) -> StructArray {
    let (names, arrays): (Vec<_>, Vec<_>) = fields.into_iter().unzip();
    let fields = names.iter().zip(&arrays);
    let fields = fields.map(|(name, array)| Field::new(*name, array.data_type().clone(), true));
    StructArray::new(fields.collect::<Fields>(), arrays, Some(valid.into()))
}

fn lists() -> Vec<Source> {
    let integers = Int32Array::from(vec![Some(1), Some(2), Some(3), Some(4)]);
    let flat = list(integers.clone(), &[Some(2), Some(2), None]);
    let deep = list(list(integers, &[Some(2), Some(2)]), &[Some(2), None]);
    let pairs: &[(&str, &[&str])] = &[
        ("integer[]", &["{1,2}", "{3,4}", ""]),
        ("vector", &["[1,2]", "[3,4]", ""]),
        ("halfvec", &["[1,2]", "[3,4]", ""]),
        ("sparsevec", &["{1:1,2:2}/2", "{1:3,2:4}/2", ""]),
    ];
    let floats = Float32Array::from(vec![1.0, -2.0, 0.0, 0.25]);
    let vectors: &[(&str, &[&str])] = &[
        ("vector", &["[1,-2]", "[0,0.25]", ""]),
        ("halfvec", &["[1,-2]", "[0,0.25]", ""]),
        ("sparsevec", &["{1:1,2:-2}/2", "{2:0.25}/2", ""]),
        ("point", &["(1,-2)", "(0,0.25)", ""]),
        ("integer[]", &["{1,-2}", "", ""]),
    ];
    let of_floats = ["[1.0,-2.0]", "[0.0,0.25]", ""];
    let of = |array: &Float32Array, data_type| {
        let items = cast(array, &data_type).unwrap();
        list(items, &[Some(2), Some(2), None])
    };
    let flags = BooleanArray::from(vec![true, false, true]);
    let bounds = |lower: Vec<Option<i32>>, upper: Vec<Option<i32>>, valid| {
        let bounds: [ArrayRef; 2] = [
            Arc::new(Int32Array::from(lower)),
            Arc::new(Int32Array::from(upper)),
        ];
        let [lower, upper] = bounds;
        structure(vec![("lower", lower), ("upper", upper)], valid)
    };
    let ranges = || {
        let (lower, upper) = (vec![Some(1), None, None], vec![Some(5), Some(7), None]);
        bounds(lower, upper, vec![true, true, false])
    };
    let in_lists = bounds(
        vec![Some(1), Some(5)],
        vec![Some(3), None],
        vec![true, true],
    );
    vec![
        nested("list of int32", flat, &["[1,2]", "[3,4]", ""], pairs),
        nested(
            "list of list of int32",
            deep,
            &["[[1,2],[3,4]]", ""],
            &[("integer[]", &["{{1,2},{3,4}}", ""])],
        ),
        nested(
            "list of float16",
            of(&floats, DataType::Float16),
            &of_floats,
            vectors,
        ),
        nested(
            "list of float32",
            of(&floats, DataType::Float32),
            &of_floats,
            vectors,
        ),
        nested(
            "list of float64",
            of(&floats, DataType::Float64),
            &of_floats,
            vectors,
        ),
        nested(
            "list of bool",
            list(flags, &[Some(3), None]),
            &["[true,false,true]", ""],
            &[("bit", &["101", ""]), ("varbit", &["101", ""])],
        ),
        nested(
            "struct of lower and upper",
            ranges(),
            &[
                "{\"lower\":1,\"upper\":5}",
                "{\"lower\":null,\"upper\":7}",
                "",
            ],
            &[("int4range", &["[1,5)", "(,7)", ""])],
        ),
        nested(
            "list of struct of lower and upper",
            list(in_lists, &[Some(2), None]),
            &[
                "[{\"lower\":1,\"upper\":3},{\"lower\":5,\"upper\":null}]",
                "",
            ],
            &[("int4multirange", &["{[1,3),[5,)}", ""])],
        ),
    ]
}

fn others() -> Vec<Source> {
    let ids: ArrayRef = Arc::new(Int32Array::from(vec![Some(7), None, None]));
    let words = |words: Vec<Option<&str>>| -> ArrayRef { Arc::new(StringArray::from(words)) };
    let names = words(vec![Some("a b"), None, None]);
    let row = structure(
        vec![("b", names.clone()), ("a", ids)],
        vec![true, true, false],
    );
    let floats = |values: Vec<f64>| -> ArrayRef { Arc::new(Float64Array::from(values)) };
    let point = structure(
        vec![
            ("x", floats(vec![1.5, 0.0])),
            ("y", floats(vec![-2.0, 0.0])),
        ],
        vec![true, false],
    );
    let texts = structure(vec![("k", names)], vec![true, true, false]);
    let mut strings = MapBuilder::new(None, StringBuilder::new(), StringBuilder::new());
    strings.keys().append_value("k");
    strings.values().append_value("v w");
    strings.append(true).unwrap();
    strings.append(false).unwrap();
    let mut numbers = MapBuilder::new(None, StringBuilder::new(), Int32Array::builder(1));
    numbers.keys().append_value("k");
    numbers.values().append_value(7);
    numbers.append(true).unwrap();
    numbers.append(false).unwrap();
    vec![
        nested(
            "struct of a and b",
            row,
            &["{\"b\":\"a b\",\"a\":7}", "{\"b\":null,\"a\":null}", ""],
            &[("composite", &["(7,\"a b\")", "(,)", ""])],
        ),
        nested(
            "struct of x and y",
            point,
            &["{\"x\":1.5,\"y\":-2.0}", ""],
            &[("point", &["(1.5,-2)", ""])],
        ),
        nested(
            "struct of strings",
            texts,
            &["{\"k\":\"a b\"}", "{\"k\":null}", ""],
            &[("hstore", &["k=>\"a b\"", "k=>NULL", ""])],
        ),
        nested(
            "map of string to string",
            strings.finish(),
            &["{\"k\":\"v w\"}", ""],
            &[
                ("hstore", &["k=>\"v w\"", ""]),
                ("composite[]", &["{\"(k,\\\"v w\\\")\"}", ""]),
            ],
        ),
        nested(
            "map of string to int32",
            numbers.finish(),
            &["{\"k\":7}", ""],
            &[],
        ),
        scalar(
            "dictionary of int64",
            cast(
                &Int64Array::from(vec![Some(1), Some(0), None]),
                &DataType::Dictionary(DataType::Int8.into(), DataType::Int64.into()),
            )
            .unwrap(),
            "bigint",
            &["1", "0", ""],
        ),
    ]
}
