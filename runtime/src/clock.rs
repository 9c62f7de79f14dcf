//! What changes from step to step besides the samples: the step's number, and the learning rate by its schedule.

use crate::pool::Pool;
use crate::program::{Program, RoutineId, SCHEDULE};
use crate::settings::{LEARNING_RATE, Settings};

pub struct Clock {
    steps_per_epoch: u64,
    schedule: Option<RoutineId>,
    /// Learning rate before the schedule, and its place.
    rate: Option<(f64, usize)>,
}

impl Clock {
    /// Writes the numbers that stay as they are.
    pub fn new(program: &mut Program, settings: &Settings, steps_per_epoch: u64) -> Self {
        let mut rate = None;
        for hyper in program.manifest().hypers.clone() {
            let value = settings.hypers.get(&hyper.name).copied().unwrap_or(hyper.value);
            program.set_f64(hyper.offset, value);
            if hyper.name == LEARNING_RATE {
                rate = Some((value, hyper.offset));
            }
        }
        program.set_f64(program.scalars().total_time, f64::from(settings.epochs));
        Clock { steps_per_epoch, schedule: program.routine(SCHEDULE), rate }
    }

    /// Writes what `train` calls its step, counted from 0: the number of the batch over all steps, by which random
    /// numbers are drawn; and what `update` does: the number of the step.
    pub fn set_number(&self, program: &mut Program, number: u64) {
        program.set_f64(program.scalars().step, (number + 1) as f64);
    }

    /// Before step `step`, counted from 0: the step's number counts from 1, time runs in epochs.
    pub fn set(&self, program: &mut Program, pool: &mut Pool, step: u64) {
        self.set_number(program, step);
        program.set_f64(program.scalars().time, step as f64 / self.steps_per_epoch as f64);
        if let Some(schedule) = self.schedule {
            program.run(schedule, pool);
            let multiplier = program.f64_at(program.scalars().multiplier);
            if let Some((rate, offset)) = self.rate {
                program.set_f64(offset, rate * multiplier);
            }
        }
    }

    /// The learning rate as it is.
    pub fn rate(&self, program: &Program) -> Option<f64> {
        self.rate.map(|(_, offset)| program.f64_at(offset))
    }
}
