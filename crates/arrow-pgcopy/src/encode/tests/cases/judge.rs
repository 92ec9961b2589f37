//! Decides whether PostgreSQL's receive function of a type accepts bytes. It is written from the sources of the
//! receive functions (`src/backend/utils/adt`), not from the encoder.

use crate::format::{END_DATE, END_TIMESTAMP, MIN_DATE, MIN_TIMESTAMP};
use crate::table::Modifier;
use crate::{PgType, PgTypeKind as K};

type Judged = Result<(), String>;

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8], String> {
        let (head, tail) = self.0.split_at_checked(count).ok_or("too short")?;
        self.0 = tail;
        Ok(head)
    }

    fn i16(&mut self) -> Result<i16, String> {
        Ok(i16::from_be_bytes(self.take(2)?.try_into().unwrap()))
    }

    fn i32(&mut self) -> Result<i32, String> {
        Ok(i32::from_be_bytes(self.take(4)?.try_into().unwrap()))
    }

    fn i64(&mut self) -> Result<i64, String> {
        Ok(i64::from_be_bytes(self.take(8)?.try_into().unwrap()))
    }

    /// Reads a value after its length; NULL is `None`.
    fn field(&mut self) -> Result<Option<&'a [u8]>, String> {
        match self.i32()? {
            -1 => Ok(None),
            length => Ok(Some(
                self.take(usize::try_from(length).map_err(|_| "length")?)?,
            )),
        }
    }

    fn end(self) -> Judged {
        ensure(self.0.is_empty(), "bytes are left")
    }
}

fn ensure(holds: bool, problem: &str) -> Judged {
    if holds {
        Ok(())
    } else {
        Err(problem.to_owned())
    }
}

fn length(bytes: &[u8], expected: usize) -> Judged {
    ensure(bytes.len() == expected, "wrong length")
}

fn utf8(bytes: &[u8]) -> Result<&str, String> {
    ensure(!bytes.contains(&0), "NUL in text")?;
    std::str::from_utf8(bytes).map_err(|error| error.to_string())
}

/// Judges one field that is not NULL.
pub(crate) fn judge(ty: &PgType, typmod: i32, bytes: &[u8]) -> Judged {
    let (ty, typmod) = ty.resolve(typmod);
    let modifier = Modifier::of(ty, typmod);
    let mut r = Reader(bytes);
    match &ty.kind {
        K::Bool => ensure(matches!(bytes, [0 | 1]), "no boolean"),
        K::Int2 => length(bytes, 2),
        K::Int4 | K::Oid | K::Float4 => length(bytes, 4),
        K::Int8 | K::Xid8 | K::Float8 | K::Money { .. } => length(bytes, 8),
        K::Point => length(bytes, 16),
        // `macaddr8_recv` widens six bytes.
        K::Macaddr8 => ensure(matches!(bytes.len(), 6 | 8), "wrong length"),
        K::Macaddr => length(bytes, 6),
        K::Uuid => length(bytes, 16),
        K::Interval => length(bytes, 16),
        K::Bytea | K::Geometry | K::Other => Ok(()),
        K::Numeric => numeric(r, modifier),
        K::Date => {
            let day = r.i32()?;
            let infinite = matches!(day, i32::MIN | i32::MAX);
            ensure(
                infinite || (MIN_DATE..END_DATE).contains(&day),
                "date out of range",
            )?;
            r.end()
        }
        K::Time => {
            time_of_day(r.i64()?, modifier)?;
            r.end()
        }
        K::Timetz => {
            time_of_day(r.i64()?, modifier)?;
            // MAX_TZDISP_HOUR of datatype/timestamp.h is 15.
            ensure(r.i32()?.abs() < 16 * 3600, "zone out of range")?;
            r.end()
        }
        K::Timestamp | K::Timestamptz => {
            let micros = r.i64()?;
            let infinite = matches!(micros, i64::MIN | i64::MAX);
            let in_range = (MIN_TIMESTAMP..END_TIMESTAMP).contains(&micros);
            ensure(infinite || in_range, "timestamp out of range")?;
            ensure(
                infinite || keeps(micros, modifier),
                "digits that the column would round",
            )?;
            r.end()
        }
        K::Text | K::Json => utf8(bytes).map(drop),
        K::Name => {
            ensure(bytes.len() < 64, "name too long")?;
            utf8(bytes).map(drop)
        }
        K::Varchar | K::Bpchar => {
            let text = utf8(bytes)?;
            let count = text.trim_end_matches(' ').chars().count();
            if let Modifier::Length(most) = modifier {
                ensure(
                    count <= usize::try_from(most).unwrap(),
                    "too many characters",
                )?;
            }
            Ok(())
        }
        K::Jsonb | K::VersionedText => {
            ensure(r.take(1)? == [1], "wrong version")?;
            utf8(r.0).map(drop)
        }
        K::Bit | K::Varbit => {
            let bits = usize::try_from(r.i32()?).map_err(|_| "bits below zero")?;
            let data = r.take(bits.div_ceil(8))?;
            let unused = data.len() * 8 - bits;
            let clean = data
                .last()
                .is_none_or(|last| last.trailing_zeros() as usize >= unused);
            ensure(clean, "padding bits are set")?;
            if let Modifier::Length(most) = modifier {
                let most = usize::try_from(most).unwrap();
                let exact = matches!(ty.kind, K::Bit);
                ensure(
                    if exact { bits == most } else { bits <= most },
                    "wrong number of bits",
                )?;
            }
            r.end()
        }
        K::Inet | K::Cidr => address(r, matches!(ty.kind, K::Cidr)),
        K::Enum(labels) => {
            let label = utf8(bytes)?;
            ensure(labels.iter().any(|known| known == label), "no label")
        }
        K::Array(element) => array(r, element, typmod),
        K::Composite(attributes) => {
            let count = usize::try_from(r.i32()?).map_err(|_| "count")?;
            ensure(count == attributes.len(), "wrong number of attributes")?;
            for attribute in attributes {
                ensure(
                    r.take(4)? == attribute.ty.oid.to_be_bytes(),
                    "wrong attribute type",
                )?;
                if let Some(value) = r.field()? {
                    judge(&attribute.ty, attribute.typmod, value)?;
                }
            }
            r.end()
        }
        K::Range(subtype) => range(r, subtype),
        K::Multirange(subtype) => {
            for _ in 0..r.i32()? {
                range(Reader(r.field()?.ok_or("NULL in a multirange")?), subtype)?;
            }
            r.end()
        }
        K::Hstore => {
            for _ in 0..r.i32()? {
                utf8(r.field()?.ok_or("NULL key")?)?;
                r.field()?.map(utf8).transpose()?;
            }
            r.end()
        }
        K::Vector | K::Halfvec => {
            let count = usize::try_from(r.i16()?).map_err(|_| "count")?;
            ensure(count > 0 && r.i16()? == 0, "no vector")?;
            if let Modifier::Length(expected) = modifier {
                ensure(
                    count == usize::try_from(expected).unwrap(),
                    "wrong number of elements",
                )?;
            }
            for _ in 0..count {
                let finite = if ty.kind == K::Vector {
                    f32::from_be_bytes(r.take(4)?.try_into().unwrap()).is_finite()
                } else {
                    // An exponent of all ones is an infinity or NaN.
                    r.i16()? & 0x7c00 != 0x7c00
                };
                ensure(finite, "not finite")?;
            }
            r.end()
        }
        K::Sparsevec => sparse(r, modifier),
        K::Domain { .. } => Err("a domain is resolved".to_owned()),
    }
}

/// `sparsevec_recv` of pgvector: indices rise, elements are not zero.
fn sparse(mut r: Reader<'_>, modifier: Modifier) -> Judged {
    let (dimensions, count) = (r.i32()?, r.i32()?);
    ensure(dimensions > 0 && r.i32()? == 0, "no sparse vector")?;
    ensure((0..=dimensions.min(16_000)).contains(&count), "elements")?;
    if let Modifier::Length(expected) = modifier {
        ensure(
            u32::try_from(dimensions) == Ok(expected),
            "wrong number of elements",
        )?;
    }
    let mut before = -1;
    for _ in 0..count {
        let index = r.i32()?;
        ensure(before < index && index < dimensions, "index")?;
        before = index;
    }
    for _ in 0..count {
        let value = f32::from_be_bytes(r.take(4)?.try_into().unwrap());
        ensure(value.is_finite() && value != 0.0, "element")?;
    }
    r.end()
}

/// Checks that a count of microseconds has no more digits than the column keeps.
fn keeps(micros: i64, modifier: Modifier) -> bool {
    if let Modifier::Precision(digits) = modifier {
        micros % 10_i64.pow(6 - u32::from(digits)) == 0
    } else {
        true
    }
}

fn time_of_day(micros: i64, modifier: Modifier) -> Judged {
    ensure((0..=86_400_000_000).contains(&micros), "time out of range")?;
    ensure(
        keeps(micros, modifier),
        "digits that the column would round",
    )
}

/// Judges as `numeric_recv` does, and checks the column's modifier, to which PostgreSQL would round.
fn numeric(mut r: Reader<'_>, modifier: Modifier) -> Judged {
    let count = usize::try_from(r.i16()?).map_err(|_| "digits below zero")?;
    let weight = i32::from(r.i16()?);
    let sign = u16::from_be_bytes(r.take(2)?.try_into().unwrap());
    let scale = i32::from(r.i16()?);
    ensure(
        matches!(sign, 0 | 0x4000 | 0xc000 | 0xd000 | 0xf000),
        "no sign",
    )?;
    ensure((0..=0x3fff).contains(&scale), "scale out of range")?;
    let digits = (0..count).map(|_| r.i16()).collect::<Result<Vec<_>, _>>()?;
    ensure(
        digits.iter().all(|digit| (0..10_000).contains(digit)),
        "no digit",
    )?;
    // PostgreSQL silently cuts digits below the scale (`trunc_var`).
    let text: String = digits.iter().map(|digit| format!("{digit:04}")).collect();
    let before_point = (weight + 1) * 4;
    let kept = i32::try_from(text.trim_end_matches('0').len()).unwrap() - before_point;
    ensure(kept <= scale, "digits beyond the scale")?;
    if let Modifier::Numeric { precision, scale } = modifier {
        // PostgreSQL accepts no infinity in a column with a modifier.
        ensure(!matches!(sign, 0xd000 | 0xf000), "infinite")?;
        let leading = text.len() - text.trim_start_matches('0').len();
        let whole = before_point - i32::try_from(leading).unwrap();
        let zero = text.chars().all(|digit| digit == '0');
        ensure(zero || kept <= scale, "digits that the column would round")?;
        ensure(
            zero || whole <= precision - scale,
            "too large for the column",
        )?;
    }
    r.end()
}

/// `network_recv`.
fn address(mut r: Reader<'_>, is_cidr: bool) -> Judged {
    let [family, bits, cidr, count] = r.take(4)?.try_into().unwrap();
    let expected = match family {
        2 => 4,
        3 => 16,
        _ => return Err("no family".to_owned()),
    };
    ensure(
        count == expected && bits <= expected * 8,
        "wrong address size",
    )?;
    ensure(!is_cidr || cidr == 1, "no cidr")?;
    let address = r.take(usize::from(count))?;
    let host = (usize::from(bits)..address.len() * 8)
        .any(|bit| address[bit / 8] & (0x80 >> (bit % 8)) != 0);
    ensure(!is_cidr || !host, "host bits are set")?;
    r.end()
}

/// `array_recv`: at most `MAXDIM` = 6 dimensions.
fn array(mut r: Reader<'_>, element: &PgType, typmod: i32) -> Judged {
    let dimensions = r.i32()?;
    ensure((0..=6).contains(&dimensions), "dimensions")?;
    let flags = r.i32()?;
    ensure(matches!(flags, 0 | 1), "flags")?;
    ensure(
        r.take(4)? == element.oid.to_be_bytes(),
        "wrong element type",
    )?;
    let mut count = i32::from(dimensions > 0);
    for _ in 0..dimensions {
        let size = r.i32()?;
        ensure(size > 0 && r.i32()? == 1, "dimension")?;
        count = count.checked_mul(size).ok_or("too many elements")?;
    }
    for _ in 0..count {
        match r.field()? {
            Some(value) => judge(element, typmod, value)?,
            None => ensure(flags == 1, "NULL without the flag")?,
        }
    }
    r.end()
}

/// `range_recv`: flags as in utils/rangetypes.h.
fn range(mut r: Reader<'_>, subtype: &PgType) -> Judged {
    let [flags] = r.take(1)?.try_into().unwrap();
    ensure(flags & !0x1f == 0, "flags")?;
    for infinite in [0x08, 0x10] {
        // An empty range has no bounds.
        if flags & (0x01 | infinite) == 0 {
            judge(subtype, -1, r.field()?.ok_or("NULL bound")?)?;
        }
    }
    r.end()
}

/// A row of fields, `None` for NULL.
pub(crate) type Tuple = Vec<Option<Vec<u8>>>;

/// Parses the tuples of a stream.
pub(crate) fn parse(mut bytes: &[u8]) -> Vec<Tuple> {
    fn take<'a>(bytes: &mut &'a [u8], n: usize) -> &'a [u8] {
        let (head, tail) = bytes.split_at(n);
        *bytes = tail;
        head
    }
    let mut tuples = Vec::new();
    while !bytes.is_empty() {
        let fields = i16::from_be_bytes(take(&mut bytes, 2).try_into().unwrap());
        let tuple = (0..fields).map(|_| {
            let length = i32::from_be_bytes(take(&mut bytes, 4).try_into().unwrap());
            let length = if length == -1 {
                None
            } else {
                Some(usize::try_from(length).unwrap())
            };
            length.map(|n| take(&mut bytes, n).to_vec())
        });
        tuples.push(tuple.collect());
    }
    tuples
}
