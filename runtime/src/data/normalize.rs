//! Bytes become numbers from 0 to 1, less the training set's mean, over its standard deviation, channel by channel.

use super::{Dataset, Inputs, Normalization, Raw, Samples, Set, Values, Wanted};

/// Mean and standard deviation of one channel.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Moments {
    pub mean: f64,
    pub deviation: f64,
}

pub fn finish(raw: Raw<Set>, wanted: &Wanted) -> Dataset {
    let size = wanted.sample_size();
    let plane = plane(&wanted.input_shape);
    let moments = match &raw.train.values {
        Values::Bytes { values, full } if wanted.normalize => moments(values, *full, size, plane),
        _ => vec![Moments { mean: 0.0, deviation: 1.0 }; size / plane],
    };
    let bytes = matches!(raw.train.values, Values::Bytes { .. });
    let normalization = Normalization::new(&moments);
    let convert = |set: Set| Samples {
        inputs: inputs(set.values, &normalization, &wanted.input_shape),
        sample_size: size,
        targets: set.targets,
    };
    let (train, test) = (convert(raw.train), raw.test.map(convert));
    Dataset { train, test, normalization: bytes.then_some(normalization) }
}

/// Numbers per channel: images of three extents have the channel first; a vector or a matrix is one channel.
pub(super) fn plane(shape: &[usize]) -> usize {
    let first = if shape.len() >= 3 { 1 } else { 0 };
    shape[first..].iter().product::<usize>().max(1)
}

/// From the counts of each byte, so that the result is exact to rounding.
fn moments(values: &[u8], full: u8, size: usize, plane: usize) -> Vec<Moments> {
    let mut counts = vec![[0u64; 256]; size / plane];
    for sample in values.chunks_exact(size) {
        for (channel, values) in sample.chunks_exact(plane).enumerate() {
            values.iter().for_each(|value| counts[channel][usize::from(*value)] += 1);
        }
    }
    counts.iter().map(|counts| moments_of(counts, full)).collect()
}

fn moments_of(counts: &[u64; 256], full: u8) -> Moments {
    let total = counts.iter().sum::<u64>() as f64;
    let average = |of: &dyn Fn(f64) -> f64| {
        let weighted = |(byte, count): (usize, &u64)| *count as f64 * of(byte as f64 / f64::from(full));
        counts.iter().enumerate().map(weighted).sum::<f64>() / total
    };
    let mean = average(&|x| x);
    let deviation = average(&|x| (x - mean).powi(2)).sqrt();
    Moments { mean, deviation: if deviation == 0.0 { 1.0 } else { deviation } }
}

fn inputs(values: Values, normalization: &Normalization, shape: &[usize]) -> Inputs {
    match values {
        Values::Floats(values) => Inputs::Floats(values),
        Values::Bytes { values, full } => Inputs::Bytes { values, scale: normalization.scale(full, shape) },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::Targets;
    use crate::manifest::Task;

    fn set(values: &[u8], samples: usize) -> Set {
        let shape = vec![values.len() / samples];
        let values = Values::Bytes { values: values.to_vec(), full: 255 };
        let targets = Targets::Class(vec![0; samples]);
        Set { source: "t".into(), unit: "row", first: 1, shape, classes: None, values, targets }
    }

    fn finished(shape: &[usize], normalize: bool) -> Dataset {
        let wanted = Wanted { input_shape: shape.to_vec(), task: Task::Class { classes: 1 }, normalize };
        finish(Raw { train: set(&[0, 51, 7, 7], 1), test: Some(set(&[255, 0, 0, 7], 1)) }, &wanted)
    }

    #[test]
    fn each_channel_has_its_own_moments() {
        let data = finished(&[2, 1, 2], true);
        assert_eq!(data.train.floats()[..2], [-1.0, 1.0]);
        // The second channel's deviation is zero and counts as one.
        assert_eq!(data.train.floats()[2..], [0.0, 0.0]);
        let test = data.test.unwrap().floats();
        assert!((test[0] - 9.0).abs() < 1e-5 && test[2] < 0.0, "{test:?}");
    }

    #[test]
    fn bytes_stay_bytes() {
        let Inputs::Bytes { values, .. } = finished(&[2, 1, 2], true).train.inputs else { panic!("floats") };
        assert_eq!(values, [0, 51, 7, 7]);
    }

    #[test]
    fn a_vector_is_one_channel_and_none_scales_only() {
        let data = finished(&[4], true);
        assert!(data.train.floats().iter().sum::<f32>().abs() < 1e-5);
        assert_eq!(finished(&[4], false).train.floats(), [0.0, 0.2, 7.0 / 255.0, 7.0 / 255.0]);
    }
}
