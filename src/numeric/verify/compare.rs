//! One block: its formulas and the differences, direction by direction.

use ndarray::{Array2, ArrayView1};

use super::Options;
use super::derived::Derived;
use super::difference::{Estimate, FIRST, Quotient, SECOND, Scale, extrapolate, noise};
use super::directions::{Direction, Directions};
use super::reference::{Argument, Move, Reference};
use super::report::{Check, Compared, Formula, NOTHING, Worst, judge};

/// Extrapolations of second differences agree to this share of the tolerance.
const ACCURACY: f64 = 0.1;
/// Those of first differences: where the curvature jumps at the point, a slope is off by fourteen times what they differ by.
const ACCURACY_OF_SLOPES: f64 = ACCURACY / 16.0;
/// How often a direction that meets a kink is drawn again.
const REDRAWS: usize = 6;

pub struct Comparison<'a, 'd> {
    reference: &'a Reference<'a>,
    derived: Derived<'d>,
    block: usize,
    options: Options,
    arguments: Vec<Probed>,
    /// z_b and g = ∂l/∂z_b at the point; samples in the batch.
    output: Vec<f64>,
    cotangent: Vec<f64>,
    losses: Vec<f64>,
}

/// An argument with its directions, and what differences of z_b along them are.
struct Probed {
    argument: Argument,
    name: String,
    directions: Directions,
    /// Of z_b, and of the losses.
    noise: Vec<f64>,
    loss_noise: Vec<f64>,
    slopes: Vec<Option<Estimate>>,
}

/// A second difference as three numbers: Σ gᵢ D²Fᵢ, the Hessian of the local loss, each with its uncertainty.
struct Curvature {
    residual: (f64, f64),
    exact: (f64, f64),
}

impl<'a, 'd> Comparison<'a, 'd> {
    pub fn new(
        reference: &'a Reference<'a>,
        mut derived: Derived<'d>,
        block: usize,
        options: Options,
    ) -> Result<Self, String> {
        let (output, cotangent) = (reference.at_the_point(block, Argument::Output), derived.cotangent());
        let losses = reference.losses(block, &[])?;
        let mut comparison =
            Comparison { reference, derived, block, options, arguments: vec![], output, cotangent, losses };
        let names = crate::hessian::local::display_names(comparison.derived.block());
        let params =
            names.into_iter().enumerate().map(|(place, name)| (Argument::Param(place), name.to_string()));
        let both = [(Argument::Input, "z".to_string())].into_iter().chain(params);
        let all: Vec<_> = both.chain([(Argument::Output, "z_b".to_string())]).collect();
        for (argument, name) in all {
            let probed = comparison.probed(argument, name)?;
            comparison.arguments.push(probed);
        }
        Ok(comparison)
    }

    fn probed(&self, argument: Argument, name: String) -> Result<Probed, String> {
        let values = self.reference.at_the_point(self.block, argument);
        let place = match argument {
            Argument::Input => 0,
            Argument::Output => 1,
            Argument::Param(place) => place as u32 + 2,
        };
        let stream = (self.block as u32) << 16 | place << 4;
        let directions = Directions::new(&values, self.options.seed, stream);
        let mut probe = Directions::new(&vec![1.0; values.len()], self.options.seed, stream ^ 0x8000_0000);
        let direction = match probe.complete {
            true => values.iter().map(|value| value + 0.1).collect(),
            false => probe.redraw(0).expect("a large argument").entries,
        };
        let step = |by| [Move { argument, direction: &direction, by }];
        let loss_noise = noise(|by| self.reference.losses(self.block, &step(by)))?;
        let noise = match argument {
            Argument::Output => vec![],
            _ => noise(|by| self.reference.output(self.block, &step(by)))?,
        };
        Ok(Probed { argument, name, directions, noise, loss_noise, slopes: vec![] })
    }

    pub fn checks(mut self) -> Result<Vec<Check>, String> {
        let mut checks = Vec::new();
        let count = self.arguments.len();
        for place in 0..count {
            checks.extend(self.gradient(place)?);
        }
        for place in 0..count - 1 {
            checks.push(self.jacobian(place)?);
        }
        if self.derived.is_last() {
            checks.push(self.loss_hessian()?);
        }
        checks.extend(self.hessians(0, 0)?);
        for row in 1..count - 1 {
            for column in row..count - 1 {
                checks.extend(self.hessians(row, column)?);
            }
        }
        for place in 0..count - 1 {
            checks.extend(self.factor(place));
        }
        Ok(checks)
    }

    fn mean_loss(&self) -> f64 {
        self.losses.iter().map(|loss| loss.abs()).sum::<f64>() / self.losses.len() as f64
    }

    fn accuracy(&self) -> f64 {
        ACCURACY * self.options.tolerance
    }

    fn accuracy_of_slopes(&self) -> f64 {
        ACCURACY_OF_SLOPES * self.options.tolerance
    }

    /// dl along directions against the gradient of training.
    fn gradient(&mut self, place: usize) -> Result<Option<Check>, String> {
        let Some(gradient) = self.derived.gradient(self.arguments[place].argument) else { return Ok(None) };
        let gradient = ArrayView1::from(&gradient);
        let mut numbers = Some(vec![]);
        let along = |direction: &Direction| ArrayView1::from(&direction.entries).dot(&gradient);
        let usual = self.mean_loss();
        let all = self.arguments[place].directions.list.iter().map(along);
        let scale = believable(all.fold(0.0, |scale: f64, slope| scale.max(slope.abs())), usual);
        for nth in 0..self.arguments[place].directions.list.len() {
            let estimate =
                self.with_redraws(place, nth, |this, direction| this.loss_slope(place, direction, scale))?;
            let derived = along(&self.arguments[place].directions.list[nth]);
            numbers = numbers.zip(estimate).map(|(mut numbers, estimate)| {
                numbers.push(number(derived, (estimate.values[0], estimate.uncertainty[0]), (0, nth)));
                numbers
            });
        }
        Ok(Some(self.check(Formula::Gradient, (None, place), numbers, usual)))
    }

    /// An estimate along a direction, or along others drawn in its place where a kink spoils it.
    fn with_redraws(
        &mut self,
        place: usize,
        nth: usize,
        estimate: impl Fn(&Self, &Direction) -> Result<Option<Estimate>, String>,
    ) -> Result<Option<Estimate>, String> {
        let mut direction = self.arguments[place].directions.list[nth].clone();
        for _ in 0..REDRAWS {
            if let Some(found) = estimate(self, &direction)? {
                return Ok(Some(found));
            }
            let Some(other) = self.arguments[place].directions.redraw(nth) else { break };
            direction = other;
        }
        Ok(None)
    }

    fn loss_slope(
        &self,
        place: usize,
        direction: &Direction,
        scale: f64,
    ) -> Result<Option<Estimate>, String> {
        let probed = &self.arguments[place];
        let step = |by| [Move { argument: probed.argument, direction: &direction.entries, by }];
        let here = &self.losses;
        extrapolate(&FIRST, Scale::Shared(scale), self.accuracy_of_slopes(), |h| {
            let [below, above] = sides(|by| self.reference.losses(self.block, &step(by)), h)?;
            let [mut slope, mut rounding, mut jump] = [0.0; 3];
            let share = 1.0 / here.len() as f64;
            for (i, noise) in probed.loss_noise.iter().enumerate() {
                slope += share * (above[i] - below[i]) / (2.0 * h);
                jump += share * (above[i] - 2.0 * here[i] + below[i]) / h;
                rounding += if above[i] == below[i] { 0.0 } else { share * noise / h };
            }
            Ok(Quotient { values: vec![slope], rounding: vec![rounding], jumps: vec![jump] })
        })
    }

    fn output_slope(
        &self,
        place: usize,
        direction: &Direction,
        scale: f64,
    ) -> Result<Option<Estimate>, String> {
        let probed = &self.arguments[place];
        let step = |by| [Move { argument: probed.argument, direction: &direction.entries, by }];
        let here = &self.output;
        extrapolate(&FIRST, Scale::Shared(scale), self.accuracy_of_slopes(), |h| {
            let [below, above] = sides(|by| self.reference.output(self.block, &step(by)), h)?;
            let each = |f: &dyn Fn(usize) -> f64| (0..here.len()).map(f).collect::<Vec<f64>>();
            Ok(Quotient {
                values: each(&|i| (above[i] - below[i]) / (2.0 * h)),
                rounding: each(&|i| if above[i] == below[i] { 0.0 } else { probed.noise[i] / h }),
                jumps: each(&|i| (above[i] - 2.0 * here[i] + below[i]) / h),
            })
        })
    }

    /// Differences of z_b along directions against J; they are kept for the Hessians.
    fn jacobian(&mut self, place: usize) -> Result<Check, String> {
        let argument = self.arguments[place].argument;
        let directions = self.matrix(place);
        let mut images = self.derived.jacobian(argument, &directions);
        let usual = largest(self.output.iter());
        let scale = believable(largest(images.iter()), usual);
        for nth in 0..self.arguments[place].directions.list.len() {
            let estimate =
                self.with_redraws(place, nth, |this, direction| this.output_slope(place, direction, scale))?;
            self.arguments[place].slopes.push(estimate);
        }
        let redrawn = self.matrix(place);
        if redrawn != directions {
            images = self.derived.jacobian(argument, &redrawn);
        }
        let mut numbers = Some(vec![]);
        for (nth, estimate) in self.arguments[place].slopes.iter().enumerate() {
            numbers = numbers.zip(estimate.as_ref()).map(|(mut numbers, estimate)| {
                let all = estimate.values.iter().zip(&estimate.uncertainty).enumerate();
                let number = |(row, (value, by)): (_, (&f64, &f64))| {
                    number(images[[nth, row]], (*value, *by), (row, nth))
                };
                numbers.extend(all.map(number));
                numbers
            });
        }
        let last = self.arguments.len() - 1;
        Ok(self.check(Formula::Jacobian, (Some(last), place), numbers, usual))
    }

    /// Directions of an argument as rows.
    fn matrix(&self, place: usize) -> Array2<f64> {
        let list = &self.arguments[place].directions.list;
        let width = list.first().map_or(0, |direction| direction.entries.len());
        Array2::from_shape_fn((list.len(), width), |(row, entry)| list[row].entries[entry])
    }

    fn loss_hessian(&mut self) -> Result<Check, String> {
        let place = self.arguments.len() - 1;
        let directions = self.matrix(place);
        let forms = self.derived.loss_hessian(&directions).dot(&directions.t());
        let pairs =
            self.arguments[place].directions.pairs(&self.arguments[place].directions, true, usize::MAX);
        let usual = self.mean_loss();
        let scale = believable(largest(forms.iter()), usual);
        let mut numbers = Some(vec![]);
        for (row, column) in pairs {
            let [u, v] = [row, column].map(|nth| &self.arguments[place].directions.list[nth].entries[..]);
            let found = self.loss_curvature(u, v, scale)?;
            numbers = push(numbers, forms[[column, row]], found, (row, column));
        }
        Ok(self.check(Formula::LossHessian, (Some(place), place), numbers, usual))
    }

    /// The second difference of the mean loss along two directions of z_b.
    fn loss_curvature(&self, u: &[f64], v: &[f64], scale: f64) -> Result<Option<(f64, f64)>, String> {
        let probed = &self.arguments[self.arguments.len() - 1];
        let share = 1.0 / probed.loss_noise.len() as f64;
        let along = |a: f64, b: f64| {
            let step = |direction, by| Move { argument: Argument::Output, direction, by };
            self.reference.losses(self.block, &[step(u, a), step(v, b)])
        };
        let estimate = extrapolate(&SECOND, Scale::Shared(scale), self.accuracy(), |h| {
            let four = corners(along, h)?;
            let (value, rounding) = mixed(&four, &probed.loss_noise, |_| share, h);
            Ok::<_, String>(Quotient { values: vec![value], rounding: vec![rounding], jumps: vec![] })
        })?;
        Ok(estimate.map(|estimate| (estimate.values[0], estimate.uncertainty[0])))
    }

    /// Gauss–Newton, residual and exact Hessian with respect to two arguments.
    fn hessians(&mut self, row: usize, column: usize) -> Result<Vec<Check>, String> {
        let (rows, columns) = (self.matrix(row), self.matrix(column));
        let arguments = (self.arguments[row].argument, self.arguments[column].argument);
        let product = self.derived.gauss_newton(arguments.0, arguments.1, &columns).dot(&rows.t());
        let residual = self.derived.residual(arguments.0, arguments.1, &columns).dot(&rows.t());
        let usual = self.usual();
        let scales = [largest(product.iter()), largest(residual.iter())];
        let scales = [0, 1].map(|i: usize| believable(scales[i], usual[i]));
        let mut numbers = [const { Some(vec![]) }; 3];
        let (left, right) = (&self.arguments[row].directions, &self.arguments[column].directions);
        let pairs = left.pairs(right, row == column, self.share_of_pairs());
        let all = left.pairs(right, row == column, usize::MAX).len();
        let sampled = !(left.complete && right.complete) || pairs.len() < all;
        let mut left_out = 0;
        let allowed = if sampled { pairs.len() / 2 } else { 0 };
        for (p, q) in pairs {
            let [newton, rest] = [product[[q, p]], residual[[q, p]]];
            let by_slopes = self.product(row, column, (p, q), scales[0])?;
            let curvature = self.curvature((row, p), (column, q), scales)?;
            // Of random directions, those that meet a kink are left out, but not most of them.
            if (by_slopes.is_none() || curvature.is_none()) && left_out < allowed {
                left_out += 1;
                continue;
            }
            let (by_g, by_loss) = curvature.map(|found| (found.residual, found.exact)).unzip();
            let [a, b, c] = numbers;
            numbers = [
                push(a, newton, by_slopes, (p, q)),
                push(b, rest, by_g, (p, q)),
                push(c, newton + rest, by_loss, (p, q)),
            ];
        }
        let formulas = [Formula::GaussNewton, Formula::Residual, Formula::Exact];
        let all = formulas.into_iter().zip(numbers).zip(usual);
        let check = |((formula, numbers), usual)| Check {
            sampled,
            ..self.check(formula, (Some(row), column), numbers, usual)
        };
        Ok(all.map(check).collect())
    }

    /// How many pairs of directions are compared for each two arguments, so that blocks of many parameters stay
    /// within bounds.
    fn share_of_pairs(&self) -> usize {
        const PAIRS: usize = 160;
        let params = self.arguments.len() - 2;
        PAIRS / (1 + params * (params + 1) / 2)
    }

    /// What Gauss–Newton Hessian, residual and exact Hessian come to of a map that changes as its argument does.
    fn usual(&self) -> [f64; 3] {
        let square = self.output.iter().map(|value| value * value).sum::<f64>();
        let curved = if self.derived.is_last() { self.mean_loss() } else { square };
        let weighted = self.cotangent.iter().zip(&self.output).map(|(g, z)| (g * z).abs()).sum::<f64>();
        [curved, weighted, curved]
    }

    /// Of two differences of z_b their product, of the last block the second difference of the loss along them.
    fn product(
        &self,
        row: usize,
        column: usize,
        (p, q): (usize, usize),
        scale: f64,
    ) -> Result<Option<(f64, f64)>, String> {
        let (Some(left), Some(right)) = (&self.arguments[row].slopes[p], &self.arguments[column].slopes[q])
        else {
            return Ok(None);
        };
        let off: f64 = (0..left.values.len())
            .map(|i| {
                left.values[i].abs() * right.uncertainty[i] + right.values[i].abs() * left.uncertainty[i]
            })
            .sum();
        if self.derived.is_last() {
            let curvature = self.loss_curvature(&left.values, &right.values, scale)?;
            return Ok(curvature.map(|(value, by)| (value, by + off)));
        }
        Ok(Some((left.values.iter().zip(&right.values).map(|(a, b)| a * b).sum(), off)))
    }

    /// Second differences of Σ gᵢ Fᵢ and of the local loss along one direction of each argument.
    fn curvature(
        &self,
        (row, p): (usize, usize),
        (column, q): (usize, usize),
        [product, residual]: [f64; 2],
    ) -> Result<Option<Curvature>, String> {
        let (left, right) = (&self.arguments[row], &self.arguments[column]);
        let (u, v) = (&left.directions.list[p].entries[..], &right.directions.list[q].entries[..]);
        let loudest = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a.max(*b)).collect::<Vec<f64>>();
        let noise = loudest(&left.noise, &right.noise);
        let loss_noise = loudest(&left.loss_noise, &right.loss_noise);
        let scales = [residual, product.max(residual)];
        let (Some(by_left), Some(by_right)) = (&left.slopes[p], &right.slopes[q]) else { return Ok(None) };
        let slopes = [by_left, by_right].map(|slope| self.along_cotangent(&slope.values));
        let estimate = extrapolate(&SECOND, Scale::Each(&scales), self.accuracy(), |h| {
            let along = |a: f64, b: f64| {
                let first = Move { argument: left.argument, direction: u, by: a };
                self.values(&[first, Move { argument: right.argument, direction: v, by: b }])
            };
            let four = corners(along, h)?;
            let [rest, exact] = self.quotients(&four, &noise, &loss_noise, h);
            let [output, loss] = self.changes(&four);
            Ok::<_, String>(Quotient {
                values: vec![rest.0, exact.0],
                rounding: vec![rest.1, exact.1],
                jumps: vec![odd(output, slopes, h), odd(loss, slopes, h)],
            })
        })?;
        let one = |estimate: &Estimate, which: usize| (estimate.values[which], estimate.uncertainty[which]);
        Ok(estimate.map(|found| Curvature { residual: one(&found, 0), exact: one(&found, 1) }))
    }

    /// z_b and what the local loss adds up, where the arguments are.
    fn values(&self, moves: &[Move]) -> Result<[Vec<f64>; 2], String> {
        if self.derived.is_last() {
            let values = self.reference.output_and_losses(self.block, moves)?;
            return Ok([values.output, values.losses]);
        }
        let output = self.reference.output(self.block, moves)?;
        let target = self.output.iter().zip(&self.cotangent).map(|(z, g)| z - g);
        let squares = output.iter().zip(target).map(|(z, t)| 0.5 * (t - z) * (t - z)).collect();
        Ok([output, squares])
    }

    fn quotients(
        &self,
        four: &[[Vec<f64>; 2]; 4],
        noise: &[f64],
        loss_noise: &[f64],
        h: f64,
    ) -> [(f64, f64); 2] {
        let outputs = [0, 1, 2, 3].map(|i| &four[i][0]);
        let terms = [0, 1, 2, 3].map(|i| &four[i][1]);
        let residual = mixed(&outputs, noise, |i| self.cotangent[i], h);
        if self.derived.is_last() {
            return [residual, mixed(&terms, loss_noise, |_| 1.0 / loss_noise.len() as f64, h)];
        }
        // Rounding of ½(t − z)²: that of z times t − z, and that of the square.
        let of_term = |i: usize| {
            let size = four.iter().map(|values| values[1][i]).fold(0.0, f64::max);
            noise[i] * (2.0 * size).sqrt() + f64::EPSILON * size
        };
        let noise: Vec<f64> = (0..noise.len()).map(of_term).collect();
        [residual, mixed(&terms, &noise, |_| 1.0, h)]
    }

    /// Σ gᵢ vᵢ over z_b.
    fn along_cotangent(&self, values: &[f64]) -> f64 {
        self.cotangent.iter().zip(values).map(|(g, value)| g * value).sum()
    }

    /// By how much Σ gᵢ Fᵢ and the local loss differ between the opposite corners (h, h) and (−h, −h), and between (h, −h) and
    /// (−h, h).
    fn changes(&self, four: &[[Vec<f64>; 2]; 4]) -> [[f64; 2]; 2] {
        let share = if self.derived.is_last() { 1.0 / self.losses.len() as f64 } else { 1.0 };
        let opposite = |which: usize, weight: &dyn Fn(usize) -> f64| {
            [(0, 3), (1, 2)].map(|(one, other)| {
                let pairs = four[one][which].iter().zip(&four[other][which]).enumerate();
                pairs.map(|(i, (one, other))| weight(i) * (one - other)).sum()
            })
        };
        [opposite(0, &|i| self.cotangent[i]), opposite(1, &|_| share)]
    }

    /// The factors of mode `trace` against the trace of the dense Hessian by differences; of a large argument by the
    /// derived Jacobian, compared along directions before.
    fn factor(&mut self, place: usize) -> Option<Check> {
        let argument = self.arguments[place].argument;
        let samples = self.derived.point.samples() as f64;
        let size = self.reference.at_the_point(self.block, argument).len() as f64;
        let mut share = if argument == Argument::Input { 1.0 / size } else { 1.0 / (size * samples) };
        if self.derived.is_last() {
            share *= samples;
        }
        let factor = self.derived.factor(argument)?;
        let (trace, usual) = if self.arguments[place].directions.complete {
            let entries = &self.arguments[place].directions.list.first()?.entries;
            let norm: f64 = entries.iter().map(|entry| entry * entry).sum();
            (self.trace_by_differences(place, norm), size * self.usual()[0] / norm)
        } else {
            (Some((self.derived.dense_trace(argument)?, 0.0)), 0.0)
        };
        let trace = trace.map(|(trace, by)| (share * trace, share * by));
        let numbers = push(Some(vec![]), factor, trace, (0, 0));
        let mut check = self.check(Formula::Factor, (None, place), numbers, share * usual);
        check.sampled = false;
        Some(check)
    }

    /// Over directions of single entries, each of this squared norm.
    fn trace_by_differences(&self, place: usize, norm: f64) -> Option<(f64, f64)> {
        let mut total = (0.0, 0.0);
        for nth in 0..self.arguments[place].directions.list.len() {
            let (value, by) = self.product(place, place, (nth, nth), 0.0).ok()??;
            total = (total.0 + value / norm, total.1 + by / norm);
        }
        Some(total)
    }

    fn check(
        &self,
        formula: Formula,
        (row, column): (Option<usize>, usize),
        numbers: Option<Vec<Compared>>,
        usual: f64,
    ) -> Check {
        let of = |place: usize| self.arguments[place].name.clone();
        let wrt = match row {
            Some(row) if row != column && row + 1 < self.arguments.len() => {
                format!("{}, {}", of(row), of(column))
            }
            _ => of(column),
        };
        let sampled = [row, Some(column)].into_iter().flatten().any(|place| {
            let is_row_of_jacobian = formula == Formula::Jacobian && Some(place) == row;
            !is_row_of_jacobian && !self.arguments[place].directions.complete
        });
        let Some(numbers) = numbers else {
            return Check { formula, wrt, compared: 0, sampled, error: None, worst: None };
        };
        let (error, worst) = judge(&numbers, usual, self.options.tolerance);
        let worst = worst.map(|worst| Worst {
            place: self.place(formula, (row, column), worst.at),
            derived: worst.derived,
            differences: worst.differences,
        });
        Check { formula, wrt, compared: numbers.len(), sampled, error, worst }
    }

    /// Where in a formula's matrix, in words.
    fn place(&self, formula: Formula, (row, column): (Option<usize>, usize), at: (usize, usize)) -> String {
        let by = self.direction_name(column, at.1);
        match (formula, row) {
            (Formula::Factor, _) => format!("tr H by {}", self.arguments[column].name),
            (_, None) => by,
            (Formula::Jacobian, Some(row)) => format!("{} by {by}", self.entry_name(row, at.0)),
            (_, Some(row)) => format!("{} by {by}", self.direction_name(row, at.0)),
        }
    }

    fn direction_name(&self, place: usize, nth: usize) -> String {
        match self.arguments[place].directions.list.get(nth).and_then(|direction| direction.entry) {
            Some(entry) => self.entry_name(place, entry),
            None => format!("{} along random direction {}", self.arguments[place].name, nth + 1),
        }
    }

    /// `W[3, 0]`; the first index of z is the sample.
    fn entry_name(&self, place: usize, entry: usize) -> String {
        let probed = &self.arguments[place];
        let axes = self.reference.spaces[self.block].axes(probed.argument);
        let mut index = Vec::new();
        let mut rest = entry;
        for &axis in axes.iter().rev() {
            let extent = self.derived.point.graph.axes.extent(axis);
            index.push((rest % extent).to_string());
            rest /= extent;
        }
        index.reverse();
        if index.is_empty() { probed.name.clone() } else { format!("{}[{}]", probed.name, index.join(", ")) }
    }
}

fn number(derived: f64, (differences, uncertainty): (f64, f64), at: (usize, usize)) -> Compared {
    Compared { derived, differences, uncertainty, at }
}

/// One more number; `None` where it could not be found for one of them.
fn push(
    numbers: Option<Vec<Compared>>,
    derived: f64,
    found: Option<(f64, f64)>,
    at: (usize, usize),
) -> Option<Vec<Compared>> {
    let (mut numbers, found) = (numbers?, found?);
    numbers.push(number(derived, found, at));
    Some(numbers)
}

/// What is odd in a function of two steps beside its slopes along them, over h²: of order h where the function is smooth, a
/// constant where its curvature jumps at the point, and more where its slope does. `changes` are those between opposite corners.
fn odd([along, across]: [f64; 2], [left, right]: [f64; 2], h: f64) -> f64 {
    // Weighted unequally, lest two of opposite signs hide each other.
    let [along, across] = [along / 2.0 - h * (left + right), across / 2.0 - h * (left - right)];
    (along + 0.5 * across) / (h * h)
}

/// Two evaluations at the same time.
fn both<T: Send>(
    first: impl FnOnce() -> Result<T, String> + Send,
    second: impl FnOnce() -> Result<T, String>,
) -> Result<[T; 2], String> {
    std::thread::scope(|scope| {
        let first = scope.spawn(first);
        let second = second();
        let first = first.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        Ok([first?, second?])
    })
}

/// A function of a step at −h and h.
fn sides<T: Send>(at: impl Fn(f64) -> Result<T, String> + Sync, h: f64) -> Result<[T; 2], String> {
    both(|| at(-h), || at(h))
}

/// A function of two steps at (h, h), (h, −h), (−h, h) and (−h, −h).
fn corners<T: Send>(at: impl Fn(f64, f64) -> Result<T, String> + Sync, h: f64) -> Result<[T; 4], String> {
    let [[a, b], [c, d]] = both(|| Ok([at(h, h)?, at(h, -h)?]), || Ok([at(-h, h)?, at(-h, -h)?]))?;
    Ok([a, b, c, d])
}

/// Σ weight·(f₊₊ − f₊₋ − f₋₊ + f₋₋)/4h² with what rounding may have added. What does not move adds nothing.
fn mixed(
    four: &[impl std::borrow::Borrow<Vec<f64>>; 4],
    noise: &[f64],
    weight: impl Fn(usize) -> f64,
    h: f64,
) -> (f64, f64) {
    let [a, b, c, d] = [0, 1, 2, 3].map(|i| four[i].borrow());
    let square = 4.0 * h * h;
    let (mut value, mut rounding) = (0.0, 0.0);
    for (i, noise) in noise.iter().enumerate() {
        if (a[i], b[i], c[i]) != (d[i], c[i], d[i]) {
            value += weight(i) * ((a[i] - b[i]) - (c[i] - d[i])) / square;
            rounding += weight(i).abs() * 4.0 * noise / square;
        }
    }
    (value, rounding)
}

/// The magnitude by which differences are measured: the derived one, unless that is out of all proportion to what is
/// usual. Differences on far too wide a step agree well enough with each other to be measured by such a number.
fn believable(derived: f64, usual: f64) -> f64 {
    const OUT_OF_PROPORTION: f64 = 1e3;
    derived.clamp(NOTHING * usual, OUT_OF_PROPORTION * usual)
}

fn largest<'v>(values: impl Iterator<Item = &'v f64>) -> f64 {
    values.fold(0.0, |largest, value| largest.max(value.abs()))
}
