//! Samples into the places where a step reads them, and results out again.

use crate::data::{Samples, Targets};
use crate::manifest::Task;
use crate::pool::Pool;
use crate::program::{Program, RoutineId};

/// Copies the samples `indices`, no more than a batch, with their targets. Places behind them keep what they had.
pub fn fill(program: &mut Program, samples: &Samples, indices: &[u32]) {
    let (input, target) = (program.scalars().input, program.scalars().target);
    let size = samples.sample_size;
    let inputs = program.floats_mut(input, indices.len() * size);
    for (place, index) in inputs.chunks_exact_mut(size.max(1)).zip(indices) {
        place.copy_from_slice(samples.input(*index as usize));
    }
    match &samples.targets {
        Targets::Class(labels) => {
            let places = program.integers_mut(target, indices.len());
            places.iter_mut().zip(indices).for_each(|(place, index)| *place = labels[*index as usize]);
        }
        Targets::Float { values, size } => {
            let places = program.floats_mut(target, indices.len() * size);
            for (place, index) in places.chunks_exact_mut((*size).max(1)).zip(indices) {
                place.copy_from_slice(&values[*index as usize * size..][..*size]);
            }
        }
    }
}

/// How well the network does on a set.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Evaluation {
    /// Mean over the samples.
    pub loss: f64,
    /// Fraction of samples whose class is found, for a network with classes.
    pub accuracy: Option<f64>,
    /// Fraction of samples whose class is among the five of the largest outputs, where there are more than ten.
    pub top5: Option<f64>,
    /// Root of the mean squared difference between output and target, for one with values.
    pub rmse: Option<f64>,
    pub samples: usize,
}

/// Runs `eval` over the whole set, in its order; the last batch is filled up with samples that are not counted.
pub fn evaluate(program: &mut Program, eval: RoutineId, samples: &Samples, pool: &mut Pool) -> Evaluation {
    let (batch, count) = (program.manifest().batch, samples.len());
    let mut sums = Sums::default();
    for first in (0..count).step_by(batch.max(1)) {
        let valid = batch.min(count - first);
        // The place of a missing sample takes the batch's first.
        let indices: Vec<u32> =
            (0..batch).map(|i| (if i < valid { first + i } else { first }) as u32).collect();
        fill(program, samples, &indices);
        program.run(eval, pool);
        sums.add(program, samples, first, valid);
    }
    sums.evaluation(program.manifest().task, count)
}

#[derive(Default)]
struct Sums {
    loss: f64,
    hits: f64,
    top5: u64,
    squares: f64,
}

impl Sums {
    fn add(&mut self, program: &Program, samples: &Samples, first: usize, valid: usize) {
        let scalars = program.scalars();
        let sum =
            |offset: usize| program.floats(offset, valid).iter().map(|value| f64::from(*value)).sum::<f64>();
        self.loss += sum(scalars.sample_loss);
        self.hits += scalars.sample_hit.map_or(0.0, sum);
        let width = program.manifest().task.outputs();
        let outputs = program.floats(scalars.output, valid * width);
        match &samples.targets {
            Targets::Float { values, size } => {
                let difference = |(y, t): (&f32, &f32)| (f64::from(*y) - f64::from(*t)).powi(2);
                let targets = &values[first * size..][..valid * size];
                self.squares += outputs.iter().zip(targets).map(difference).sum::<f64>();
            }
            Targets::Class(labels) => {
                let ranked = outputs.chunks_exact(width.max(1)).zip(&labels[first..]);
                self.top5 += ranked.filter(|(outputs, label)| is_among(outputs, **label, TOP)).count() as u64;
            }
        }
    }

    fn evaluation(&self, task: Task, samples: usize) -> Evaluation {
        let count = samples.max(1) as f64;
        let mut evaluation =
            Evaluation { loss: self.loss / count, accuracy: None, top5: None, rmse: None, samples };
        match task {
            Task::Class { classes } => {
                evaluation.accuracy = Some(self.hits / count);
                evaluation.top5 = (classes > FEW_CLASSES).then_some(self.top5 as f64 / count);
            }
            Task::Float { size } => {
                evaluation.rmse = Some((self.squares / (count * size.max(1) as f64)).sqrt());
            }
        }
        evaluation
    }
}

/// With this many classes or fewer, to be among the first five says little.
const FEW_CLASSES: usize = 10;
const TOP: usize = 5;

/// Whether the label's output is among the `count` largest; of equal outputs the first counts as the larger.
fn is_among(outputs: &[f32], label: i32, count: usize) -> bool {
    let Some(own) = usize::try_from(label).ok().filter(|label| *label < outputs.len()) else { return false };
    let value = outputs[own];
    let above = |(index, other): (usize, &f32)| *other > value || (*other == value && index < own);
    !value.is_nan() && outputs.iter().enumerate().filter(|entry| above(*entry)).count() < count
}

#[cfg(test)]
mod tests {
    use super::is_among;

    #[test]
    fn the_first_of_equal_outputs_is_the_larger() {
        let outputs = [0.5, 2.0, 2.0, -1.0];
        let ranks = |label: i32| (1..=4).find(|count| is_among(&outputs, label, *count));
        assert_eq!([0, 1, 2, 3].map(ranks), [Some(3), Some(1), Some(2), Some(4)]);
        assert!(!is_among(&[f32::NAN, 1.0], 0, 2) && !is_among(&outputs, 9, 4));
    }
}
