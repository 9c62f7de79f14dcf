//! From values to places along an axis, and the ticks between.

/// An axis: linear, or in powers of ten.
#[derive(Clone, Debug, PartialEq)]
pub struct Scale {
    low: f64,
    high: f64,
    log: bool,
}

/// Ticks that an axis should have, about.
const TICKS: f64 = 4.0;

impl Scale {
    /// From `low` to `high`, exactly.
    pub fn exact(low: f64, high: f64) -> Self {
        let high = if high > low { high } else { low + 1.0 };
        Scale { low, high, log: false }
    }

    /// Holds all the values, with a little room. In powers of ten where the lower half of them would be squeezed into
    /// the lowest tenth of a linear axis; then the few that fall far below the others leave the axis.
    pub fn around(values: &[f64]) -> Self {
        let sorted = sorted(values);
        let (Some(&low), Some(&high)) = (sorted.first(), sorted.last()) else {
            return Scale::exact(0.0, 1.0);
        };
        let log = low > 0.0 && high > 10.0 * low && quantile(&sorted, 0.5) - low < 0.1 * (high - low);
        if log {
            let low = low.max(0.1 * quantile(&sorted, 0.05));
            let (low, high) = roomy(low.log10(), high.log10());
            return Scale { low: 10f64.powf(low), high: 10f64.powf(high), log };
        }
        let (low, high) = roomy(low, high);
        Scale { low, high, log }
    }

    /// For shares that grow towards 1: the tenth of the values that are lowest, the first of a run, may leave the axis.
    pub fn share(values: &[f64]) -> Self {
        let sorted = sorted(values);
        let Some(&high) = sorted.last() else { return Scale::exact(0.0, 1.0) };
        let (low, high) = roomy(quantile(&sorted, 0.1), high);
        Scale { low: low.max(0.0), high: high.min(1.0), log: false }
    }

    /// 0 at the low end, 1 at the high one.
    pub fn place(&self, value: f64) -> f64 {
        match self.log {
            // What cannot be shown lies below the axis.
            true if value <= 0.0 => -1.0,
            true => (value / self.low).ln() / (self.high / self.low).ln(),
            false => (value - self.low) / (self.high - self.low),
        }
    }

    /// Round values, with their labels.
    pub fn ticks(&self) -> Vec<(f64, String)> {
        if self.log { self.log_ticks() } else { self.linear_ticks() }
    }

    fn linear_ticks(&self) -> Vec<(f64, String)> {
        let rough = (self.high - self.low) / TICKS;
        let power = 10f64.powf(rough.log10().floor());
        let step = [1.0, 2.0, 5.0, 10.0].map(|factor| factor * power).into_iter().find(|step| *step >= rough);
        let step = step.unwrap_or(rough);
        let decimals = (-step.log10().floor()).clamp(0.0, 12.0) as usize;
        let small = (1e-3..1e5).contains(&self.high.abs().max(self.low.abs()));
        let label = |value: f64| if small { format!("{value:.decimals$}") } else { power_of_ten(value) };
        let (first, last) = ((self.low / step).ceil() as i64, (self.high / step).floor() as i64);
        (first..=last).map(|k| k as f64 * step).map(|value| (value, label(value))).collect()
    }

    fn log_ticks(&self) -> Vec<(f64, String)> {
        let (first, last) = (self.low.log10().floor() as i32, self.high.log10().ceil() as i32);
        let decades = self.high.log10() - self.low.log10();
        let factors: &[f64] = if decades < 1.2 {
            &[1.0, 2.0, 5.0]
        } else if decades < 2.5 {
            &[1.0, 3.0]
        } else {
            &[1.0]
        };
        let stride = ((decades / (TICKS + 1.0)).ceil() as i32).max(1);
        let exponents = (first..=last).filter(|exponent| exponent.rem_euclid(stride) == 0);
        let values =
            exponents.flat_map(|exponent| factors.iter().map(move |factor| factor * 10f64.powi(exponent)));
        let inside = |value: &f64| *value >= self.low && *value <= self.high;
        values.filter(inside).map(|value| (value, power_of_ten(value))).collect()
    }
}

fn sorted(values: &[f64]) -> Vec<f64> {
    let mut sorted: Vec<f64> = values.iter().copied().filter(|value| value.is_finite()).collect();
    sorted.sort_by(f64::total_cmp);
    sorted
}

/// Of values that are sorted, at least one.
fn quantile(sorted: &[f64], share: f64) -> f64 {
    sorted[((sorted.len() - 1) as f64 * share) as usize]
}

/// A little further than from `low` to `high`; a constant stands in the middle.
fn roomy(low: f64, high: f64) -> (f64, f64) {
    let room = if high > low { 0.06 * (high - low) } else { 0.5 * low.abs().max(1e-12) };
    (low - room, high + room)
}

/// `0.03`, `3·10⁻⁵`, `10⁶`.
fn power_of_ten(value: f64) -> String {
    if value == 0.0 {
        return "0".into();
    }
    let exponent = value.abs().log10().floor() as i32;
    // Rounded, as 3e-5 / 1e-5 is a hair off 3.
    let factor = (value / 10f64.powi(exponent) * 1e3).round() / 1e3;
    if (-3..5).contains(&exponent) {
        return format!("{}", (value * 1e6).round() / 1e6);
    }
    let power = format!("10{}", superscript(exponent));
    if factor == 1.0 { power } else { format!("{factor}·{power}") }
}

fn superscript(number: i32) -> String {
    let raised = |c: char| match c {
        '-' => '⁻',
        '1' => '¹',
        '2' => '²',
        '3' => '³',
        c => char::from_u32(0x2070 + c.to_digit(10).unwrap_or(0)).unwrap_or(c),
    };
    number.to_string().chars().map(raised).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(scale: &Scale) -> Vec<String> {
        scale.ticks().into_iter().map(|tick| tick.1).collect()
    }

    #[test]
    fn squeezed_values_get_powers_of_ten() {
        let falling: Vec<f64> = (0..50).map(|i| 2.0 * 0.8f64.powi(i)).collect();
        assert!(Scale::around(&falling).log);
        let cosine: Vec<f64> = (0..50).map(|i| 1.001 + (f64::from(i) / 16.0).cos()).collect();
        assert!(!Scale::around(&cosine).log && !Scale::around(&[-1.0, 0.0, 100.0]).log);
    }

    #[test]
    fn ticks_are_round_and_inside() {
        assert_eq!(labels(&Scale::exact(0.0, 20.0)), ["0", "5", "10", "15", "20"]);
        assert_eq!(labels(&Scale::exact(0.913, 0.993)), ["0.92", "0.94", "0.96", "0.98"]);
        assert_eq!(labels(&Scale { low: 4e-7, high: 2.0, log: true }), ["10⁻⁶", "10⁻⁴", "0.01", "1"]);
        assert_eq!(labels(&Scale { low: 0.9, high: 9.0, log: true }), ["1", "2", "5"]);
        assert_eq!(power_of_ten(3e-5), "3·10⁻⁵");
    }

    #[test]
    fn places_run_from_0_to_1() {
        let scale = Scale { low: 0.01, high: 100.0, log: true };
        assert!((scale.place(1.0) - 0.5).abs() < 1e-12 && scale.place(0.0) < 0.0);
        for constant in [0.0, 0.1, -3.0] {
            assert!((Scale::around(&[constant]).place(constant) - 0.5).abs() < 1e-9, "{constant}");
        }
        assert_eq!(Scale::around(&[]), Scale::exact(0.0, 1.0));
    }

    #[test]
    fn an_outlier_below_leaves_the_axis() {
        let shares = [0.1, 0.9, 0.92, 0.94, 0.95, 0.96, 0.97, 0.97, 0.98, 0.98, 1.0];
        let scale = Scale::share(&shares);
        assert!(scale.low > 0.8 && scale.high == 1.0, "{scale:?}");
        let dive: Vec<f64> = (1..100).map(|i| 10f64.powi(-(i / 25))).chain([1e-30]).collect();
        assert!(Scale::around(&dive).low > 1e-6);
    }
}
