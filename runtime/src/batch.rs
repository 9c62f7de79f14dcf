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
    squares: f64,
}

impl Sums {
    fn add(&mut self, program: &Program, samples: &Samples, first: usize, valid: usize) {
        let scalars = program.scalars();
        let sum =
            |offset: usize| program.floats(offset, valid).iter().map(|value| f64::from(*value)).sum::<f64>();
        self.loss += sum(scalars.sample_loss);
        self.hits += scalars.sample_hit.map_or(0.0, sum);
        if let Targets::Float { values, size } = &samples.targets {
            let outputs = program.floats(scalars.output, valid * size);
            let targets = &values[first * size..][..valid * size];
            self.squares += outputs
                .iter()
                .zip(targets)
                .map(|(y, t)| (f64::from(*y) - f64::from(*t)).powi(2))
                .sum::<f64>();
        }
    }

    fn evaluation(&self, task: Task, samples: usize) -> Evaluation {
        let count = samples.max(1) as f64;
        let (accuracy, rmse) = match task {
            Task::Class { .. } => (Some(self.hits / count), None),
            Task::Float { size } => (None, Some((self.squares / (count * size.max(1) as f64)).sqrt())),
        };
        Evaluation { loss: self.loss / count, accuracy, rmse, samples }
    }
}
