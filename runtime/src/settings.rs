//! What a run is done with: the program's defaults, overlaid by the run that is resumed, overlaid by the command line.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::Error;
use crate::manifest::Outline;
use crate::options::TrainOptions;

/// The number that a schedule multiplies, as the language names it.
pub const LEARNING_RATE: &str = "lr";

/// The largest norm of the gradient over all parameters, where a program bounds it.
pub const CLIP: &str = "train.clip";

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Settings {
    pub data: Option<String>,
    pub epochs: u32,
    pub seed: u64,
    pub shuffle: bool,
    /// Numbers of the optimizer and the schedule.
    pub hypers: BTreeMap<String, f64>,
}

impl Settings {
    /// Those of a new run.
    pub fn resolve(outline: &Outline, options: &TrainOptions) -> Result<Self, Error> {
        let defaults = &outline.defaults;
        let settings = Settings {
            data: defaults.data.clone(),
            epochs: defaults.epochs,
            seed: defaults.seed,
            shuffle: true,
            hypers: outline.hypers.iter().cloned().collect(),
        };
        let seed = options.seed.unwrap_or(settings.seed);
        Settings { seed, shuffle: !options.no_shuffle, ..settings }.overlay(options)
    }

    /// Those of a run that goes on: its seed and order are what they were.
    pub fn resume(self, options: &TrainOptions) -> Result<Self, Error> {
        if let Some(seed) = options.seed.filter(|seed| *seed != self.seed) {
            return Err(Error::usage(format!("the run was started with seed {}, not {seed}", self.seed)));
        }
        if options.no_shuffle && self.shuffle {
            return Err(Error::usage(
                "the run was started with shuffled samples; it cannot go on with --no-shuffle",
            ));
        }
        self.overlay(options)
    }

    fn overlay(mut self, options: &TrainOptions) -> Result<Self, Error> {
        self.data = options.data.clone().or(self.data);
        self.epochs = options.epochs.unwrap_or(self.epochs);
        let rate = options.lr.map(|rate| (LEARNING_RATE.to_string(), rate));
        for (name, value) in options.set.iter().chain(&rate) {
            self.set(name, *value)?;
        }
        Ok(self)
    }

    /// A number of the optimizer or the schedule, by its name.
    pub fn set(&mut self, name: &str, value: f64) -> Result<(), Error> {
        if name == CLIP && value <= 0.0 {
            return Err(Error::usage(format!("{CLIP} is a norm: it must be above 0, not {value}")));
        }
        match self.hypers.get_mut(name) {
            Some(hyper) => *hyper = value,
            None => return Err(self.unknown(name)),
        }
        Ok(())
    }

    fn unknown(&self, name: &str) -> Error {
        let known: Vec<&str> = self.hypers.keys().map(String::as_str).collect();
        let help = if known.is_empty() {
            "this program has no numbers to set".to_string()
        } else {
            format!("numbers that can be set: {}", known.join(", "))
        };
        Error::usage(format!("the optimizer and the schedule have no `{name}`")).with_help(help)
    }
}
