//! Which samples a training step takes.

use crate::Error;
use crate::random::{SplitMix64, VALIDATION_STREAM};

/// The order of a training set: epoch `e` takes the permutation that stream `e` of the seed gives, or file order. It
/// depends on nothing else, so that a run goes on anywhere as if it had never stopped.
#[derive(Clone, Debug)]
pub struct Order {
    seed: u64,
    shuffle: bool,
    per_step: usize,
    steps_per_epoch: u64,
    epoch: Option<u64>,
    /// The samples that take part, in file order.
    members: Vec<u32>,
    samples: Vec<u32>,
}

impl Order {
    /// Every step takes `per_step` samples; an incomplete last step of an epoch is dropped.
    pub fn new(members: Vec<u32>, per_step: usize, seed: u64, shuffle: bool) -> Result<Self, Error> {
        let samples = members.len();
        if samples < per_step || per_step == 0 {
            return Err(Error::new(format!(
                "the training set has {samples} samples, less than the {per_step} that a step takes"
            ))
            .with_help("compile the network with a smaller batch, or take more data"));
        }
        let steps_per_epoch = (samples / per_step) as u64;
        Ok(Order { seed, shuffle, per_step, steps_per_epoch, epoch: None, samples: members.clone(), members })
    }

    pub fn steps_per_epoch(&self) -> u64 {
        self.steps_per_epoch
    }

    /// The epoch of step `step`, both counted from 0.
    pub fn epoch_of(&self, step: u64) -> u64 {
        step / self.steps_per_epoch
    }

    /// The samples of step `step`, counted from 0 over all epochs.
    pub fn samples(&mut self, step: u64) -> &[u32] {
        let (epoch, position) = (self.epoch_of(step), step % self.steps_per_epoch);
        if self.shuffle && self.epoch != Some(epoch) {
            let permutation = SplitMix64::stream(self.seed, epoch).permutation(self.members.len());
            self.samples = permutation.iter().map(|place| self.members[*place as usize]).collect();
            self.epoch = Some(epoch);
        }
        &self.samples[position as usize * self.per_step..][..self.per_step]
    }
}

/// Numbers of the samples for training and for validation, in file order: a `fraction` of all, chosen by the seed.
pub fn split(samples: usize, fraction: Option<f64>, seed: u64) -> Result<(Vec<u32>, Vec<u32>), Error> {
    let count = u32::try_from(samples).map_err(|_| Error::new("the training set has over 2^32 samples"))?;
    let Some(fraction) = fraction else { return Ok(((0..count).collect(), vec![])) };
    let held = (fraction * samples as f64).round() as usize;
    if held == 0 || held >= samples {
        return Err(Error::new(format!(
            "`validation = {fraction}` of {samples} samples leaves one side empty"
        ))
        .with_help("take another fraction, or more data"));
    }
    let mut validation = SplitMix64::stream(seed, VALIDATION_STREAM).permutation(samples);
    let mut training = validation.split_off(held);
    training.sort_unstable();
    validation.sort_unstable();
    Ok((training, validation))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order(samples: u32, per_step: usize, shuffle: bool) -> Order {
        Order::new((0..samples).collect(), per_step, 3, shuffle).unwrap()
    }

    #[test]
    fn file_order_drops_the_incomplete_step() {
        let mut order = order(10, 4, false);
        assert_eq!(order.steps_per_epoch(), 2);
        assert_eq!(order.samples(1), [4, 5, 6, 7]);
        assert_eq!(order.samples(2), [0, 1, 2, 3]);
    }

    #[test]
    fn the_order_depends_on_seed_and_step_alone() {
        let mut through = order(100, 7, true);
        let all: Vec<Vec<u32>> = (0..40).map(|step| through.samples(step).to_vec()).collect();
        let mut jump = order(100, 7, true);
        assert_eq!(jump.samples(33), all[33]);
        assert_eq!(jump.samples(2), all[2]);
        assert_ne!(all[0], all[14]);
    }

    #[test]
    fn a_set_smaller_than_a_step_is_refused() {
        assert!(
            Order::new(vec![0, 1, 2], 4, 0, true).unwrap_err().message.contains("3 samples, less than the 4")
        );
    }

    #[test]
    fn a_split_is_fixed_by_the_seed_and_leaves_nothing_out() {
        let (training, validation) = split(101, Some(0.1), 7).unwrap();
        assert_eq!((training.len(), validation.len()), (91, 10));
        assert!(training.is_sorted() && validation.is_sorted());
        let mut all = [training.clone(), validation.clone()].concat();
        all.sort_unstable();
        assert_eq!(all, (0..101).collect::<Vec<u32>>());
        assert_eq!(split(101, Some(0.1), 7).unwrap(), (training.clone(), validation.clone()));
        assert_ne!(split(101, Some(0.1), 8).unwrap().1, validation);
        assert_eq!(split(3, None, 7).unwrap(), (vec![0, 1, 2], vec![]));
        assert!(split(3, Some(0.1), 7).unwrap_err().message.contains("one side empty"));
    }

    #[test]
    fn shuffled_steps_take_members_only_and_each_once() {
        let members: Vec<u32> = (0..50).map(|number| 3 * number).collect();
        let mut order = Order::new(members.clone(), 10, 5, true).unwrap();
        let mut seen: Vec<u32> = (0..5).flat_map(|step| order.samples(step).to_vec()).collect();
        assert_ne!(seen, members);
        seen.sort_unstable();
        assert_eq!(seen, members);
    }
}
