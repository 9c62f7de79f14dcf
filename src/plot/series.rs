//! Lines to be drawn: points of one quantity of one run.

/// What a line shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Line {
    /// Single batches: drawn thin, beneath the others.
    Batches,
    /// Means over epochs of training, or numbers that have no other kind.
    Main,
    Validation,
    Test,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Series {
    /// Index of the run, which gives the colour.
    pub run: usize,
    pub line: Line,
    /// By growing x; a y that is not finite is a gap.
    pub points: Vec<(f64, f64)>,
}

impl Series {
    /// The stretches between gaps.
    pub fn stretches(&self) -> impl Iterator<Item = &[(f64, f64)]> {
        self.points.split(|point| !point.1.is_finite()).filter(|stretch| !stretch.is_empty())
    }

    /// Finite values.
    pub fn values(&self) -> impl Iterator<Item = f64> {
        self.points.iter().map(|point| point.1).filter(|value| value.is_finite())
    }
}

/// As few points as look the same in `columns` columns: of each column the first, the extremes and the last.
pub fn thinned(points: &[(f64, f64)], columns: usize) -> Vec<(f64, f64)> {
    let (Some(first), Some(last)) = (points.first(), points.last()) else { return vec![] };
    if points.len() <= 4 * columns {
        return points.to_vec();
    }
    let width = (last.0 - first.0) / columns as f64;
    let column = |x: f64| ((x - first.0) / width) as usize;
    points.chunk_by(|a, b| column(a.0) == column(b.0)).flat_map(extremes).collect()
}

fn extremes(points: &[(f64, f64)]) -> Vec<(f64, f64)> {
    let by = |a: &usize, b: &usize| points[*a].1.total_cmp(&points[*b].1);
    let places = 0..points.len();
    let mut kept = vec![0, points.len() - 1];
    kept.extend(places.clone().min_by(by));
    kept.extend(places.max_by(by));
    kept.sort_unstable();
    kept.dedup();
    kept.into_iter().map(|place| points[place]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn peaks_survive_thinning() {
        let mut points: Vec<(f64, f64)> = (0..10_000).map(|i| (f64::from(i), 1.0)).collect();
        (points[5_003].1, points[5_004].1) = (9.0, -9.0);
        let thin = thinned(&points, 100);
        assert!(thin.len() <= 400 && thin.contains(&(5_003.0, 9.0)) && thin.contains(&(5_004.0, -9.0)));
        assert_eq!((thin[0], thin[thin.len() - 1]), ((0.0, 1.0), (9_999.0, 1.0)));
        assert_eq!(thinned(&points[..300], 100), points[..300]);
    }

    #[test]
    fn gaps_part_a_line() {
        let points = vec![(0.0, 1.0), (1.0, f64::NAN), (2.0, 2.0), (3.0, 3.0)];
        let series = Series { run: 0, line: Line::Main, points };
        assert_eq!(series.stretches().map(<[_]>::len).collect::<Vec<_>>(), [1, 2]);
    }
}
