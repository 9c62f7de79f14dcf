//! Data sets: readers of formats, checked against what the network takes before anything runs.

pub mod augment;
mod bytes;
mod check;
mod cifar;
mod csv;
mod digits;
mod idx;
pub(crate) mod image_file;
mod imagefolder;
mod normalization;
mod normalize;
mod npz;
mod order;
mod samples;
mod synthetic;

use std::path::PathBuf;

pub use check::fits;
pub use normalization::Normalization;
pub use order::{Order, split};
pub use samples::{Inputs, Samples, Scale, Targets};

use crate::Error;
use crate::manifest::{Outline, Task};

#[derive(Clone, Debug)]
pub struct Dataset {
    pub train: Samples,
    pub test: Option<Samples>,
    /// How the training set's bytes became numbers, where it has bytes.
    pub normalization: Option<Normalization>,
}

/// What a network takes.
#[derive(Clone, Debug)]
pub struct Wanted {
    pub input_shape: Vec<usize>,
    pub task: Task,
    /// Bytes are normalized with the training set's mean and deviation.
    pub normalize: bool,
}

/// Reads one format. Knows nothing of normalization, and need not check shapes and classes.
trait Loader {
    fn load(&self, wanted: &Wanted) -> Result<Raw<Set>, Error>;
}

/// A training set and perhaps a test set.
struct Raw<T> {
    train: T,
    test: Option<T>,
}

/// Samples as a file holds them.
struct Set {
    /// Where they came from, for messages, and what one sample is called there (`row`, `image`).
    source: String,
    unit: &'static str,
    /// Number of the first unit in the source, as a person counts.
    first: usize,
    /// Extents of one sample.
    shape: Vec<usize>,
    /// Classes that the format has, also where no sample shows it.
    classes: Option<usize>,
    values: Values,
    targets: Targets,
}

enum Values {
    Floats(Vec<f32>),
    /// Numbers from 0 to `full`, which stands for 1.
    Bytes {
        values: Vec<u8>,
        full: u8,
    },
}

pub const KINDS: &str =
    "digits, cifar10:DIR, cifar100:DIR, imagefolder:DIR, idx:DIR, npz:FILE, csv:FILE, synthetic";

/// Loads what `--data` names, one of [`KINDS`]. Paths are relative to the folder in which the process runs.
pub fn load(spec: &str, wanted: &Wanted) -> Result<Dataset, Error> {
    let raw = loader(spec)?.load(wanted)?;
    check::check(&raw.train, wanted)?;
    if let Some(test) = &raw.test {
        check::check(test, wanted)?;
    }
    Ok(normalize::finish(raw, wanted))
}

/// As many samples of `synthetic` as are asked for.
pub fn synthetic(samples: usize, wanted: &Wanted) -> Result<Samples, Error> {
    Ok(normalize::finish(synthetic::Synthetic { samples }.load(wanted)?, wanted).train)
}

/// Whether `spec` names data of a known kind, as a program's check wants to know; nothing is read.
pub fn recognize(spec: &str) -> Result<(), Error> {
    loader(spec).map(drop)
}

fn loader(spec: &str) -> Result<Box<dyn Loader>, Error> {
    let (kind, place) = spec.split_once(':').unwrap_or((spec.trim_end_matches("()"), ""));
    let path = PathBuf::from(place);
    match (kind, place.is_empty()) {
        ("digits", true) => Ok(Box::new(digits::Digits)),
        ("synthetic", true) => Ok(Box::new(synthetic::Synthetic::default())),
        ("csv", false) => Ok(Box::new(csv::Csv { path })),
        ("npz", false) => Ok(Box::new(npz::Npz { path })),
        ("idx", false) => Ok(Box::new(idx::Idx { folder: path })),
        ("cifar10", false) => Ok(Box::new(cifar::Cifar { folder: path, layout: cifar::CIFAR10 })),
        ("cifar100", false) => Ok(Box::new(cifar::Cifar { folder: path, layout: cifar::CIFAR100 })),
        ("imagefolder", false) => Ok(Box::new(imagefolder::ImageFolder { folder: path })),
        ("csv" | "npz" | "idx" | "cifar10" | "cifar100" | "imagefolder", true) => {
            Err(Error::usage(format!("data `{spec}` names no place")).with_help(format!("write {kind}:PATH")))
        }
        _ => Err(unknown(spec)),
    }
}

fn unknown(spec: &str) -> Error {
    let help = match spec.rsplit_once('.') {
        Some((_, kind @ ("csv" | "npz"))) => format!("a {kind} file is given as {kind}:{spec}"),
        _ => format!("known are {KINDS}"),
    };
    Error::usage(format!("unknown data `{spec}`")).with_help(help)
}

impl Wanted {
    pub fn by(outline: &Outline) -> Self {
        Wanted {
            input_shape: outline.input_shape.clone(),
            task: outline.task,
            normalize: outline.defaults.normalize,
        }
    }

    fn sample_size(&self) -> usize {
        self.input_shape.iter().product()
    }
}

impl Values {
    fn len(&self) -> usize {
        match self {
            Values::Floats(values) => values.len(),
            Values::Bytes { values, .. } => values.len(),
        }
    }
}

impl Set {
    fn place(&self, sample: usize) -> String {
        format!("{}: {} {}", self.source, self.unit, sample + self.first)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(shape: &[usize], classes: usize) -> Wanted {
        Wanted { input_shape: shape.to_vec(), task: Task::Class { classes }, normalize: true }
    }

    #[test]
    fn unknown_data_names_the_cure() {
        let error = load("some.csv", &wanted(&[2], 2)).unwrap_err();
        assert!(error.usage && error.help.unwrap().contains("csv:some.csv"));
        assert!(load("csv:", &wanted(&[2], 2)).unwrap_err().usage);
    }
}
