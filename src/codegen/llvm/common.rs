//! Functions that modules of one program in this process have in common: kernels, packing, transforms. The first module that
//! needs one gets its code; the others call it through a place in memory, which is filled when all are compiled.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Filled while nobody calls.
#[derive(Default)]
pub struct Common(Mutex<HashMap<String, Box<AtomicUsize>>>);

impl Common {
    /// Where the function's address will be, if another module has its code; `None` makes it the caller's to emit.
    pub fn place(&self, name: &str) -> Option<*const AtomicUsize> {
        match self.known().entry(name.to_string()) {
            Entry::Occupied(known) => Some(&raw const **known.get()),
            Entry::Vacant(new) => {
                new.insert(Box::default());
                None
            }
        }
    }

    pub fn fill(&self, name: &str, address: usize) {
        if let Some(place) = self.known().get(name) {
            place.store(address, Ordering::Release);
        }
    }

    fn known(&self) -> std::sync::MutexGuard<'_, HashMap<String, Box<AtomicUsize>>> {
        self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}
