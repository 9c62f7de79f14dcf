//! `digits`: 1797 handwritten digits of 8×8 grey values from 0 to 16, embedded (source and licence: data/README.md).
//!
//! The split is fixed: the rows of the file in the order of `SplitMix64::new(SPLIT_SEED).permutation(1797)`, the first
//! 1437 for training and the other 360 for testing.

use super::csv::{Table, parse};
use super::{Loader, Raw, Set, Targets, Values, Wanted, bytes};
use crate::Error;
use crate::random::SplitMix64;

pub struct Digits;

const FILE: &[u8] = include_bytes!("../../../data/digits.csv.gz");
const PIXELS: usize = 64;
const CLASSES: usize = 10;
const TRAIN: usize = 1437;
const SPLIT_SEED: u64 = 0;
/// The grey value that stands for 1.
const FULL: u8 = 16;

impl Loader for Digits {
    fn load(&self, _wanted: &Wanted) -> Result<Raw<Set>, Error> {
        let damaged = |cause| Error::new(format!("the embedded digits are damaged: {cause}"));
        let content = bytes::unpack(FILE.to_vec()).map_err(damaged)?;
        let table = parse(&content, "digits")?;
        let order = SplitMix64::new(SPLIT_SEED).permutation(table.rows());
        let (train, test) = order.split_at(TRAIN.min(order.len()));
        Ok(Raw { train: subset(&table, train), test: Some(subset(&table, test)) })
    }
}

fn subset(table: &Table, rows: &[u32]) -> Set {
    let mut values = Vec::with_capacity(rows.len() * PIXELS);
    let mut labels = Vec::with_capacity(rows.len());
    for row in rows {
        let (pixels, label) = table.row(*row as usize).split_at(PIXELS);
        values.extend(pixels.iter().map(|pixel| *pixel as u8));
        labels.extend(label.iter().map(|label| *label as i32));
    }
    let values = Values::Bytes { values, full: FULL };
    let shape = vec![8, 8];
    Set {
        source: "digits".into(),
        unit: "digit",
        first: 1,
        shape,
        classes: Some(CLASSES),
        values,
        targets: Targets::Class(labels),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::load;
    use crate::manifest::Task;

    #[test]
    fn is_split_in_balance_and_normalized() {
        let wanted = Wanted { input_shape: vec![64], task: Task::Class { classes: 10 }, normalize: true };
        let digits = load("digits", &wanted).unwrap();
        let test = digits.test.unwrap();
        assert_eq!((digits.train.len(), test.len()), (1437, 360));
        let Targets::Class(labels) = &test.targets else { panic!("digits are classes") };
        for class in 0..10 {
            let count = labels.iter().filter(|label| **label == class).count();
            assert!((24..=48).contains(&count), "{count} of class {class}");
        }
        let n = digits.train.floats().len() as f64;
        let mean = digits.train.floats().iter().map(|v| f64::from(*v)).sum::<f64>() / n;
        let square = digits.train.floats().iter().map(|v| f64::from(*v).powi(2)).sum::<f64>() / n;
        assert!(mean.abs() < 1e-6 && (square - 1.0).abs() < 1e-5, "mean {mean}, square {square}");
    }
}
