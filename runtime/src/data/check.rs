//! Whether a network can take a data set, said before anything runs.

use super::{Set, Targets, Values, Wanted};
use crate::Error;
use crate::error::{counted, shape_text};
use crate::manifest::Task;

/// Refuses a set that the network cannot take, naming the sample.
pub fn check(set: &Set, wanted: &Wanted) -> Result<(), Error> {
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

/// Whether a sample of the one shape stands for one of the other: the same extents, but for extents of 1; or one of both
/// is a plain vector of as many numbers.
pub fn fits(sample: &[usize], wanted: &[usize]) -> bool {
    let squeeze = |shape: &[usize]| shape.iter().copied().filter(|extent| *extent != 1).collect::<Vec<_>>();
    let (have, want) = (squeeze(sample), squeeze(wanted));
    let as_many = have.iter().product::<usize>() == want.iter().product::<usize>();
    have == want || (as_many && (have.len() <= 1 || want.len() <= 1))
}

fn check_shape(set: &Set, wanted: &Wanted) -> Result<(), Error> {
    if fits(&set.shape, &wanted.input_shape) {
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
    if let Some(known) = set.classes.filter(|known| *known != classes) {
        let message = format!("{} has {known} classes, but the network has {classes}", set.source);
        return Err(Error::new(message).with_help(format!("declare the network's target as class[{known}]")));
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    fn set(shape: &[usize], labels: &[i32]) -> Set {
        let values = Values::Floats(vec![0.5; shape.iter().product::<usize>() * labels.len()]);
        let targets = Targets::Class(labels.to_vec());
        Set {
            source: "t.csv".into(),
            unit: "row",
            first: 1,
            shape: shape.to_vec(),
            classes: None,
            values,
            targets,
        }
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
            (&[1, 64], &[8, 8], true),
            (&[63], &[64], false),
            (&[], &[1], true),
        ] {
            assert_eq!(super::fits(have, want), fits, "{have:?} {want:?}");
            assert_eq!(check_shape(&set(have, &[0]), &wanted(want, 2)).is_ok(), fits, "{have:?} {want:?}");
        }
    }

    #[test]
    fn a_label_out_of_range_is_named_with_its_row() {
        let error = check(&set(&[2], &[0, 1, 3]), &wanted(&[2], 3)).unwrap_err();
        assert_eq!(error.message, "t.csv: row 3 has label 3, but the network has 3 classes");
        assert!(error.help.unwrap().contains("class[4]"));
        assert!(check(&set(&[2], &[0, -1]), &wanted(&[2], 3)).is_err());
        let known = Set { classes: Some(4), ..set(&[2], &[0, 1]) };
        assert!(
            check(&known, &wanted(&[2], 3)).unwrap_err().message.contains("4 classes, but the network has 3")
        );
        assert!(check(&known, &wanted(&[2], 4)).is_ok());
        assert!(check(&set(&[2], &[]), &wanted(&[2], 3)).unwrap_err().message.contains("no samples"));
    }
}
