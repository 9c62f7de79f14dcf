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

/// Takes the steps from the first (counted from 0) to before the last again, on the state that the program holds, each in
/// `parts` parts: `prepare` puts the inputs of a step's part in place, and says which routine runs on them. None where every
/// step is sound, or where the code cannot be probed.
pub fn search(
    program: &mut Program,
    pool: &mut Pool,
    steps: std::ops::Range<u64>,
    parts: u64,
    mut prepare: impl FnMut(&mut Program, &mut Pool, u64, u64) -> RoutineId,
) -> Option<Source> {
    for step in steps {
        let before = program.snapshot();
        let mut sound = true;
        for part in 0..parts {
            let routine = prepare(program, pool, step, part);
            program.run(routine, pool);
            sound &= program.f32_at(program.scalars().loss).is_finite();
        }
        if sound && infected(program).next().is_none() {
            continue;
        }
        program.restore(&before);
        return (0..parts).find_map(|part| {
            let routine = prepare(program, pool, step, part);
            let (probe, number) = program.run_probed(routine, pool)?;
            Some(Source::new(program.manifest(), step, &probe, number))
        });
    }
    None
}

/// Names of the tensors with a number that is not finite.
pub fn infected(program: &Program) -> impl Iterator<Item = &str> {
    let tensors = program.manifest().tensors.iter();
    let infected = tensors.filter(|tensor| program.stored(tensor).iter().any(|value| !value.is_finite()));
    infected.map(|tensor| tensor.name.as_str())
}
