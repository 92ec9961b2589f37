//! SVG charts: the curve of rows per second, and the bar of the sides that streams wait for.

use std::fmt::Write;

use super::status::Share;
use super::text::{percent, rate};

const WIDTH: f64 = 900.0;
const HEIGHT: f64 = 180.0;
/// The number of samples in the width: ten minutes.
const SAMPLES: usize = 600;
/// The seconds that the curve averages over, since batches arrive in bursts.
const SMOOTHED: usize = 5;

/// Draws the curve of the last ten minutes, with the present at the right.
pub(super) fn curve(rows_per_second: &[f64]) -> String {
    let points = smooth(rows_per_second);
    let top = round_up(points.iter().copied().fold(0.0, f64::max));
    let step = WIDTH / index(SAMPLES - 1);
    let first = index(SAMPLES.saturating_sub(points.len())) * step;
    let mut line = String::new();
    for (number, value) in points.iter().enumerate() {
        let x = first + index(number) * step;
        let y = HEIGHT - value / top * HEIGHT;
        // Writing to a String cannot fail.
        write!(line, "{}{x:.1} {y:.1}", if number == 0 { "M" } else { "L" }).ok();
    }
    let area = if points.is_empty() {
        String::new()
    } else {
        format!("{line}L{WIDTH} {HEIGHT}L{first:.1} {HEIGHT}Z")
    };
    let mut grid = String::new();
    for minute in 1..10_u8 {
        let x = WIDTH / 10.0 * f64::from(minute);
        write!(grid, "<path class=\"grid\" d=\"M{x:.1} 0V{HEIGHT}\"/>").ok();
    }
    let middle = HEIGHT / 2.0;
    format!(
        "<svg class=\"curve\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" preserveAspectRatio=\"none\" role=\"img\" \
         aria-label=\"rows per second over the last ten minutes, at most {top}\">{grid}\
         <path class=\"grid\" d=\"M0 {middle}H{WIDTH}\"/>\
         <path class=\"area\" d=\"{area}\"/><path class=\"line\" d=\"{line}\"/></svg>\
         <div class=\"axis\"><span>10 min ago</span><span>top: {top} rows/s</span><span>now</span></div>",
        top = rate(top),
    )
}

/// Draws a bar with a piece for each side.
pub(super) fn bar(shares: &[Share]) -> String {
    let mut pieces = String::new();
    let mut legend = String::new();
    let mut x = 0.0;
    for Share { side, share } in shares {
        let width = share * 100.0;
        write!(
            pieces,
            "<rect class=\"{side}\" x=\"{x:.2}\" width=\"{width:.2}\" height=\"10\"><title>{side} {}</title></rect>",
            percent(*share)
        )
        .ok();
        write!(
            legend,
            "<li><span class=\"dot {side}\"></span>{side} <b>{}</b></li>",
            percent(*share)
        )
        .ok();
        x += width;
    }
    format!(
        "<svg class=\"bar\" viewBox=\"0 0 100 10\" preserveAspectRatio=\"none\" aria-hidden=\"true\">{pieces}</svg>\
         <ul class=\"legend\">{legend}</ul>"
    )
}

fn smooth(samples: &[f64]) -> Vec<f64> {
    let windows = (1..=samples.len()).map(|end| &samples[end.saturating_sub(SMOOTHED)..end]);
    windows
        .map(|window| window.iter().sum::<f64>() / index(window.len()))
        .collect()
}

/// Rounds up to one of 1, 2, 5, 10, 20, 50, ….
fn round_up(number: f64) -> f64 {
    let mut power = 1.0;
    loop {
        for factor in [1.0, 2.0, 5.0] {
            if number <= factor * power {
                return factor * power;
            }
        }
        power *= 10.0;
    }
}

fn index(number: usize) -> f64 {
    crate::metrics::to_f64(u64::try_from(number).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::{curve, round_up};

    #[test]
    fn the_top_of_the_curve_is_rounded_up() {
        assert_eq!(
            [0.0, 1.5, 42.0, 1_200_000.0].map(round_up),
            [1.0, 2.0, 50.0, 2e6]
        );
        assert!(curve(&[]).contains("top: 1 rows/s"));
        let drawn = curve(&[0.0, 0.0, 0.0, 0.0, 500.0]);
        assert!(drawn.contains("L900.0 0.0\""), "{drawn}");
    }
}
