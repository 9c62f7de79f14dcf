//! Expressions: compile-time values are computed, tensors become nodes.

use std::rc::Rc;

use super::elaborator::Elaborator;
use super::frame::Frame;
use super::value::{Configured, OpValue, Value};
use super::{limits, number};
use crate::axes::BATCH;
use crate::ir::{Elem, Leaf, NodeId, Type};
use crate::resolve::hir::{Expr, ExprKind, ItemId, ItemKind, ListEntry, LocalId};
use crate::source::Span;
use crate::syntax::ast::Name;

/// The registry's operator of `a[i]`.
const GATHER: &str = "[]";

impl Elaborator<'_> {
    /// The value of an expression; poison after an error, which is then reported.
    pub fn eval(&mut self, frame: &mut Frame, expr: &Expr) -> Value {
        if !self.step_in(expr.span) {
            return Value::Poison;
        }
        let value = self.eval_kind(frame, expr);
        self.step_out();
        value
    }

    fn eval_kind(&mut self, frame: &mut Frame, expr: &Expr) -> Value {
        let span = expr.span;
        match &expr.kind {
            ExprKind::Int(value) => Value::Int(*value),
            ExprKind::Float(value) => Value::Float(*value),
            ExprKind::Bool(value) => Value::Bool(*value),
            ExprKind::Str(value) => Value::Str(value.as_str().into()),
            ExprKind::Word(word) => Value::Word(word.as_str().into()),
            ExprKind::Local(local) => self.present(frame.get(*local), span),
            ExprKind::Item(id) => self.item_value(frame, *id, span),
            ExprKind::Intrinsic(name) => self.bare_intrinsic(frame, name, span),
            ExprKind::Batch => Value::Axis(BATCH),
            ExprKind::Training => {
                Value::Tensor(self.leaf(Leaf::Training, Type { elem: Elem::Bool, axes: vec![] }, span))
            }
            ExprKind::Field(base, name) => self.field(frame, base, name),
            ExprKind::Call { callee, args } => self.call(frame, callee, args, span),
            ExprKind::Index(base, index) => self.index(frame, base, index, span),
            ExprKind::List(entries) => self.list(frame, entries, span),
            ExprKind::Unary(op, arg) => self.unary(frame, op, arg, span),
            ExprKind::Binary { op, left, right, op_span } => {
                self.binary(frame, op, (left, right), (span, *op_span))
            }
            ExprKind::If { then, condition, otherwise } => {
                self.choose(frame, condition, then, otherwise, span)
            }
            ExprKind::Pipe(left, right) => self.pipe(frame, left, right),
            ExprKind::Block { name, body } => self.block_value(frame, name, body, span),
            ExprKind::For { local, list, body } => self.for_loop(frame, *local, list, body, span),
            ExprKind::Error => Value::Poison,
        }
    }

    fn present(&mut self, value: Value, span: Span) -> Value {
        let Value::Absent { condition } = value else { return value };
        let name = self.sources.text(span).to_string();
        let condition_text = self.sources.text(condition).to_string();
        let diagnostic = self
            .error(
                "T011",
                span,
                format!("`{name}` does not exist here: its condition `{condition_text}` is false"),
            )
            .label(condition, "the condition")
            .help(format!("write `({name} if {condition_text} else 0)`"));
        self.fail(diagnostic)
    }

    /// An item mentioned by its name alone.
    fn item_value(&mut self, frame: &Frame, id: ItemId, span: Span) -> Value {
        let hir = self.hir;
        let item = hir.item(id);
        if item.broken {
            return Value::Poison;
        }
        let configured = Configured { item: id, config: vec![None; item.config().len()], span };
        match &item.kind {
            ItemKind::Op(_) | ItemKind::Fn(_) => Value::Op(Rc::new(OpValue::Item(configured))),
            ItemKind::Alias(expr) => self.eval(&mut Frame::new(item), expr),
            ItemKind::Init(_) => self.expand_init(&configured, &frame.ambient, span),
            _ => Value::Configured(Rc::new(configured)),
        }
    }

    fn field(&mut self, frame: &mut Frame, base: &Expr, name: &Name) -> Value {
        match self.eval(frame, base) {
            Value::Poison => Value::Poison,
            Value::Scale { m, w } => match name.text.as_str() {
                "m" => m.as_ref().clone(),
                "W" => w.as_ref().clone(),
                other => {
                    let diagnostic = self
                        .error("T010", name.span, format!("the scale factors have no part `{other}`"))
                        .help("they are `scale.m`, accumulated over the blocks above, and `scale.W`, of this tensor");
                    self.fail(diagnostic)
                }
            },
            other => {
                let noun = other.noun();
                self.fail_at("T010", name.span, format!("{noun} has no part `{}`", name.text))
            }
        }
    }

    fn index(&mut self, frame: &mut Frame, base: &Expr, index: &Expr, span: Span) -> Value {
        let base = self.eval(frame, base);
        let position = self.eval(frame, index);
        match (&base, &position) {
            (Value::Poison, _) | (_, Value::Poison) => Value::Poison,
            (Value::List(entries), Value::Int(at)) => {
                let found = usize::try_from(*at).ok().and_then(|at| entries.get(at)).cloned();
                let message = || format!("entry {at} of a list of {}: positions count from 0", entries.len());
                found.unwrap_or_else(|| self.fail_at("T012", index.span, message()))
            }
            (Value::Tensor(tensor), Value::Tensor(labels)) => {
                self.operator(GATHER, &[*tensor, *labels], span, span)
            }
            (Value::Tensor(_), other) => {
                let noun = other.noun();
                self.fail_at(
                    "T012",
                    index.span,
                    format!("a tensor is indexed by class labels, not by {noun}"),
                )
            }
            (other, _) => {
                let noun = other.noun();
                self.fail_at("T012", span, format!("{noun} cannot be indexed"))
            }
        }
    }

    fn list(&mut self, frame: &mut Frame, entries: &[ListEntry], span: Span) -> Value {
        if entries.len() > limits::LIST {
            return self.fail_at("L006", span, format!("a list of more than {} entries", limits::LIST));
        }
        let mut values = Vec::with_capacity(entries.len());
        for entry in entries {
            values.push(match entry {
                ListEntry::Expr(expr) => self.eval(frame, expr),
                ListEntry::Rest(_) => Value::Rest,
            });
        }
        if values.iter().any(Value::is_poison) { Value::Poison } else { Value::List(values.into()) }
    }

    fn unary(&mut self, frame: &mut Frame, op: &'static str, arg: &Expr, span: Span) -> Value {
        let value = self.eval(frame, arg);
        let value = self.as_number(value);
        match &value {
            Value::Poison => return Value::Poison,
            Value::Tensor(node) => return self.operator(op, &[*node], span, span),
            _ => {}
        }
        match number::unary(op, &value) {
            Some(Ok(value)) => value,
            Some(Err(message)) => self.fail_at("T005", span, message),
            None => {
                let noun = value.noun();
                self.fail_at("T006", span, format!("`{op}` does not apply to {noun}"))
            }
        }
    }

    /// Axes count as their extents in arithmetic.
    pub fn as_number(&self, value: Value) -> Value {
        match value {
            Value::Axis(axis) => Value::Int(self.axes.extent(axis) as i64),
            other => other,
        }
    }

    fn binary(
        &mut self,
        frame: &mut Frame,
        op: &'static str,
        sides: (&Expr, &Expr),
        spans: (Span, Span),
    ) -> Value {
        let left = self.eval(frame, sides.0);
        let left = self.as_number(left);
        match (op, &left) {
            ("and", Value::Bool(false)) | ("or", Value::Bool(true)) => return left,
            _ => {}
        }
        let right = self.eval(frame, sides.1);
        let right = self.as_number(right);
        if left.is_poison() || right.is_poison() {
            return Value::Poison;
        }
        if matches!(left, Value::Tensor(_)) || matches!(right, Value::Tensor(_)) {
            return self.tensor_binary(op, (left, right), (sides.0.span, sides.1.span), spans);
        }
        match number::binary(op, &left, &right) {
            Some(Ok(value)) => value,
            Some(Err(message)) => self.fail_at("T005", spans.0, message),
            None => {
                let message = format!("`{op}` does not apply to {} and {}", left.noun(), right.noun());
                self.fail_at("T006", spans.1, message)
            }
        }
    }

    fn tensor_binary(
        &mut self,
        op: &'static str,
        sides: (Value, Value),
        at: (Span, Span),
        spans: (Span, Span),
    ) -> Value {
        if let Some(same) = neutral(op, &sides.0, &sides.1) {
            return same;
        }
        let (Some(left), Some(right)) = (self.node_of(&sides.0, at.0), self.node_of(&sides.1, at.1)) else {
            return Value::Poison;
        };
        self.operator(op, &[left, right], spans.0, spans.1)
    }

    /// A tensor, or a number or truth value as a tensor without axes; anything else is reported.
    pub fn node_of(&mut self, value: &Value, span: Span) -> Option<NodeId> {
        match value {
            Value::Tensor(node) => Some(*node),
            Value::Poison => None,
            Value::Axis(axis) => Some(self.number(self.axes.extent(*axis) as f64, span)),
            Value::Bool(value) => self.condition(*value, span),
            other => match other.number() {
                Some(number) => Some(self.number(number, span)),
                None => {
                    let noun = other.noun();
                    let help = match other {
                        Value::Op(_) => "an op takes its tensors by `x |> op` or `op(x)`",
                        _ => "here a tensor or a number is needed",
                    };
                    let diagnostic =
                        self.error("T006", span, format!("{noun} where a tensor is expected")).help(help);
                    self.fail(diagnostic);
                    None
                }
            },
        }
    }

    /// Conditions are no numbers: nothing is trained, stored or differentiated through them.
    pub fn is_numeric(&mut self, node: NodeId, what: &str, span: Span) -> bool {
        let numeric = self.ty(node).elem == Elem::Float;
        if !numeric {
            let diagnostic = self
                .error("T006", span, format!("{what} must be numbers, this is a condition"))
                .help("`where(condition, 1, 0)` makes numbers of it");
            self.fail(diagnostic);
        }
        numeric
    }

    /// A condition that is known now: 1 == 1, or 1 == 0.
    fn condition(&mut self, value: bool, span: Span) -> Option<NodeId> {
        let sides = [self.number(1.0, span), self.number(f64::from(u8::from(value)), span)];
        match self.operator("==", &sides, span, span) {
            Value::Tensor(node) => Some(node),
            _ => None,
        }
    }

    fn choose(
        &mut self,
        frame: &mut Frame,
        condition: &Expr,
        then: &Expr,
        otherwise: &Expr,
        span: Span,
    ) -> Value {
        match self.eval(frame, condition) {
            Value::Poison => Value::Poison,
            Value::Bool(true) => self.eval(frame, then),
            Value::Bool(false) => self.eval(frame, otherwise),
            Value::Tensor(condition_node) if self.ty(condition_node).elem == Elem::Bool => {
                let then_value = self.eval(frame, then);
                let other_value = self.eval(frame, otherwise);
                let nodes =
                    (self.node_of(&then_value, then.span), self.node_of(&other_value, otherwise.span));
                let (Some(then), Some(otherwise)) = nodes else { return Value::Poison };
                self.choice([condition_node, then, otherwise], span)
            }
            other => {
                let noun = other.noun();
                self.fail_at(
                    "T007",
                    condition.span,
                    format!("a condition must be true or false, this is {noun}"),
                )
            }
        }
    }

    /// A sub-expression's value as a plain truth value.
    pub fn eval_bool(&mut self, frame: &mut Frame, expr: &Expr) -> Option<bool> {
        match self.eval(frame, expr) {
            Value::Bool(value) => Some(value),
            Value::Poison => None,
            other => {
                let message = format!("this must be true or false when compiling, it is {}", other.noun());
                self.fail_at("T007", expr.span, message);
                None
            }
        }
    }

    /// A sub-expression's value as a number known now.
    pub fn eval_number(&mut self, frame: &mut Frame, expr: &Expr) -> Option<f64> {
        let value = self.eval(frame, expr);
        let value = self.as_number(value);
        match value.number() {
            Some(number) => Some(number),
            None if value.is_poison() => None,
            None => {
                let message =
                    format!("a number that is known when compiling is needed, this is {}", value.noun());
                self.fail_at("T008", expr.span, message);
                None
            }
        }
    }

    fn pipe(&mut self, frame: &mut Frame, left: &Expr, right: &Expr) -> Value {
        let left_value = self.eval(frame, left);
        let right_value = self.eval(frame, right);
        match (left_value, right_value) {
            (Value::Poison, _) | (_, Value::Poison) => Value::Poison,
            (Value::Op(first), Value::Op(second)) => Value::Op(Rc::new(chain(first, second))),
            (input, Value::Op(op)) => self.apply(&op, &[(input, left.span)], right.span),
            (input, Value::Configured(configured)) => self.end_with_loss(input, &configured, right.span),
            (_, other) => {
                let noun = other.noun();
                let diagnostic = self
                    .error("T009", right.span, format!("`|>` leads into an op, this is {noun}"))
                    .help(self.pipe_help(right));
                self.fail(diagnostic)
            }
        }
    }

    /// A `fn` whose arguments are all given is a number already.
    fn pipe_help(&self, right: &Expr) -> String {
        let ExprKind::Call { callee, .. } = &right.kind else { return "`x |> f(a)` is `f(a)(x)`".into() };
        let ExprKind::Item(id) = callee.kind else { return "`x |> f(a)` is `f(a)(x)`".into() };
        let item = self.hir.item(id);
        match item.config().iter().find(|param| param.default.is_some()) {
            Some(param) => {
                let (name, option) = (&item.name.text, &param.name.text);
                format!(
                    "the tensor is the first argument of `{name}`; name the others: `{name}({option} = …)`"
                )
            }
            None => format!("the tensor is the first argument of `{}`: leave it out here", item.name.text),
        }
    }

    fn block_value(&mut self, frame: &mut Frame, name: &Name, body: &Expr, span: Span) -> Value {
        match self.eval(frame, body) {
            Value::Poison => Value::Poison,
            Value::Op(inner) => {
                Value::Op(Rc::new(OpValue::Block { name: name.text.as_str().into(), inner, span: name.span }))
            }
            other => {
                let noun = other.noun();
                let diagnostic = self
                    .error("T009", body.span, format!("a block holds a pipeline of ops, this is {noun}"))
                    .label(span, "in this block")
                    .help(self.pipe_help(body));
                self.fail(diagnostic)
            }
        }
    }

    fn for_loop(&mut self, frame: &mut Frame, local: LocalId, list: &Expr, body: &Expr, span: Span) -> Value {
        let entries: Vec<Value> = match self.eval(frame, list) {
            Value::Poison => return Value::Poison,
            Value::List(entries) => entries.to_vec(),
            Value::Int(rounds) if rounds < 0 => {
                let message = format!("a loop cannot have {rounds} rounds");
                return self.fail_at("T013", list.span, message);
            }
            Value::Int(rounds) if rounds <= limits::ROUNDS => (0..rounds).map(Value::Int).collect(),
            Value::Int(rounds) => {
                let message = format!("{rounds} rounds of a loop, at most {} are possible", limits::ROUNDS);
                return self.fail_at("L006", list.span, message);
            }
            other => {
                let message =
                    format!("`for` runs over a list or counts to a whole number, this is {}", other.noun());
                return self.fail_at("T013", list.span, message);
            }
        };
        let mut parts = Vec::new();
        for entry in entries {
            frame.set(local, entry);
            match self.eval(frame, body) {
                Value::Op(op) => parts.push(op),
                Value::Poison => return Value::Poison,
                other => {
                    let noun = other.noun();
                    let diagnostic = self
                        .error("T009", body.span, format!("`for` repeats a pipeline of ops, this is {noun}"))
                        .label(span, "in this loop");
                    return self.fail(diagnostic);
                }
            }
        }
        Value::Op(Rc::new(OpValue::Chain(parts)))
    }
}

/// One op after the other; chains stay flat.
fn chain(first: Rc<OpValue>, second: Rc<OpValue>) -> OpValue {
    let mut parts = match first.as_ref() {
        OpValue::Chain(parts) => parts.clone(),
        _ => vec![first],
    };
    parts.push(second);
    OpValue::Chain(parts)
}

/// `x + 0`, `1 * x` and the like are x.
fn neutral(op: &str, left: &Value, right: &Value) -> Option<Value> {
    let is = |value: &Value, number: f64| value.number() == Some(number);
    match op {
        "+" if is(left, 0.0) => Some(right.clone()),
        "+" | "-" if is(right, 0.0) => Some(left.clone()),
        "*" if is(left, 1.0) => Some(right.clone()),
        "*" | "/" | "^" if is(right, 1.0) => Some(left.clone()),
        _ => None,
    }
}
