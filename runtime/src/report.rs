//! What a training run tells while it goes, to whoever wants to show it.

use crate::batch::Evaluation;
use crate::settings::Settings;

/// Takes what a run tells. Nothing that it does changes the run.
pub trait Reporter {
    fn start(&mut self, start: &Start);
    /// Many times a second, not after every step.
    fn step(&mut self, step: &Step);
    fn epoch(&mut self, epoch: &Epoch);
    /// Something that makes the run doubtful.
    fn warn(&mut self, message: &str);
    /// The run is over, or was interrupted.
    fn end(&mut self, outcome: &Outcome);
}

pub struct Start<'a> {
    pub network: &'a str,
    pub optimizer: &'a str,
    pub parameters: usize,
    /// Of one rank.
    pub batch: usize,
    pub ranks: usize,
    pub threads: usize,
    pub train_samples: usize,
    /// Samples held back from training; none where nothing is.
    pub validation_samples: Option<usize>,
    pub test_samples: Option<usize>,
    pub steps_per_epoch: u64,
    /// First step of this session, counted from 0, and the step at which it ends.
    pub first_step: u64,
    pub last_step: u64,
    pub settings: &'a Settings,
}

#[derive(Clone, Copy, Debug)]
pub struct Step {
    /// Steps done.
    pub step: u64,
    pub epoch: u32,
    pub loss: f64,
    pub accuracy: Option<f64>,
    pub samples_per_s: f64,
}

#[derive(Clone, Copy, Debug)]
pub struct Epoch {
    /// Counted from 1.
    pub epoch: u32,
    pub epochs: u32,
    pub step: u64,
    /// Means over the epoch's training batches.
    pub loss: f64,
    pub accuracy: Option<f64>,
    /// Learning rate of the last step.
    pub lr: Option<f64>,
    pub samples_per_s: f64,
    pub validation: Option<Evaluation>,
    pub test: Option<Evaluation>,
}

/// What a run came to.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// Steps done in all, those before a resumption included.
    pub steps: u64,
    /// Loss of the last step's batch; none where no step was taken.
    pub loss: Option<f64>,
    /// On the validation split, and on the test set, with the final weights; none where there is no such set, or after an
    /// interruption.
    pub validation: Option<Evaluation>,
    pub test: Option<Evaluation>,
    /// With `--eval-only` and no test set: on the training set.
    pub train: Option<Evaluation>,
    pub seconds: f64,
    /// The run ended because the validation loss had not fallen for so many epochs.
    pub stopped_early: Option<u32>,
    /// The process was asked to end before the run was over.
    pub interrupted: bool,
    /// Where the state is saved.
    pub run: Option<std::path::PathBuf>,
}

impl Outcome {
    /// Exit status of a process that ran it.
    pub fn exit_code(&self) -> u8 {
        if self.interrupted { crate::interrupt::EXIT_CODE } else { 0 }
    }
}

/// Tells nobody.
pub struct Silent;

impl Reporter for Silent {
    fn start(&mut self, _: &Start) {}
    fn step(&mut self, _: &Step) {}
    fn epoch(&mut self, _: &Epoch) {}
    fn warn(&mut self, _: &str) {}
    fn end(&mut self, _: &Outcome) {}
}
