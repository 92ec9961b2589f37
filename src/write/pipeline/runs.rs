//! Which rows of a stream a chunk holds. They are consecutive, unless rows between them were rejected.

use std::collections::VecDeque;
use std::ops::Range;

/// Rows of a stream, as runs of consecutive rows in their order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Runs(VecDeque<Range<u64>>);

impl Runs {
    /// Returns consecutive rows.
    pub(crate) fn consecutive(rows: Range<u64>) -> Self {
        Self(VecDeque::from([rows]))
    }

    /// Returns the rows of a range without these, which are in their order.
    pub(crate) fn without(rows: Range<u64>, rejected: impl IntoIterator<Item = u64>) -> Self {
        let mut runs = VecDeque::new();
        let mut from = rows.start;
        for row in rejected {
            if from < row {
                runs.push_back(from..row);
            }
            from = row + 1;
        }
        if from < rows.end {
            runs.push_back(from..rows.end);
        }
        Self(runs)
    }

    /// Removes the first rows and returns them.
    pub(crate) fn take(&mut self, count: usize) -> Vec<Range<u64>> {
        let mut left = u64::try_from(count).unwrap_or(u64::MAX);
        let mut taken = Vec::with_capacity(1);
        while left > 0
            && let Some(run) = self.0.front_mut()
        {
            let end = run.end.min(run.start.saturating_add(left));
            left -= end - run.start;
            taken.push(run.start..end);
            run.start = end;
            if run.is_empty() {
                self.0.pop_front();
            }
        }
        taken
    }
}

#[cfg(test)]
mod tests {
    use super::Runs;

    /// Takes rows, and checks where their runs begin and end.
    fn check(runs: &mut Runs, count: usize, expected: &[(u64, u64)]) {
        let taken = runs.take(count);
        let taken: Vec<(u64, u64)> = taken.iter().map(|run| (run.start, run.end)).collect();
        assert_eq!(taken, expected);
    }

    #[test]
    fn chunks_hold_the_rows_that_are_left() {
        let mut runs = Runs::without(10..20, [10, 13, 14, 19]);
        check(&mut runs, 1, &[(11, 12)]);
        check(&mut runs, 3, &[(12, 13), (15, 17)]);
        check(&mut runs, 9, &[(17, 19)]);
        check(&mut runs, 1, &[]);
        let mut runs = Runs::consecutive(5..8);
        check(&mut runs, 2, &[(5, 7)]);
        check(&mut runs, 2, &[(7, 8)]);
        check(&mut Runs::without(0..2, [0, 1]), 1, &[]);
    }
}
