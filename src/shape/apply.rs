//! Application of ops to tensors: definitions are expanded in place.

use std::rc::Rc;

use super::dims::Meeting;
use super::elaborator::{Elaborator, Stage};
use super::frame::Frame;
use super::value::{Argument, Configured, OpValue, Value};
use crate::axes::{Axis, BATCH};
use crate::resolve::hir::{Function, Item, ItemKind, Loss, Op, TensorParam};
use crate::source::Span;
use crate::syntax::ast::TensorElem;

impl Elaborator<'_> {
    /// The op's result. Outside any block, an op becomes a block of its own.
    pub fn apply(&mut self, op: &OpValue, inputs: &[(Value, Span)], call: Span) -> Value {
        if inputs.iter().any(|(value, _)| value.is_poison()) || !self.step_in(call) {
            return Value::Poison;
        }
        let value = self.apply_kind(op, inputs, call);
        self.step_out();
        value
    }

    fn apply_kind(&mut self, op: &OpValue, inputs: &[(Value, Span)], call: Span) -> Value {
        if self.stage == Stage::Chain && !self.has_blocks(op) && !matches!(op, OpValue::Chain(_)) {
            return self.implicit_block(op, inputs, call);
        }
        match op {
            OpValue::Chain(parts) => self.apply_chain(parts, inputs, call),
            OpValue::Block { name, inner, span } => self.apply_block(name, inner, inputs, *span),
            OpValue::Held { name, inner } => self.in_scope(name, |this| this.apply(inner, inputs, call)),
            OpValue::Intrinsic { name, args, span } => {
                let tensors = inputs.iter().map(|(value, span)| Argument {
                    name: None,
                    value: value.clone(),
                    span: *span,
                });
                let args = tensors.chain(args.iter().cloned()).collect();
                let ambient = self.ambient_of(inputs);
                self.intrinsic_apply(&ambient, name, args, *span)
            }
            OpValue::Item(configured) => self.apply_item(configured, inputs),
        }
    }

    /// The op opens blocks itself.
    pub fn has_blocks(&self, op: &OpValue) -> bool {
        match op {
            OpValue::Block { .. } => true,
            OpValue::Chain(parts) => parts.iter().any(|part| self.has_blocks(part)),
            OpValue::Held { inner, .. } => self.has_blocks(inner),
            OpValue::Intrinsic { .. } => false,
            OpValue::Item(configured) => {
                let own = matches!(&self.hir.item(configured.item).kind, ItemKind::Op(op) if op.has_blocks);
                own || configured
                    .config
                    .iter()
                    .flatten()
                    .any(|(value, _)| matches!(value, Value::Op(op) if self.has_blocks(op)))
            }
        }
    }

    fn apply_chain(&mut self, parts: &[Rc<OpValue>], inputs: &[(Value, Span)], call: Span) -> Value {
        let Some((first, rest)) = parts.split_first() else {
            return inputs.first().map_or(Value::Poison, |(value, _)| value.clone());
        };
        let mut value = self.apply(first, inputs, first.span().unwrap_or(call));
        for part in rest {
            let span = part.span().unwrap_or(call);
            value = self.apply(part, &[(value, span)], span);
        }
        value
    }

    /// Runs with a segment added to parameters' paths; outside blocks there are none.
    pub fn in_scope(&mut self, name: &str, run: impl FnOnce(&mut Self) -> Value) -> Value {
        let outer = self.scope;
        if outer.is_some() {
            self.scope = Some(self.paths.enter(outer, name));
        }
        let value = run(self);
        self.scope = outer;
        value
    }

    fn ambient_of(&self, inputs: &[(Value, Span)]) -> Vec<Axis> {
        match inputs.first() {
            Some((Value::Tensor(node), _)) => self.ty(*node).axes.clone(),
            _ => vec![],
        }
    }

    fn apply_item(&mut self, configured: &Configured, inputs: &[(Value, Span)]) -> Value {
        let hir = self.hir;
        let item = hir.item(configured.item);
        if item.broken {
            return Value::Poison;
        }
        match &item.kind {
            ItemKind::Fn(function) => self.apply_fn(item, function, configured, inputs),
            ItemKind::Op(op) => {
                if !self.push_expansion(&item.name.text, configured.span) {
                    return Value::Poison;
                }
                let value =
                    self.in_scope(&item.name.text, |this| this.expand_op(item, op, configured, inputs));
                self.pop_expansion();
                value
            }
            ItemKind::Loss(loss) => self.apply_loss(item, loss, configured, inputs),
            _ => self.fail_at("T009", configured.span, format!("`{}` is no op", item.name.text)),
        }
    }

    /// A loss as a part of another one.
    fn apply_loss(
        &mut self,
        item: &Item,
        loss: &Loss,
        configured: &Configured,
        inputs: &[(Value, Span)],
    ) -> Value {
        if self.stage != Stage::Loss {
            let message =
                format!("the loss `{}` stands only at the end of a network or in a loss", item.name.text);
            return self.fail_at("T016", configured.span, message);
        }
        if !self.push_expansion(&item.name.text, configured.span) {
            return Value::Poison;
        }
        let mut frame = Frame::new(item);
        let bound = self.bind_config(&mut frame, item, configured)
            && self.bind_tensors(&mut frame, item, &loss.tensors, inputs, configured.span);
        let value = if bound { self.run(&mut frame, &loss.body) } else { Value::Poison };
        self.pop_expansion();
        value
    }

    fn expand_op(
        &mut self,
        item: &Item,
        op: &Op,
        configured: &Configured,
        inputs: &[(Value, Span)],
    ) -> Value {
        let mut frame = Frame::new(item);
        if !self.bind_config(&mut frame, item, configured) {
            return Value::Poison;
        }
        let Some(tensors) = &op.tensors else {
            return match self.run(&mut frame, &op.body) {
                Value::Op(pipeline) => self.apply(&pipeline, inputs, configured.span),
                Value::Poison => Value::Poison,
                other => {
                    let message = format!(
                        "`{}` has no tensors, so its body must be a pipeline of ops; it is {}",
                        item.name.text,
                        other.noun()
                    );
                    let diagnostic = self
                        .error("T009", item.name.span, message)
                        .help("give it its tensors: `op name(config)(x) = …`");
                    self.fail(diagnostic)
                }
            };
        };
        if !self.bind_tensors(&mut frame, item, tensors, inputs, configured.span) {
            return Value::Poison;
        }
        frame.ambient = self.ambient_of(inputs);
        let value = self.run(&mut frame, &op.body);
        match &op.result {
            Some(result) => self.check_result(&mut frame, value, result, &item.name.text),
            None => value,
        }
    }

    /// Gives the tensor parameters their tensors and the dimension names their axes.
    pub fn bind_tensors(
        &mut self,
        frame: &mut Frame,
        item: &Item,
        params: &[TensorParam],
        inputs: &[(Value, Span)],
        call: Span,
    ) -> bool {
        if params.len() != inputs.len() {
            let message = format!(
                "`{}` takes {} tensor{}, {} given",
                item.name.text,
                params.len(),
                plural(params.len()),
                inputs.len()
            );
            let diagnostic = self.error("T009", call, message).label(item.name.span, "defined here");
            self.fail(diagnostic);
            return false;
        }
        for (param, (value, span)) in params.iter().zip(inputs) {
            let Some(node) = self.node_of(value, *span) else { return false };
            let value = match &param.ty {
                Some(ty) if ty.elem == TensorElem::Float => {
                    let meeting = Meeting { node, ty, owner: &item.name.text, role: &param.name.text };
                    self.match_dims(frame, &meeting, call)
                }
                _ => Value::Tensor(node),
            };
            if value.is_poison() {
                return false;
            }
            frame.set(param.local, value);
        }
        true
    }

    fn apply_fn(
        &mut self,
        item: &Item,
        function: &Function,
        configured: &Configured,
        inputs: &[(Value, Span)],
    ) -> Value {
        let mut configured = configured.clone();
        let mut left = inputs.iter();
        for (param, slot) in function.params.iter().zip(&mut configured.config) {
            if param.default.is_none() && slot.is_none() {
                *slot = left.next().cloned();
            }
        }
        if left.next().is_some() {
            let message = format!("`{}` takes fewer arguments than it is given here", item.name.text);
            let diagnostic =
                self.error("T009", configured.span, message).label(item.name.span, "defined here");
            return self.fail(diagnostic);
        }
        self.expand_fn(&configured, configured.span)
    }

    /// The value of a `fn` whose arguments are bound.
    pub fn expand_fn(&mut self, configured: &Configured, call: Span) -> Value {
        let hir = self.hir;
        let item = hir.item(configured.item);
        let ItemKind::Fn(function) = &item.kind else { return Value::Poison };
        if !self.push_expansion(&item.name.text, call) {
            return Value::Poison;
        }
        let mut frame = Frame::new(item);
        let bound = self.bind_config(&mut frame, item, configured);
        let arguments: Vec<(Value, Span)> = configured.config.iter().flatten().cloned().collect();
        frame.ambient = self.ambient_of(&arguments);
        let value = if bound { self.eval(&mut frame, &function.body) } else { Value::Poison };
        self.pop_expansion();
        value
    }

    /// An op outside any block is a block of its own, named after it.
    fn implicit_block(&mut self, op: &OpValue, inputs: &[(Value, Span)], call: Span) -> Value {
        let name = self.op_name(op);
        self.open_block(&name, inputs, op.span().unwrap_or(call), |this, inputs| this.apply(op, inputs, call))
    }

    fn op_name(&self, op: &OpValue) -> String {
        match op {
            OpValue::Item(configured) => self.hir.item(configured.item).name.text.clone(),
            OpValue::Intrinsic { name, .. } => (*name).into(),
            OpValue::Held { inner, .. } => self.op_name(inner),
            OpValue::Block { name, .. } => name.to_string(),
            OpValue::Chain(parts) => parts.first().map_or_else(|| "block".into(), |part| self.op_name(part)),
        }
    }
}

fn plural(count: usize) -> &'static str {
    if count == 1 { "" } else { "s" }
}

/// The axes without the batch.
pub fn features(axes: &[Axis]) -> Vec<Axis> {
    axes.iter().copied().filter(|&axis| axis != BATCH).collect()
}
