//! `CommandGetXdbcTypeInfo`: the types of columns, as ODBC and JDBC describe them.

use std::sync::LazyLock;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use arrow_flight::error::FlightError;
use arrow_flight::sql::metadata::{XdbcTypeInfo, XdbcTypeInfoData, XdbcTypeInfoDataBuilder};
use arrow_flight::sql::{
    CommandGetXdbcTypeInfo, Nullable, Searchable, XdbcDataType, XdbcDatetimeSubcode,
};

use crate::error::{Error, Result};
use crate::flight::sql::answer::unmade;

/// A type by its short name and its name in standard SQL.
struct Named(&'static str, &'static str);

static TYPES: LazyLock<Result<XdbcTypeInfoData, FlightError>> = LazyLock::new(|| {
    let mut types = XdbcTypeInfoDataBuilder::new();
    for info in numbers().into_iter().chain(texts()).chain(times()) {
        types.append(info);
    }
    types.build()
});

fn numbers() -> Vec<XdbcTypeInfo> {
    use XdbcDataType as X;
    let number = |name, data_type, size, radix| XdbcTypeInfo {
        unsigned_attribute: Some(false),
        auto_increment: Some(false),
        num_prec_radix: Some(radix),
        ..info(name, data_type, size)
    };
    let integer = |name, data_type, size| XdbcTypeInfo {
        fixed_prec_scale: true,
        minimum_scale: Some(0),
        maximum_scale: Some(0),
        ..number(name, data_type, size, 10)
    };
    vec![
        info(Named("bool", "boolean"), X::XdbcBit, 1),
        integer(Named("int2", "smallint"), X::XdbcSmallint, 5),
        integer(Named("int4", "integer"), X::XdbcInteger, 10),
        integer(Named("int8", "bigint"), X::XdbcBigint, 19),
        number(Named("float4", "real"), X::XdbcReal, 24, 2),
        number(Named("float8", "double precision"), X::XdbcDouble, 53, 2),
        XdbcTypeInfo {
            create_params: Some(vec!["precision".to_owned(), "scale".to_owned()]),
            minimum_scale: Some(0),
            maximum_scale: Some(1000),
            ..number(Named("numeric", "numeric"), X::XdbcNumeric, 1000, 10)
        },
    ]
}

/// The largest value of PostgreSQL has a gigabyte.
const MAX_BYTES: i32 = 1_073_741_823;
/// The largest length that a column of characters can have.
const MAX_LENGTH: i32 = 10_485_760;

fn texts() -> Vec<XdbcTypeInfo> {
    use XdbcDataType as X;
    let text = |name, data_type, size| XdbcTypeInfo {
        case_sensitive: true,
        ..quoted(info(name, data_type, size))
    };
    let sized = |name, data_type| XdbcTypeInfo {
        create_params: Some(vec!["length".to_owned()]),
        ..text(name, data_type, MAX_LENGTH)
    };
    vec![
        text(Named("text", "text"), X::XdbcLongvarchar, MAX_BYTES),
        sized(Named("varchar", "character varying"), X::XdbcVarchar),
        sized(Named("bpchar", "character"), X::XdbcChar),
        text(Named("json", "json"), X::XdbcUnknownType, MAX_BYTES),
        text(Named("jsonb", "jsonb"), X::XdbcUnknownType, MAX_BYTES),
        quoted(info(Named("uuid", "uuid"), X::XdbcUnknownType, 36)),
        quoted(info(Named("bytea", "bytea"), X::XdbcVarbinary, MAX_BYTES)),
    ]
}

fn times() -> Vec<XdbcTypeInfo> {
    use {XdbcDataType as X, XdbcDatetimeSubcode as Code};
    let time = |name, data_type, size, code| XdbcTypeInfo {
        sql_data_type: X::XdbcDatetime,
        datetime_subcode: Some(code),
        ..quoted(info(name, data_type, size))
    };
    let precise = |name, data_type, size, code| XdbcTypeInfo {
        create_params: Some(vec!["precision".to_owned()]),
        minimum_scale: Some(0),
        maximum_scale: Some(6),
        ..time(name, data_type, size, code)
    };
    vec![
        // The code of a date is 1, which Arrow calls that of a year.
        time(
            Named("date", "date"),
            X::XdbcDate,
            10,
            Code::XdbcSubcodeYear,
        ),
        precise(
            Named("time", "time without time zone"),
            X::XdbcTime,
            15,
            Code::XdbcSubcodeTime,
        ),
        precise(
            Named("timestamp", "timestamp without time zone"),
            X::XdbcTimestamp,
            26,
            Code::XdbcSubcodeTimestamp,
        ),
        precise(
            Named("timestamptz", "timestamp with time zone"),
            X::XdbcTimestamp,
            32,
            Code::XdbcSubcodeTimestampWithTimezone,
        ),
        quoted(info(Named("interval", "interval"), X::XdbcInterval, 49)),
    ]
}

fn quoted(info: XdbcTypeInfo) -> XdbcTypeInfo {
    XdbcTypeInfo {
        literal_prefix: Some("'".to_owned()),
        literal_suffix: Some("'".to_owned()),
        ..info
    }
}

fn info(Named(short, standard): Named, data_type: XdbcDataType, size: i32) -> XdbcTypeInfo {
    XdbcTypeInfo {
        type_name: short.to_owned(),
        data_type,
        column_size: Some(size),
        nullable: Nullable::NullabilityNullable,
        searchable: Searchable::Full,
        local_type_name: Some(standard.to_owned()),
        sql_data_type: data_type,
        ..XdbcTypeInfo::default()
    }
}

/// Returns the types with this code of XDBC, or all, ordered by code and name.
pub(in crate::flight::sql) fn types(command: &CommandGetXdbcTypeInfo) -> Result<RecordBatch> {
    let types = match &*TYPES {
        Ok(types) => types,
        Err(error) => return Err(Error::internal(format!("cannot make an answer: {error}"))),
    };
    types.record_batch(command.data_type).map_err(unmade)
}

/// Returns the schema of the answer to [`types`].
pub(in crate::flight::sql) fn types_schema() -> SchemaRef {
    XdbcTypeInfoDataBuilder::new().schema()
}
