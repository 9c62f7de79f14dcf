//! The locals of one expansion of a definition.

use std::collections::HashMap;

use super::value::Value;
use crate::axes::Axis;
use crate::resolve::hir::{Item, LocalId};

#[derive(Clone, Debug, Default)]
pub struct Frame {
    values: Vec<Option<Value>>,
    /// The axis that a whole-numbered local (`n`) stands for among dimensions: one per expansion.
    pub named_axes: HashMap<LocalId, Axis>,
    /// What `..` of the signature matched.
    pub rest: Option<Vec<Axis>>,
    /// Axes over which an intrinsic without tensors (random numbers) ranges.
    pub ambient: Vec<Axis>,
}

impl Frame {
    pub fn new(item: &Item) -> Self {
        Frame { values: vec![None; item.locals as usize], ..Frame::default() }
    }

    pub fn set(&mut self, local: LocalId, value: Value) {
        let index = local.0 as usize;
        if index >= self.values.len() {
            self.values.resize(index + 1, None);
        }
        self.values[index] = Some(value);
    }

    /// Unset locals belong to statements that failed and were reported.
    pub fn get(&self, local: LocalId) -> Value {
        self.values.get(local.0 as usize).cloned().flatten().unwrap_or(Value::Poison)
    }
}
