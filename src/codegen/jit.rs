//! Code for this very process.

use blk_runtime::manifest::RoutineFn;
use blk_runtime::pool::Pool;

use super::llvm::{self, Engine};
use super::target::Target;
use crate::loops::Program;

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
        for task in 0..known.tasks() {
            // SAFETY: as the caller promises.
            unsafe { function(base, task as u32, scratch) };
        }
    }
}
