//! Integers, and decimals that are whole, into integers and floats.

use arrow_array::types::{ArrowPrimitiveType, DecimalType};
use arrow_array::{ArrowNativeTypeOp, PrimitiveArray};
use arrow_buffer::i256;

use crate::encode::column::{BoxedColumn, fixed};
use crate::encode::problem::Problem;
use crate::plan::FieldPlan;

/// An integer that a decimal scale may belong to.
pub(crate) trait Unscaled: Copy + Send + Sync {
    /// The same in 64 bits, when it fits.
    fn small(self) -> Option<i64>;

    /// The same in any case.
    fn wide(self) -> i256;
}

macro_rules! small_integers {
    ($($native:ty),+) => {$(
        impl Unscaled for $native {
            #[inline]
            fn small(self) -> Option<i64> {
                self.try_into().ok()
            }

            fn wide(self) -> i256 {
                i256::from_i128(self.into())
            }
        }
    )+};
}

small_integers!(i8, i16, i32, i64, u8, u16, u32, u64);

impl Unscaled for i128 {
    #[inline]
    fn small(self) -> Option<i64> {
        self.try_into().ok()
    }

    fn wide(self) -> i256 {
        i256::from_i128(self)
    }
}

impl Unscaled for i256 {
    fn small(self) -> Option<i64> {
        self.to_i128()?.small()
    }

    fn wide(self) -> i256 {
        self
    }
}

/// Integers of any size and sign into integers, floats and numerics.
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "plan::mapping is the exhaustive table"
)]
pub(crate) fn integers<'a, T>(
    plan: &FieldPlan,
    array: &'a PrimitiveArray<T>,
) -> Result<BoxedColumn<'a>, Problem>
where
    T: ArrowPrimitiveType,
    T::Native: TryInto<i16> + TryInto<i32> + TryInto<i64> + TryInto<u32> + TryInto<u64>,
    T::Native: Into<i128>,
{
    /// `T` cast to `N`, or out of range.
    fn cast<T: TryInto<N>, N>(value: T) -> Result<N, Problem> {
        value.try_into().map_err(|_| Problem::OutOfRange)
    }
    Ok(match plan {
        FieldPlan::Int2 => fixed(array, |v| cast(v).map(i16::to_be_bytes)),
        FieldPlan::Int4 => fixed(array, |v| cast(v).map(i32::to_be_bytes)),
        FieldPlan::Int8 => fixed(array, |v| cast(v).map(i64::to_be_bytes)),
        FieldPlan::Oid => fixed(array, |v| cast(v).map(u32::to_be_bytes)),
        FieldPlan::Xid8 => fixed(array, |v| cast(v).map(u64::to_be_bytes)),
        FieldPlan::Float4 => fixed(array, |v| exact::<24>(v.into()).map(single)),
        FieldPlan::Float8 => fixed(array, |v| exact::<53>(v.into()).map(double)),
        _ => return Err(Problem::Unplanned),
    })
}

/// Decimals of any size into integers, when they are whole.
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "plan::mapping is the exhaustive table"
)]
pub(crate) fn decimals<'a, T>(
    plan: &FieldPlan,
    array: &'a PrimitiveArray<T>,
) -> Result<BoxedColumn<'a>, Problem>
where
    T: DecimalType + ArrowPrimitiveType,
    T::Native: Unscaled + PartialOrd,
{
    let scale = array.scale();
    let within = within_declared(array)?;
    let whole = move |v| whole(within(v)?.wide(), scale);
    Ok(match plan {
        FieldPlan::Int2 => fixed(array, move |v| {
            integer::<i16>(whole(v)?).map(i16::to_be_bytes)
        }),
        FieldPlan::Int4 => fixed(array, move |v| {
            integer::<i32>(whole(v)?).map(i32::to_be_bytes)
        }),
        FieldPlan::Int8 => fixed(array, move |v| {
            integer::<i64>(whole(v)?).map(i64::to_be_bytes)
        }),
        _ => return Err(Problem::Unplanned),
    })
}

/// The largest integer that a decimal array declares to have.
///
/// # Errors
/// A precision that Arrow does not know, which data from elsewhere may claim.
pub(crate) fn largest<T: DecimalType>(array: &PrimitiveArray<T>) -> Result<T::Native, Problem> {
    let declared = T::MAX_FOR_EACH_PRECISION.get(usize::from(array.precision()));
    declared.copied().ok_or(Problem::Unplanned)
}

/// A check that a value has no more digits than its array declares.
///
/// # Errors
/// As [`largest`].
pub(crate) fn within_declared<T>(
    array: &PrimitiveArray<T>,
) -> Result<impl Fn(T::Native) -> Result<T::Native, Problem> + Copy + Send + Sync + use<T>, Problem>
where
    T: DecimalType + ArrowPrimitiveType,
    T::Native: PartialOrd,
{
    let most = largest(array)?;
    let least = most.neg_wrapping();
    Ok(move |v: T::Native| {
        if least <= v && v <= most {
            Ok(v)
        } else {
            Err(Problem::BeyondDeclaredPrecision)
        }
    })
}

/// An integer whose significant bits fit the mantissa of a float.
fn exact<const BITS: u32>(value: i128) -> Result<i128, Problem> {
    let magnitude = value.unsigned_abs();
    let significant = 128 - magnitude.leading_zeros() - magnitude.trailing_zeros() % 128;
    if significant > BITS {
        Err(Problem::NotExact)
    } else {
        Ok(value)
    }
}

#[expect(clippy::cast_precision_loss, reason = "checked by `exact`")]
fn single(value: i128) -> [u8; 4] {
    (value as f32).to_be_bytes()
}

#[expect(clippy::cast_precision_loss, reason = "checked by `exact`")]
fn double(value: i128) -> [u8; 8] {
    (value as f64).to_be_bytes()
}

/// The integer that a decimal is, when nothing follows its point.
fn whole(value: i256, scale: i8) -> Result<i256, Problem> {
    let power = i256::from_i128(10).checked_pow(u32::from(scale.unsigned_abs()));
    match power {
        Some(power) if scale < 0 => value.checked_mul(power).ok_or(Problem::OutOfRange),
        Some(power) if value.checked_rem(power) == Some(i256::ZERO) => {
            value.checked_div(power).ok_or(Problem::OutOfRange)
        }
        Some(_) => Err(Problem::LosesDigits),
        None => Err(Problem::OutOfRange),
    }
}

fn integer<N: TryFrom<i128>>(value: i256) -> Result<N, Problem> {
    let value = value.to_i128().ok_or(Problem::OutOfRange)?;
    N::try_from(value).map_err(|_| Problem::OutOfRange)
}
