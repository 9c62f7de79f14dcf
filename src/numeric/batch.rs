//! The batch at which derivatives are evaluated: arrays of NumPy, or the first samples of a data set.

use std::path::Path;

use blk_runtime::data::{self, Wanted};
use blk_runtime::manifest::Task;
use blk_runtime::random::SplitMix64;
use ndarray::{ArrayD, IxDyn, OwnedRepr};
use ndarray_npy::{ReadNpyError, ReadableElement};

use crate::axes::BATCH;
use crate::ir::Network;

/// Samples with their targets, in f64 and unrounded.
#[derive(Clone, Debug, PartialEq)]
pub struct Batch {
    /// Sample after sample, row-major.
    pub inputs: Vec<f64>,
    pub targets: Targets,
    /// Where they came from, in words.
    pub source: String,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Targets {
    Class(Vec<i64>),
    /// As many values per sample as the network's target has.
    Float(Vec<f64>),
}

/// An array of a file, as f64.
#[derive(Clone, Debug)]
pub struct Npy {
    pub shape: Vec<usize>,
    pub values: Vec<f64>,
    path: String,
}

impl Npy {
    /// Reads a `.npy` file of numbers. Errors name the file.
    pub fn read(path: &Path) -> Result<Npy, String> {
        let name = path.display().to_string();
        let array = read_any(path).map_err(|cause| format!("cannot read {name}: {cause}"))?;
        let shape = array.shape().to_vec();
        let values = array.as_standard_layout().into_owned().into_raw_vec_and_offset().0;
        match values.iter().position(|value| !value.is_finite()) {
            Some(at) => Err(format!("{name}: entry {at} is not a finite number")),
            None => Ok(Npy { shape, values, path: name }),
        }
    }

    /// Rows: samples.
    pub fn rows(&self) -> Result<usize, String> {
        match self.shape.first() {
            Some(&rows @ 1..) => Ok(rows),
            _ => Err(format!("{}: an array of shape {:?} has no samples", self.path, self.shape)),
        }
    }
}

/// Tries the types one after the other: the reader must know it beforehand.
fn read_any(path: &Path) -> Result<ArrayD<f64>, ReadNpyError> {
    macro_rules! attempt {
        ($($element:ty),*) => {
            $(match read::<$element>(path) {
                Err(ReadNpyError::WrongDescriptor(_)) => {}
                result => return Ok(result?.mapv(|value| value as f64)),
            })*
        };
    }
    attempt!(f64, f32, i64, i32, i16, i8, u64, u32, u16);
    read::<u8>(path).map(|array| array.mapv(f64::from))
}

fn read<T: ReadableElement + Clone>(path: &Path) -> Result<ArrayD<T>, ReadNpyError> {
    ndarray_npy::read_npy::<_, ndarray::ArrayBase<OwnedRepr<T>, IxDyn>>(path)
}

impl Targets {
    /// As numbers, sample after sample.
    pub fn entries(&self) -> Vec<f64> {
        match self {
            Targets::Class(labels) => labels.iter().map(|&label| label as f64).collect(),
            Targets::Float(values) => values.clone(),
        }
    }
}

impl Batch {
    /// Two arrays with a row per sample: as many as the network's batch, shaped as its input and target. An error
    /// says what the network takes.
    pub fn of_arrays(network: &Network, input: &Npy, target: &Npy) -> Result<Batch, String> {
        let samples = network.axes.extent(BATCH);
        let shape = [&[samples], &network.sample_shape()[..]].concat();
        let rows = input.shape.split_first();
        if !rows.is_some_and(|(rows, sample)| *rows == samples && data::fits(sample, &shape[1..])) {
            let (have, path) = (&input.shape, &input.path);
            return Err(format!("{path} has shape {have:?}, the network takes {shape:?}"));
        }
        if target.rows()? != samples {
            let (rows, path) = (target.rows()?, &target.path);
            return Err(format!("{path} has {rows} targets for {samples} samples"));
        }
        let targets = match network.task() {
            Task::Class { classes } => Targets::Class(labels(target, samples, classes)?),
            Task::Float { size } => Targets::Float(floats(target, samples, size)?),
        };
        let source = format!("{} and {}", input.path, target.path);
        Ok(Batch { inputs: input.values.clone(), targets, source })
    }

    /// The first samples of a data set's training part, normalized as for training.
    pub fn of_data(network: &Network, spec: &str) -> Result<Batch, blk_runtime::Error> {
        let normalize = network.training.as_ref().is_none_or(|training| training.settings.normalize);
        let wanted = Wanted { input_shape: network.sample_shape(), task: network.task(), normalize };
        let train = data::load(spec, &wanted)?.train;
        let samples = network.axes.extent(BATCH);
        if train.len() < samples {
            let message = format!("`{spec}` has {} samples, fewer than the batch of {samples}", train.len());
            return Err(blk_runtime::Error::new(message).with_help("choose a smaller one with --batch"));
        }
        let inputs = train.first(samples).into_iter().map(f64::from).collect();
        let targets = match &train.targets {
            data::Targets::Class(labels) => {
                Targets::Class(labels[..samples].iter().map(|&label| i64::from(label)).collect())
            }
            data::Targets::Float { values, size } => {
                Targets::Float(values[..samples * size].iter().map(|&y| f64::from(y)).collect())
            }
        };
        Ok(Batch { inputs, targets, source: format!("the first {samples} training samples of {spec}") })
    }

    /// Standard normal samples with random targets.
    pub fn standard_normal(network: &Network, seed: u64) -> Batch {
        let mut random = SplitMix64::stream(seed, 0);
        let samples = network.axes.extent(BATCH);
        let size: usize = network.sample_shape().iter().product();
        let inputs = (0..samples * size).map(|_| random.gaussian()).collect();
        let targets = match network.task() {
            Task::Class { classes } => {
                Targets::Class((0..samples).map(|_| random.below(classes.max(1) as u64) as i64).collect())
            }
            Task::Float { size } => Targets::Float((0..samples * size).map(|_| random.gaussian()).collect()),
        };
        Batch { inputs, targets, source: format!("{samples} standard normal samples, seed {seed}") }
    }
}

fn labels(target: &Npy, samples: usize, classes: usize) -> Result<Vec<i64>, String> {
    let path = &target.path;
    if target.values.len() != samples {
        return Err(format!("{path} has shape {:?}, not one label per sample", target.shape));
    }
    let label = |(row, &value): (usize, &f64)| {
        let fits = value.fract() == 0.0 && value >= 0.0 && value < classes as f64;
        fits.then_some(value as i64).ok_or_else(|| {
            format!("{path}: row {row} holds {value}, not a class from 0 to {}", classes.max(1) - 1)
        })
    };
    target.values.iter().enumerate().map(label).collect()
}

fn floats(target: &Npy, samples: usize, size: usize) -> Result<Vec<f64>, String> {
    if target.values.len() != samples * size {
        let (path, shape) = (&target.path, &target.shape);
        return Err(format!("{path} has shape {shape:?}, not {size} values for each of {samples} samples"));
    }
    Ok(target.values.clone())
}
