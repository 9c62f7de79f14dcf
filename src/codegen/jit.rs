//! Code for this very process.

use blk_runtime::manifest::{RoutineFn, wipe_note};
use blk_runtime::pool::Pool;

use super::llvm::{self, Engine};
use super::target::Target;
use crate::loops::{Level, Program, Routine};

/// A program's routines in memory, callable as long as this lives.
pub struct Jit {
    engine: Engine,
}

impl Jit {
    /// Compiles a verified program. An error says why the target has no code.
    pub fn new(program: &Program, target: &Target) -> Result<Jit, String> {
        Ok(Jit { engine: llvm::load(program, target, Pool::available())? })
    }

    /// The routine of that symbol (see [`llvm::symbol`]).
    ///
    /// # Panics
    /// When the program has no such routine.
    pub fn routine(&self, symbol: &str) -> RoutineFn {
        let address = self.engine.address(symbol).expect("a routine of the program");
        // SAFETY: every function under such a symbol is emitted with this signature.
        unsafe { std::mem::transmute::<usize, RoutineFn>(address) }
    }

    /// Runs a routine on one thread, task by task.
    ///
    /// # Safety
    /// `base` points to the program's arena and `scratch` to [`llvm::scratch_bytes`] bytes, both aligned to 64.
    pub unsafe fn run(&self, program: &Program, routine: &str, base: *mut u8, scratch: *mut u8) {
        let Some(known) = program.routines.iter().find(|known| known.name == routine) else { return };
        let function = self.routine(&llvm::symbol(routine));
        // SAFETY: as the caller promises.
        unsafe { run_levels(known, function, base, scratch) }
    }
}

/// Runs a routine's function on this thread, level by level.
///
/// # Safety
/// As [`Jit::run`].
pub unsafe fn run_levels(routine: &Routine, function: RoutineFn, base: *mut u8, scratch: *mut u8) {
    let mut first = 0;
    for tasks in routine.levels.iter().map(Level::tasks) {
        // SAFETY: as the caller promises.
        unsafe {
            wipe_note(scratch);
            (first..first + tasks).for_each(|task| function(base, task as u32, scratch));
        }
        first += tasks;
    }
}
