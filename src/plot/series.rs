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
    /// By growing x; a y that is not finite is a gap. Of repetitions these are means.
    pub points: Vec<(f64, f64)>,
    /// Of repetitions, the least and the greatest value at each point; of a single run nothing.
    pub bounds: Vec<(f64, f64)>,
}

impl Series {
    /// `runs`: the points of each repetition as (step, x, y), by growing step. At a step that some of them lack, as a run that
    /// diverged does, the others are averaged.
    pub fn of_repetitions(run: usize, line: Line, runs: &[Vec<Point>]) -> Self {
        let mut points: Vec<&Point> = runs.iter().flatten().collect();
        points.sort_by_key(|point| point.step);
        let together = || points.chunk_by(|a, b| a.step == b.step);
        let mean = |points: &[&Point]| points.iter().map(|point| point.y).sum::<f64>() / points.len() as f64;
        let bounds = |points: &[&Point]| {
            let values = points.iter().map(|point| point.y);
            (values.clone().fold(f64::INFINITY, f64::min), values.fold(f64::NEG_INFINITY, f64::max))
        };
        Series {
            run,
            line,
            points: together().map(|points| (points[0].x, mean(points))).collect(),
            bounds: if runs.len() > 1 { together().map(bounds).collect() } else { vec![] },
        }
    }

    /// The stretches between gaps.
    pub fn stretches(&self) -> impl Iterator<Item = &[(f64, f64)]> {
        self.points.split(|point| !point.1.is_finite()).filter(|stretch| !stretch.is_empty())
    }

    /// The bands around the stretches of a mean.
    pub fn bands(&self) -> Vec<Band> {
        let mut bands = vec![Band::default()];
        for ((x, mean), (low, high)) in self.points.iter().zip(&self.bounds) {
            match bands.last_mut() {
                Some(band) if mean.is_finite() => {
                    band.low.push((*x, *low));
                    band.high.push((*x, *high));
                }
                _ => bands.push(Band::default()),
            }
        }
        bands.retain(|band| band.low.len() > 1);
        bands
    }

    /// Finite values, those of bands among them.
    pub fn values(&self) -> impl Iterator<Item = f64> {
        let bounds = self.bounds.iter().flat_map(|bounds| [bounds.0, bounds.1]);
        self.points.iter().map(|point| point.1).chain(bounds).filter(|value| value.is_finite())
    }
}

/// The edges of an area, as points by growing x.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Band {
    pub low: Vec<(f64, f64)>,
    pub high: Vec<(f64, f64)>,
}

/// A value of one run: after how many steps, where it is drawn, and what it is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Point {
    pub step: u64,
    pub x: f64,
    pub y: f64,
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
        let series = Series { run: 0, line: Line::Main, points, bounds: vec![] };
        assert_eq!(series.stretches().map(<[_]>::len).collect::<Vec<_>>(), [1, 2]);
    }

    #[test]
    fn repetitions_are_a_mean_in_a_band() {
        let run = |values: &[f64]| -> Vec<Point> {
            (0..).zip(values).map(|(step, y)| Point { step, x: step as f64 / 2.0, y: *y }).collect()
        };
        let series = Series::of_repetitions(
            3,
            Line::Test,
            &[run(&[1.0, 2.0, f64::NAN, 4.0, 7.0]), run(&[3.0, 4.0, 5.0, 8.0])],
        );
        assert_eq!(
            series.stretches().collect::<Vec<_>>(),
            [&[(0.0, 2.0), (0.5, 3.0)][..], &[(1.5, 6.0), (2.0, 7.0)]]
        );
        let band = |low: &[(f64, f64)], high: &[(f64, f64)]| Band { low: low.to_vec(), high: high.to_vec() };
        let first = band(&[(0.0, 1.0), (0.5, 2.0)], &[(0.0, 3.0), (0.5, 4.0)]);
        assert_eq!(series.bands(), [first, band(&[(1.5, 4.0), (2.0, 7.0)], &[(1.5, 8.0), (2.0, 7.0)])]);
        assert!(Series::of_repetitions(0, Line::Main, &[run(&[1.0])]).bands().is_empty());
    }
}
