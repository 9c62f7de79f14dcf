//! Difference quotients with a measure of their own error: extrapolated over three steps, with the rounding noise of
//! the function measured, and refused where a kink lies within the step.

/// A difference quotient at one step, entry by entry.
pub struct Quotient {
    pub values: Vec<f64>,
    /// What rounding of the function may have added.
    pub rounding: Vec<f64>,
    /// What differs between the two sides of the point, of the slopes or of the curvatures: of the order of the step where the
    /// function is smooth. Empty where it is not known; a quotient of second order then shows a kink by diverging.
    pub jumps: Vec<f64>,
}

/// Derivatives, and by how much each may be off.
#[derive(Clone, Debug)]
pub struct Estimate {
    pub values: Vec<f64>,
    pub uncertainty: Vec<f64>,
}

/// Largest steps that are tried, in units of the direction: each goes down to its quarter. Errors of truncation go with
/// the sixth power of the step; those of rounding with ε/h (ε/h² for second derivatives) set the smallest.
pub const FIRST: [f64; 4] = [2e-3, 2e-4, 2e-5, 2e-6];
pub const SECOND: [f64; 4] = [2e-2, 4e-3, 1e-3, 2.5e-4];

/// What the numbers of a quotient are measured by.
#[derive(Clone, Copy)]
pub enum Scale<'a> {
    /// Entries of one array, by its largest.
    Shared(f64),
    /// Numbers with nothing in common.
    Each(&'a [f64]),
}

impl Scale<'_> {
    fn of(self, entry: usize, values: &[f64]) -> f64 {
        match self {
            Scale::Shared(scale) => scale,
            Scale::Each(scales) => scales[entry].max(values[entry].abs()),
        }
    }

    /// With the values themselves, where they are larger.
    fn with(self, values: &[f64]) -> Self {
        match self {
            Scale::Shared(scale) => {
                Scale::Shared(values.iter().fold(scale, |scale, value| scale.max(value.abs())))
            }
            Scale::Each(_) => self,
        }
    }
}

/// The limit of `quotient(h)` for h → 0 by Richardson's extrapolation over h, h/2 and h/4. The largest of `steps` is taken
/// whose extrapolations agree to `accuracy` of `scale` (or of the result where that is larger) beside rounding;
/// `None` where no step does: a kink is too near.
pub fn extrapolate<E>(
    steps: &[f64],
    scale: Scale,
    accuracy: f64,
    mut quotient: impl FnMut(f64) -> Result<Quotient, E>,
) -> Result<Option<Estimate>, E> {
    for &step in steps {
        let three = [quotient(step)?, quotient(step / 2.0)?, quotient(step / 4.0)?];
        let (estimate, spread) = romberg(&three);
        let scale = scale.with(&estimate.values);
        // A comparison that no value but a number passes.
        let fits = |(i, spread): (usize, &f64)| {
            *spread <= accuracy * scale.of(i, &estimate.values) + 8.0 * three[2].rounding[i]
        };
        let smooth = spread.iter().enumerate().all(fits);
        if smooth {
            return Ok(Some(estimate));
        }
    }
    Ok(None)
}

/// The extrapolated limit, and how far the extrapolations and the two one-sided slopes are from agreeing.
fn romberg([wide, half, quarter]: &[Quotient; 3]) -> (Estimate, Vec<f64>) {
    let mut estimate = Estimate { values: vec![], uncertainty: vec![] };
    let mut spreads = vec![];
    for i in 0..wide.values.len() {
        let first = (4.0 * half.values[i] - wide.values[i]) / 3.0;
        let second = (4.0 * quarter.values[i] - half.values[i]) / 3.0;
        let value = (16.0 * second - first) / 15.0;
        let jump = match quarter.jumps.get(i) {
            Some(jump) => (2.0 * jump - half.jumps[i]).abs(),
            None => 0.0,
        };
        let spread = (value - second).abs();
        estimate.values.push(value);
        estimate.uncertainty.push(spread + 8.0 * quarter.rounding[i]);
        spreads.push(spread + jump);
    }
    (estimate, spreads)
}

/// Rounding noise of the entries of a function of one variable, by a table of differences of fourth order: of a smooth
/// function at a tiny spacing they are nothing but noise (Hamming; Moré and Wild, SIAM J. Sci. Comput. 33, 2011).
pub fn noise<E>(mut function: impl FnMut(f64) -> Result<Vec<f64>, E>) -> Result<Vec<f64>, E> {
    const SPACING: f64 = 1e-9;
    const POINTS: usize = 8;
    /// 8!/(4!)²: the variance of a fourth difference of independent errors.
    const GAIN: f64 = 70.0;
    let mut table = Vec::new();
    for point in 0..POINTS {
        table.push(function(SPACING * (point as f64 - 3.5))?);
    }
    let at = |entry: usize| {
        let mut column: Vec<f64> = table.iter().map(|values| values[entry]).collect();
        let value = column.iter().fold(0.0f64, |largest, value| largest.max(value.abs()));
        for _ in 0..4 {
            column = column.windows(2).map(|pair| pair[1] - pair[0]).collect();
        }
        let worst = column.iter().fold(0.0f64, |largest, value| largest.max(value.abs()));
        (worst / GAIN.sqrt()).max(f64::EPSILON * value)
    };
    Ok((0..table[0].len()).map(at).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slope(f: impl Fn(f64) -> f64) -> Option<f64> {
        let quotient = |h: f64| {
            let (below, here, above) = (f(-h), f(0.0), f(h));
            Ok::<_, ()>(Quotient {
                values: vec![(above - below) / (2.0 * h)],
                rounding: vec![1e-15 / h],
                jumps: vec![(above - 2.0 * here + below) / h],
            })
        };
        extrapolate(&FIRST, Scale::Shared(0.0), 1e-7, quotient).unwrap().map(|estimate| estimate.values[0])
    }

    #[test]
    fn slopes_of_smooth_functions_are_exact_but_for_rounding() {
        for (f, expected) in
            [(f64::exp as fn(f64) -> f64, 1.0), (f64::sin, 1.0), (|x| (1.0 + x).powi(3), 3.0)]
        {
            assert!((slope(f).unwrap() - expected).abs() < 1e-11);
        }
        // Varies on the scale of the first step: a smaller one is taken.
        assert!((slope(|x| (500.0 * x).sin()).unwrap() - 500.0).abs() < 1e-6);
    }

    #[test]
    fn a_kink_is_refused_where_it_lies_at_the_point_and_avoided_beside_it() {
        assert_eq!(slope(f64::abs), None);
        assert_eq!(slope(|x| x.max(0.0)), None);
        assert_eq!(slope(|x| if x > 0.0 { 1.0 } else { 0.0 }), None);
        assert!((slope(|x| (x - 1e-5).abs()).unwrap() + 1.0).abs() < 1e-9);
        assert_eq!(slope(|_| f64::NAN), None);
    }

    #[test]
    fn noise_is_that_of_the_terms_that_cancel() {
        let noise = |f: fn(f64) -> f64| noise(|x| Ok::<_, ()>(vec![f(x)])).unwrap()[0];
        let small = noise(|x| 1.0 + x);
        let large = noise(|x| (1e6 + x.sin() + 0.3) - 1e6);
        assert!(small < 1e-15 && (1e-11..1e-9).contains(&large), "{small} {large}");
    }
}
