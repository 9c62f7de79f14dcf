//! Where a run's first number that is not finite came from. Steps have the same bits whenever they are taken, so the
//! search goes back to a good state, takes the steps again, and looks at every value of the step that fails.

use crate::manifest::{Manifest, Probe};
use crate::pool::Pool;
use crate::program::{Program, RoutineId};

/// The first value of a step that holds a number that is not finite.
#[derive(Clone, Debug, PartialEq)]
pub struct Source {
    /// Counted from 1.
    pub step: u64,
    pub block: Option<String>,
    pub pass: String,
    /// The value, in words.
    pub name: String,
    /// Its first number that is not finite.
    pub number: f32,
}

impl Source {
    fn new(manifest: &Manifest, step: u64, probe: &Probe, number: f32) -> Self {
        let block = probe.block.and_then(|index| manifest.blocks.get(index as usize));
        Source {
            step: step + 1,
            block: block.map(|block| block.name.clone()),
            pass: probe.pass.clone(),
            name: probe.name.clone(),
            number,
        }
    }
}

impl std::fmt::Display for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        let Source { step, block, pass, name, number } = self;
        let block = block.as_ref().map_or(String::new(), |block| format!(" in block `{block}`"));
        write!(f, "it began in step {step}{block} ({pass}): {name} holds {number}")
    }
}

/// Takes the steps from `first` (counted from 0) to before `end` again, on the state that the program holds. `prepare`
/// puts a step's batch and its clock in place. None where every step is sound, or where the code cannot be probed.
pub fn search(
    program: &mut Program,
    pool: &mut Pool,
    train: RoutineId,
    steps: std::ops::Range<u64>,
    mut prepare: impl FnMut(&mut Program, &mut Pool, u64),
) -> Option<Source> {
    for step in steps {
        let before = program.snapshot();
        prepare(program, pool, step);
        program.run(train, pool);
        if is_sound(program) {
            continue;
        }
        program.restore(&before);
        prepare(program, pool, step);
        let (probe, number) = program.run_probed(train, pool)?;
        return Some(Source::new(program.manifest(), step, &probe, number));
    }
    None
}

/// The loss and everything that outlives the step are finite.
pub fn is_sound(program: &Program) -> bool {
    program.f32_at(program.scalars().loss).is_finite() && infected(program).next().is_none()
}

/// Names of the tensors with a number that is not finite.
pub fn infected(program: &Program) -> impl Iterator<Item = &str> {
    let tensors = program.manifest().tensors.iter();
    let infected = tensors.filter(|tensor| program.tensor(tensor).iter().any(|value| !value.is_finite()));
    infected.map(|tensor| tensor.name.as_str())
}
