//! Which samples a training step takes.

use crate::Error;
use crate::random::SplitMix64;

/// The order of a training set: epoch `e` takes the permutation that stream `e` of the seed gives, or file order. It
/// depends on nothing else, so that a run goes on anywhere as if it had never stopped.
#[derive(Clone, Debug)]
pub struct Order {
    seed: u64,
    shuffle: bool,
    batch: usize,
    steps_per_epoch: u64,
    epoch: Option<u64>,
    samples: Vec<u32>,
}

impl Order {
    /// Every epoch takes whole batches of `batch`; an incomplete last one is dropped.
    pub fn new(samples: usize, batch: usize, seed: u64, shuffle: bool) -> Result<Self, Error> {
        if samples < batch || batch == 0 {
            return Err(Error::new(format!(
                "the training set has {samples} samples, less than one batch of {batch}"
            ))
            .with_help("compile the network with a smaller batch, or take more data"));
        }
        let numbered =
            u32::try_from(samples).map_err(|_| Error::new("the training set has over 2^32 samples"))?;
        let steps_per_epoch = (samples / batch) as u64;
        Ok(Order { seed, shuffle, batch, steps_per_epoch, epoch: None, samples: (0..numbered).collect() })
    }

    pub fn steps_per_epoch(&self) -> u64 {
        self.steps_per_epoch
    }

    /// The samples of step `step`, counted from 0 over all epochs.
    pub fn batch(&mut self, step: u64) -> &[u32] {
        let (epoch, position) = (step / self.steps_per_epoch, step % self.steps_per_epoch);
        if self.shuffle && self.epoch != Some(epoch) {
            self.samples = SplitMix64::stream(self.seed, epoch).permutation(self.samples.len());
            self.epoch = Some(epoch);
        }
        &self.samples[position as usize * self.batch..][..self.batch]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn file_order_drops_the_incomplete_batch() {
        let mut order = Order::new(10, 4, 1, false).unwrap();
        assert_eq!(order.steps_per_epoch(), 2);
        assert_eq!(order.batch(1), [4, 5, 6, 7]);
        assert_eq!(order.batch(2), [0, 1, 2, 3]);
    }

    #[test]
    fn the_order_depends_on_seed_and_step_alone() {
        let mut through = Order::new(100, 7, 3, true).unwrap();
        let all: Vec<Vec<u32>> = (0..40).map(|step| through.batch(step).to_vec()).collect();
        let mut jump = Order::new(100, 7, 3, true).unwrap();
        assert_eq!(jump.batch(33), all[33]);
        assert_eq!(jump.batch(2), all[2]);
        assert_ne!(all[0], all[14]);
    }

    #[test]
    fn a_set_smaller_than_a_batch_is_refused() {
        assert!(Order::new(3, 4, 0, true).unwrap_err().message.contains("3 samples"));
    }
}
