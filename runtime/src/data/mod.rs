//! Data sets: readers of formats, checked against what the network takes before anything runs.

mod bytes;
mod csv;
mod digits;
mod idx;
mod normalization;
mod normalize;
mod npz;
mod order;
mod synthetic;

use std::path::PathBuf;

pub use normalization::Normalization;
pub use order::Order;

use crate::Error;
use crate::error::{counted, shape_text};
use crate::manifest::{Manifest, Task};

/// Samples with their targets, as a training step takes them.
#[derive(Clone, Debug, PartialEq)]
pub struct Samples {
    /// Sample after sample, row-major.
    pub inputs: Vec<f32>,
    pub sample_size: usize,
    pub targets: Targets,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Targets {
    /// Class numbers from 0.
    Class(Vec<i32>),
    /// `size` values per sample.
    Float { values: Vec<f32>, size: usize },
}

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

const KINDS: &str = "digits, csv:FILE, npz:FILE, idx:DIR, synthetic";

/// Loads what `--data` names: `digits`, `csv:FILE`, `npz:FILE`, `idx:DIR` or `synthetic`.
pub fn load(spec: &str, wanted: &Wanted) -> Result<Dataset, Error> {
    let raw = loader(spec)?.load(wanted)?;
    check(&raw.train, wanted)?;
    if let Some(test) = &raw.test {
        check(test, wanted)?;
    }
    Ok(normalize::finish(raw, wanted))
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
        ("csv" | "npz" | "idx", true) => {
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
    pub fn by(manifest: &Manifest) -> Self {
        Wanted {
            input_shape: manifest.input_shape.clone(),
            task: manifest.task,
            normalize: manifest.defaults.normalize,
        }
    }

    fn sample_size(&self) -> usize {
        self.input_shape.iter().product()
    }
}

impl Samples {
    pub fn len(&self) -> usize {
        self.targets.len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub fn input(&self, index: usize) -> &[f32] {
        &self.inputs[index * self.sample_size..][..self.sample_size]
    }
}

impl Targets {
    pub fn len(&self) -> usize {
        match self {
            Targets::Class(labels) => labels.len(),
            Targets::Float { values, size } => values.len() / size,
        }
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
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

/// Refuses a set that the network cannot take, naming the sample.
fn check(set: &Set, wanted: &Wanted) -> Result<(), Error> {
    if set.targets.is_empty() {
        return Err(Error::new(format!("{} holds no samples", set.source)));
    }
    check_shape(set, wanted)?;
    check_counts(set)?;
    check_finite(set)?;
    match (&set.targets, wanted.task) {
        (Targets::Class(labels), Task::Class { classes }) => check_classes(set, labels, classes),
        (Targets::Float { size, .. }, Task::Float { size: wanted }) if *size == wanted => Ok(()),
        (Targets::Float { size, .. }, Task::Float { size: wanted }) => {
            let targets = counted(*size, "target value");
            Err(Error::new(format!("{} has {targets} per {}, the network {wanted}", set.source, set.unit)))
        }
        (Targets::Class(_), Task::Float { size }) => Err(Error::new(format!(
            "{} holds class labels, but the network's target is f32[{size}]",
            set.source
        ))),
        (Targets::Float { .. }, Task::Class { classes }) => Err(Error::new(format!(
            "{} holds targets that are not integers, but the network's target is class[{classes}]",
            set.source
        ))),
    }
}

/// The same extents, but for extents of 1; or one of both is a plain vector of as many numbers.
fn check_shape(set: &Set, wanted: &Wanted) -> Result<(), Error> {
    let squeeze = |shape: &[usize]| shape.iter().copied().filter(|extent| *extent != 1).collect::<Vec<_>>();
    let (have, want) = (squeeze(&set.shape), squeeze(&wanted.input_shape));
    let size: usize = have.iter().product();
    if have == want || (size == wanted.sample_size() && (have.len() == 1 || want.len() == 1)) {
        return Ok(());
    }
    Err(Error::new(format!(
        "{} has samples of {}, but the network takes {}",
        set.source,
        shape_text(&set.shape),
        shape_text(&wanted.input_shape)
    ))
    .with_help(format!("declare the network's input as f32{}, or take other data", shape_text(&set.shape))))
}

fn check_counts(set: &Set) -> Result<(), Error> {
    let size = set.shape.iter().product::<usize>();
    let samples = set.values.len() / size.max(1);
    if samples == set.targets.len() {
        return Ok(());
    }
    Err(Error::new(format!("{} has {samples} samples but {} targets", set.source, set.targets.len())))
}

fn check_finite(set: &Set) -> Result<(), Error> {
    let find = |values: &[f32], size: usize| values.iter().position(|v| !v.is_finite()).map(|at| at / size);
    let size = set.shape.iter().product();
    let input = match &set.values {
        Values::Floats(values) => find(values, size),
        Values::Bytes { .. } => None,
    };
    let target = match &set.targets {
        Targets::Float { values, size } => find(values, *size),
        Targets::Class(_) => None,
    };
    match input.or(target) {
        Some(sample) => Err(Error::new(format!("{} holds a number that is not finite", set.place(sample)))),
        None => Ok(()),
    }
}

fn check_classes(set: &Set, labels: &[i32], classes: usize) -> Result<(), Error> {
    let fits = |label: i32| usize::try_from(label).is_ok_and(|label| label < classes);
    let Some(sample) = labels.iter().position(|label| !fits(*label)) else { return Ok(()) };
    let largest = labels.iter().max().copied().unwrap_or_default();
    let message =
        format!("{} has label {}, but the network has {classes} classes", set.place(sample), labels[sample]);
    Err(Error::new(message).with_help(if labels[sample] < 0 {
        "classes are numbered from 0".to_string()
    } else {
        format!(
            "the largest label is {largest}: declare class[{}], or number the classes from 0",
            largest as i64 + 1
        )
    }))
}

impl Set {
    fn place(&self, sample: usize) -> String {
        format!("{}: {} {}", self.source, self.unit, sample + self.first)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(shape: &[usize], labels: &[i32]) -> Set {
        let values = Values::Floats(vec![0.5; shape.iter().product::<usize>() * labels.len()]);
        let targets = Targets::Class(labels.to_vec());
        Set { source: "t.csv".into(), unit: "row", first: 1, shape: shape.to_vec(), values, targets }
    }

    fn wanted(shape: &[usize], classes: usize) -> Wanted {
        Wanted { input_shape: shape.to_vec(), task: Task::Class { classes }, normalize: true }
    }

    #[test]
    fn shapes_fit_up_to_flattening() {
        for (have, want, fits) in [
            (&[8, 8][..], &[64][..], true),
            (&[64], &[1, 8, 8], true),
            (&[28, 28], &[1, 28, 28], true),
            (&[8, 8], &[4, 16], false),
            (&[63], &[64], false),
        ] {
            assert_eq!(check_shape(&set(have, &[0]), &wanted(want, 2)).is_ok(), fits, "{have:?} {want:?}");
        }
    }

    #[test]
    fn a_label_out_of_range_is_named_with_its_row() {
        let error = check(&set(&[2], &[0, 1, 3]), &wanted(&[2], 3)).unwrap_err();
        assert_eq!(error.message, "t.csv: row 3 has label 3, but the network has 3 classes");
        assert!(error.help.unwrap().contains("class[4]"));
        assert!(check(&set(&[2], &[0, -1]), &wanted(&[2], 3)).is_err());
        assert!(check(&set(&[2], &[]), &wanted(&[2], 3)).unwrap_err().message.contains("no samples"));
    }

    #[test]
    fn unknown_data_names_the_cure() {
        let error = load("some.csv", &wanted(&[2], 2)).unwrap_err();
        assert!(error.usage && error.help.unwrap().contains("csv:some.csv"));
        assert!(load("csv:", &wanted(&[2], 2)).unwrap_err().usage);
    }
}
