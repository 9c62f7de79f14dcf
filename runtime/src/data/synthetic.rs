//! `synthetic`: standard normal samples with random targets, for timing.

use super::{Loader, Raw, Set, Targets, Values, Wanted};
use crate::Error;
use crate::manifest::Task;
use crate::random::SplitMix64;

pub struct Synthetic {
    pub samples: usize,
}

impl Default for Synthetic {
    fn default() -> Self {
        Synthetic { samples: 1024 }
    }
}

const SEED: u64 = 0;

impl Loader for Synthetic {
    fn load(&self, wanted: &Wanted) -> Result<Raw<Set>, Error> {
        let mut random = SplitMix64::new(SEED);
        let mut normal = |count: usize| (0..count).map(|_| random.gaussian() as f32).collect::<Vec<_>>();
        let values = Values::Floats(normal(self.samples * wanted.sample_size()));
        let targets = match wanted.task {
            Task::Float { size } => Targets::Float { values: normal(self.samples * size), size },
            Task::Class { classes } => {
                let label = |_| random.below(classes.max(1) as u64) as i32;
                Targets::Class((0..self.samples).map(label).collect())
            }
        };
        let shape = wanted.input_shape.clone();
        let train = Set {
            source: "synthetic".into(),
            unit: "sample",
            first: 1,
            shape,
            classes: None,
            values,
            targets,
        };
        Ok(Raw { train, test: None })
    }
}
