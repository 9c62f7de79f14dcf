//! Blocks: each continues the chain where the one before ended.

use super::elaborator::{Elaborator, PendingBlock, Stage};
use super::limits;
use super::value::{OpValue, Value};
use crate::ir::{Block, BlockId, NodeId};
use crate::source::Span;

impl Elaborator<'_> {
    pub fn apply_block(
        &mut self,
        name: &str,
        inner: &OpValue,
        inputs: &[(Value, Span)],
        span: Span,
    ) -> Value {
        if self.stage != Stage::Chain {
            let diagnostic = self
                .error("T015", span, format!("block `{name}` stands inside another block"))
                .help("blocks are the links of one chain and do not nest; leave one of the two out");
            return self.fail(diagnostic);
        }
        self.open_block(name, inputs, span, |this, inputs| this.apply(inner, inputs, span))
    }

    /// Runs the block's map on the end of the chain, which its result becomes.
    pub fn open_block(
        &mut self,
        name: &str,
        inputs: &[(Value, Span)],
        span: Span,
        run: impl FnOnce(&mut Self, &[(Value, Span)]) -> Value,
    ) -> Value {
        let Some(input) = self.chain_input(name, inputs, span) else { return Value::Poison };
        if self.blocks.len() >= limits::BLOCKS {
            let message = format!("a network of more than {} blocks", limits::BLOCKS);
            return self.exhaust("L003", span, message, "put several steps into one block");
        }
        let id = BlockId(self.blocks.len() as u32);
        let scope = self.paths.enter(None, name);
        let block = Block { name: name.into(), input, output: input, params: Vec::new(), span };
        self.blocks.push(PendingBlock { block, scope });
        (self.stage, self.scope) = (Stage::Block(id), Some(scope));
        let value = run(self, inputs);
        (self.stage, self.scope) = (Stage::Chain, None);
        let output = match &value {
            Value::Tensor(node) => *node,
            Value::Poison => return Value::Poison,
            other => {
                let message = format!("block `{name}` gives {}, not a tensor", other.noun());
                return self.fail_at("T009", span, message);
            }
        };
        if !self.is_numeric(output, &format!("the output of block `{name}`"), span) {
            return Value::Poison;
        }
        self.blocks[id.index()].block.output = output;
        self.head = Some(output);
        value
    }

    fn chain_input(&mut self, name: &str, inputs: &[(Value, Span)], span: Span) -> Option<NodeId> {
        if let [(Value::Tensor(node), _)] = inputs
            && Some(*node) == self.head
        {
            return Some(*node);
        }
        if self.loss.is_some() {
            let message = format!("block `{name}` stands after the loss");
            let diagnostic = self.error("T016", span, message).help("a network ends with its loss");
            self.fail(diagnostic);
            return None;
        }
        let diagnostic = self
            .error("T015", span, format!("block `{name}` does not continue the chain"))
            .at("its input must be the output of the block before it, and nothing else")
            .help("computations between blocks belong into a block");
        self.fail(diagnostic);
        None
    }
}
