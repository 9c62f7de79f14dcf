//! How bytes became numbers, to be kept with the weights that were trained on them.

use serde::{Deserialize, Serialize};

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

    /// The numbers of whole samples of bytes up to 255.
    pub fn floats(&self, bytes: &[u8], shape: &[usize]) -> Vec<f32> {
        let scaled =
            self.mean.iter().zip(&self.deviation).map(|(mean, deviation)| {
                move |byte: u8| ((f64::from(byte) / 255.0 - mean) / deviation) as f32
            });
        let scaled: Vec<_> = scaled.collect();
        let channels = bytes.chunks(plane(shape)).zip(scaled.iter().cycle());
        channels.flat_map(|(bytes, scale)| bytes.iter().map(move |byte| scale(*byte))).collect()
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
        assert_eq!(normalization.floats(&[0, 255, 0, 255], &shape), [0.0, 1.0, -2.0, 0.0]);
        assert_eq!(Normalization::none(&[4]).floats(&[255, 0, 51, 0], &[4]), [1.0, 0.0, 0.2, 0.0]);
    }
}
