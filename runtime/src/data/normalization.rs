//! How bytes became numbers, to be kept with the weights that were trained on them.

use serde::{Deserialize, Serialize};

use super::Scale;
use super::normalize::{Moments, plane};

/// Per channel: a byte b stands for (b / full − mean) / deviation, where `full` is the largest byte.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Normalization {
    mean: Vec<f64>,
    deviation: Vec<f64>,
}

impl Normalization {
    pub(super) fn new(moments: &[Moments]) -> Self {
        Normalization {
            mean: moments.iter().map(|moments| moments.mean).collect(),
            deviation: moments.iter().map(|moments| moments.deviation).collect(),
        }
    }

    /// From 0 to 1, for samples of this shape.
    pub fn none(shape: &[usize]) -> Self {
        let channels = shape.iter().product::<usize>() / plane(shape);
        Normalization { mean: vec![0.0; channels], deviation: vec![1.0; channels] }
    }

    pub fn channels(&self) -> usize {
        self.mean.len()
    }

    /// Whether samples of this shape have as many channels.
    pub fn fits(&self, shape: &[usize]) -> bool {
        let channels = shape.iter().product::<usize>() / plane(shape);
        self.mean.len() == channels && self.deviation.len() == channels
    }

    /// What bytes from 0 to `full` stand for in samples of this shape.
    pub fn scale(&self, full: u8, shape: &[usize]) -> Scale {
        let table = |(mean, deviation): (&f64, &f64)| {
            std::array::from_fn(|byte| ((byte as f64 / f64::from(full) - mean) / deviation) as f32)
        };
        Scale { tables: self.mean.iter().zip(&self.deviation).map(table).collect(), plane: plane(shape) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_channel_has_its_own() {
        let moments = [Moments { mean: 0.0, deviation: 1.0 }, Moments { mean: 1.0, deviation: 0.5 }];
        let normalization = Normalization::new(&moments);
        let shape = [2, 1, 2];
        assert!(normalization.fits(&shape) && !normalization.fits(&[4]));
        let floats = |normalization: &Normalization, bytes: [u8; 4], shape: &[usize]| {
            let mut floats = [0.0; 4];
            normalization.scale(255, shape).read(&bytes, &mut floats);
            floats
        };
        assert_eq!(floats(&normalization, [0, 255, 0, 255], &shape), [0.0, 1.0, -2.0, 0.0]);
        assert_eq!(floats(&Normalization::none(&[4]), [255, 0, 51, 0], &[4]), [1.0, 0.0, 0.2, 0.0]);
    }
}
