//! Samples into the places where a step reads them, and results out again.

use crate::data::{Samples, Targets};
use crate::manifest::Task;
use crate::pool::Pool;
use crate::program::{Program, RoutineId};
use crate::ranks;

/// Samples as a step takes them.
#[derive(Clone, Debug, PartialEq)]
pub struct Batch {
    pub inputs: Vec<f32>,
    pub targets: Targets,
}

impl Batch {
    /// Room for `batch` samples of a set.
    pub fn new(samples: &Samples, batch: usize) -> Self {
        let targets = match &samples.targets {
            Targets::Class(_) => Targets::Class(vec![0; batch]),
            Targets::Float { size, .. } => Targets::Float { values: vec![0.0; batch * size], size: *size },
        };
        Batch { inputs: vec![0.0; batch * samples.sample_size], targets }
    }

    /// Takes the samples `indices`, as many as there is room for.
    pub fn gather(&mut self, samples: &Samples, indices: &[u32]) {
        gather_inputs(samples, indices, &mut self.inputs);
        match &mut self.targets {
            Targets::Class(places) => gather_labels(samples, indices, places),
            Targets::Float { values, .. } => gather_values(samples, indices, values),
        }
    }

    /// Puts the samples where the program reads them.
    pub fn place(&self, program: &mut Program) {
        let (input, target) = (program.scalars().input, program.scalars().target);
        program.floats_mut(input, self.inputs.len()).copy_from_slice(&self.inputs);
        match &self.targets {
            Targets::Class(labels) => program.integers_mut(target, labels.len()).copy_from_slice(labels),
            Targets::Float { values, .. } => program.floats_mut(target, values.len()).copy_from_slice(values),
        }
    }
}

/// Copies the samples `indices`, no more than a batch, with their targets. Places behind them keep what they had.
pub fn fill(program: &mut Program, samples: &Samples, indices: &[u32]) {
    let (input, target) = (program.scalars().input, program.scalars().target);
    gather_inputs(samples, indices, program.floats_mut(input, indices.len() * samples.sample_size));
    match &samples.targets {
        Targets::Class(_) => gather_labels(samples, indices, program.integers_mut(target, indices.len())),
        Targets::Float { size, .. } => {
            gather_values(samples, indices, program.floats_mut(target, indices.len() * size));
        }
    }
}

fn gather_inputs(samples: &Samples, indices: &[u32], places: &mut [f32]) {
    let places = places.chunks_exact_mut(samples.sample_size.max(1));
    places.zip(indices).for_each(|(place, index)| samples.read(*index as usize, place));
}

fn gather_labels(samples: &Samples, indices: &[u32], places: &mut [i32]) {
    let Targets::Class(labels) = &samples.targets else { return };
    places.iter_mut().zip(indices).for_each(|(place, index)| *place = labels[*index as usize]);
}

fn gather_values(samples: &Samples, indices: &[u32], places: &mut [f32]) {
    let Targets::Float { values, size } = &samples.targets else { return };
    for (place, index) in places.chunks_exact_mut((*size).max(1)).zip(indices) {
        place.copy_from_slice(&values[*index as usize * size..][..*size]);
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

/// Runs `eval` over the whole set, in its order.
pub fn evaluate(program: &mut Program, eval: RoutineId, samples: &Samples, pool: &mut Pool) -> Evaluation {
    let all: Vec<u32> = (0..samples.len() as u32).collect();
    evaluate_members(program, eval, samples, &all, pool)
}

/// Runs `eval` over some samples of a set, of which every rank takes a share; incomplete batches are filled up with samples
/// that are not counted. All ranks get the same result.
pub fn evaluate_members(
    program: &mut Program,
    eval: RoutineId,
    samples: &Samples,
    members: &[u32],
    pool: &mut Pool,
) -> Evaluation {
    let batch = program.manifest().batch.max(1);
    let mut sums = Sums::default();
    for members in members.chunks(batch * ranks::count()) {
        let own = members.chunks(batch).nth(ranks::rank()).unwrap_or_default();
        // The place of a missing sample takes the first.
        let mut indices = own.to_vec();
        indices.resize(batch, members[0]);
        fill(program, samples, &indices);
        program.run(eval, pool);
        sums.add(program, samples, own);
    }
    sums.of_all_ranks().evaluation(program.manifest().task, members.len())
}

#[derive(Default)]
struct Sums {
    loss: f64,
    hits: f64,
    top5: u64,
    squares: f64,
}

impl Sums {
    fn add(&mut self, program: &Program, samples: &Samples, members: &[u32]) {
        let scalars = program.scalars();
        let sum = |offset: usize| {
            program.floats(offset, members.len()).iter().map(|value| f64::from(*value)).sum::<f64>()
        };
        self.loss += sum(scalars.sample_loss);
        self.hits += scalars.sample_hit.map_or(0.0, sum);
        let width = program.manifest().task.outputs();
        let rows = program.floats(scalars.output, members.len() * width).chunks_exact(width.max(1));
        for (outputs, member) in rows.zip(members) {
            match &samples.targets {
                Targets::Float { values, size } => {
                    let targets = &values[*member as usize * size..][..*size];
                    let square = |(y, t): (&f32, &f32)| (f64::from(*y) - f64::from(*t)).powi(2);
                    self.squares += outputs.iter().zip(targets).map(square).sum::<f64>();
                }
                // Few classes have no top five worth telling.
                Targets::Class(_) if width <= FEW_CLASSES => {}
                Targets::Class(labels) => {
                    self.top5 += u64::from(is_among(outputs, labels[*member as usize], TOP));
                }
            }
        }
    }

    fn of_all_ranks(self) -> Self {
        let mut sums = [self.loss, self.hits, self.top5 as f64, self.squares];
        ranks::total(&mut sums);
        let [loss, hits, top5, squares] = sums;
        Sums { loss, hits, top5: top5 as u64, squares }
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
