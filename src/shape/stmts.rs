//! Statements of op, loss, init and schedule bodies: parameters, batch statistics, local names. (Those of optimizers
//! stand in `optimizer`.)

use super::elaborator::{Elaborator, PendingParam, PendingStat, Stage};
use super::frame::Frame;
use super::limits;
use super::value::Value;
use std::collections::HashSet;

use crate::ir::{self, BlockId, Leaf, NodeId, Op, ParamId, StatId, Type};
use crate::resolve::hir::{Expr, Stmt, StmtKind, TensorType};
use crate::source::Span;
use crate::syntax::ast::Name;

/// A `param` statement.
struct Declared<'a> {
    name: &'a Name,
    ty: &'a TensorType,
    init: &'a Expr,
    role: Option<&'a Name>,
    span: Span,
}

impl Elaborator<'_> {
    /// Runs a body; its value is that of its last statement.
    pub fn run(&mut self, frame: &mut Frame, body: &[Stmt]) -> Value {
        let Some((last, before)) = body.split_last() else { return Value::Poison };
        for stmt in before {
            if let StmtKind::Require { condition, message } = &stmt.kind {
                if !self.holds(frame, condition, message) {
                    return Value::Poison;
                }
            } else {
                self.statement(frame, stmt);
            }
        }
        match &last.kind {
            StmtKind::Expr(expr) => self.eval(frame, expr),
            _ => {
                self.statement(frame, last);
                let diagnostic = self
                    .error("T017", last.span, "a body ends with its value")
                    .help("the last line must be an expression");
                self.fail(diagnostic)
            }
        }
    }

    pub fn statement(&mut self, frame: &mut Frame, stmt: &Stmt) {
        match &stmt.kind {
            StmtKind::Param { name, local, ty, init, role, condition } => {
                let declared = Declared { name, ty, init, role: role.as_ref(), span: stmt.span };
                let value = match condition {
                    None => self.parameter(frame, &declared),
                    Some(condition) => match self.eval_bool(frame, condition) {
                        Some(true) => self.parameter(frame, &declared),
                        Some(false) => Value::Absent { condition: condition.span },
                        None => Value::Poison,
                    },
                };
                frame.set(*local, value);
            }
            StmtKind::Batch { name, local, value, momentum, from } => {
                let value = self.statistic(frame, name, value, momentum, from);
                frame.set(*local, value);
            }
            StmtKind::Let { name, local, value } => {
                let value = self.eval(frame, value);
                self.name_node(&value, &name.text);
                frame.set(*local, value);
            }
            StmtKind::Require { condition, message } => {
                self.holds(frame, condition, message);
            }
            StmtKind::State { name, .. } | StmtKind::Assign { name, .. } => {
                let message = format!("`{}`: only optimizers have states and assignments", name.text);
                self.fail_at("T017", stmt.span, message);
            }
            StmtKind::Expr(expr) => {
                self.eval(frame, expr);
                let diagnostic = self
                    .error("T017", expr.span, "this value is not used")
                    .help("only the last line of a body is its value; name others with `let`");
                self.fail(diagnostic);
            }
        }
    }

    /// Whether a requirement is met; reports it when not.
    fn holds(&mut self, frame: &mut Frame, condition: &Expr, message: &str) -> bool {
        let value = self.eval_bool(frame, condition);
        if value == Some(false) {
            self.fail_at("T023", condition.span, message);
        }
        value == Some(true)
    }

    /// Remembers the source's name of a value for printing.
    pub fn name_node(&mut self, value: &Value, name: &str) {
        if let Value::Tensor(node) = value {
            self.nodes[node.index()].name.get_or_insert_with(|| name.into());
        }
    }

    fn here(&mut self, what: &str, span: Span) -> Option<BlockId> {
        match self.stage {
            Stage::Block(block) => Some(block),
            _ => {
                let message = format!("a {what} can only be declared inside a block's ops");
                self.fail_at("T017", span, message);
                None
            }
        }
    }

    fn parameter(&mut self, frame: &mut Frame, declared: &Declared) -> Value {
        let Some(block) = self.here("parameter", declared.span) else { return Value::Poison };
        let Some(axes) = self.declared_axes(frame, &declared.ty.dims, declared.ty.span) else {
            return Value::Poison;
        };
        let size = self.axes.size(&axes);
        self.entries = self.entries.saturating_add(size);
        if self.entries > limits::PARAMETERS {
            let message = format!("more than {} parameters", limits::PARAMETERS);
            return self.exhaust("L004", declared.ty.span, message, "are the layers meant to be that wide?");
        }
        let Some(init) = self.initial_value(frame, declared.init, &axes) else { return Value::Poison };
        let id = ParamId(self.params.len() as u32);
        let origin = self.origin(declared.name.span);
        let param = ir::Param {
            name: String::new(),
            short: declared.name.text.clone(),
            axes: axes.clone(),
            role: declared.role.map_or_else(String::new, |role| role.text.clone()),
            init,
            block,
            origin,
        };
        let scope = self.scope.unwrap_or(self.blocks[block.index()].scope);
        self.params.push(PendingParam { param, scope });
        self.blocks[block.index()].block.params.push(id);
        let value = Value::Tensor(self.leaf(Leaf::Param(id), Type::float(axes), declared.name.span));
        self.name_node(&value, &declared.name.text);
        value
    }

    /// The value of an initializer over (some of) `axes`.
    fn initial_value(
        &mut self,
        frame: &mut Frame,
        init: &Expr,
        axes: &[crate::axes::Axis],
    ) -> Option<NodeId> {
        let stage = std::mem::replace(&mut self.stage, Stage::Init);
        let ambient = std::mem::replace(&mut frame.ambient, axes.to_vec());
        let value = self.eval(frame, init);
        frame.ambient = ambient;
        self.stage = stage;
        let node = self.node_of(&value, init.span)?;
        if !self.is_start(node, init.span) {
            return None;
        }
        let ty = self.ty(node).clone();
        if ty.axes.iter().all(|axis| axes.contains(axis)) {
            return Some(node);
        }
        let message =
            format!("the initial value is {}, the parameter {}", self.shape(&ty), self.axes_shape(axes));
        self.fail_at("T002", init.span, message);
        None
    }

    /// Initial values are made before the first step: of numbers and random draws, not of tensors.
    pub fn is_start(&mut self, value: NodeId, span: Span) -> bool {
        let (mut open, mut seen) = (vec![value], HashSet::from([value]));
        while let Some(id) = open.pop() {
            let node = &self.nodes[id.index()];
            if matches!(node.op, Op::Leaf(leaf) if !matches!(leaf, Leaf::Hyper(_)))
                || matches!(node.op, Op::Statistic(_))
            {
                let diagnostic = self
                    .error(
                        "T022",
                        span,
                        "an initial value is made before the first step, of numbers and random draws",
                    )
                    .label(self.place(id), "this is not known then");
                self.fail(diagnostic);
                return false;
            }
            open.extend(node.inputs.iter().copied().filter(|&input| seen.insert(input)));
        }
        self.is_numeric(value, "initial values", span)
    }

    fn statistic(
        &mut self,
        frame: &mut Frame,
        name: &Name,
        value: &Expr,
        momentum: &Expr,
        from: &Expr,
    ) -> Value {
        let block = self.here("batch statistic", name.span);
        let result = self.eval(frame, value);
        let numbers = (self.eval_number(frame, momentum), self.eval_number(frame, from));
        let (Some(block), (Some(rate), Some(start))) = (block, numbers) else { return Value::Poison };
        let Some(node) = self.node_of(&result, value.span) else { return Value::Poison };
        if !(0.0..=1.0).contains(&rate) {
            return self.fail_at(
                "T018",
                momentum.span,
                format!("a running average's momentum lies in 0..1, not {rate}"),
            );
        }
        if !self.is_numeric(node, "a batch statistic", value.span) {
            return Value::Poison;
        }
        let ty = self.ty(node).clone();
        if ty.axes.contains(&crate::axes::BATCH) {
            let diagnostic = self
                .error("T018", value.span, format!("`{}` still has the batch axis", name.text))
                .help("a batch statistic is taken over the batch: over = [batch, ..]");
            return self.fail(diagnostic);
        }
        let id = StatId(self.stats.len() as u32);
        let scope = self.scope.unwrap_or(self.blocks[block.index()].scope);
        let stat = ir::Statistic {
            name: name.text.clone(),
            axes: ty.axes.clone(),
            value: node,
            momentum: rate,
            start,
            block,
        };
        self.stats.push(PendingStat { stat, scope });
        let value = Value::Tensor(self.push_node(Op::Statistic(id), vec![node], ty, name.span));
        self.name_node(&value, &name.text);
        value
    }
}
