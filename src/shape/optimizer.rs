//! Optimizers: the body is expanded once per parameter tensor. Numbers of the configuration stay changeable at run
//! time; truth values and words are options of the compiler.

use std::rc::Rc;

use super::elaborator::{Elaborator, Stage};
use super::frame::Frame;
use super::value::{Configured, Value};
use crate::axes::Axis;
use crate::ir::{Leaf, NodeId, ParamId, ScaleMode, ScaleOptions, State, StateId, Type, Update};
use crate::resolve::hir::{Expr, Item, ItemKind, LocalId, Optimizer, Param, Stmt, StmtKind};
use crate::resolve::suggest::did_you_mean;
use crate::source::Span;
use crate::syntax::ast::Name;

/// Role of the parameters that are amended and decayed when the program restricts it to weights.
const WEIGHT: &str = "weight";

/// The number of an optimizer that `decay` governs.
const DECAY: &str = "weight_decay";

/// Inputs beside the parameter and its gradient, known by their names.
const FURTHER_INPUTS: [&str; 2] = ["step", "scale"];

/// What is assigned to in the update at hand.
struct Targets {
    param: ParamId,
    tensor: LocalId,
    value: Option<NodeId>,
    states: Vec<(LocalId, StateId, Option<NodeId>)>,
}

impl Elaborator<'_> {
    /// The updates of all parameters; stops at the first whose expansion has errors.
    pub fn updates(
        &mut self,
        configured: &Configured,
        decay_weights: bool,
    ) -> Option<(Vec<Update>, Option<ScaleOptions>)> {
        let hir = self.hir;
        let item = hir.item(configured.item);
        let ItemKind::Optimizer(optimizer) = &item.kind else { return None };
        if item.broken || !self.push_expansion(&item.name.text, configured.span) {
            return None;
        }
        let mut updates = Vec::new();
        let mut scale = None;
        for index in 0..self.params.len() as u32 {
            let Some((update, options)) =
                self.update(ParamId(index), item, optimizer, configured, decay_weights)
            else {
                break;
            };
            updates.push(update);
            scale = options;
        }
        self.pop_expansion();
        self.stage = Stage::Chain;
        (updates.len() == self.params.len()).then_some((updates, scale))
    }

    fn update(
        &mut self,
        param: ParamId,
        item: &Item,
        optimizer: &Optimizer,
        configured: &Configured,
        decay_weights: bool,
    ) -> Option<(Update, Option<ScaleOptions>)> {
        self.stage = Stage::Update(param);
        let before = self.diagnostics.len();
        let mut frame = Frame::new(item);
        let spared = decay_weights && self.params[param.index()].param.role != WEIGHT;
        for (position, declared) in optimizer.config.iter().enumerate() {
            let value = self.hyper_or_option(&mut frame, item, declared, configured, position);
            let spare = spared && declared.name.text == DECAY;
            frame.set(declared.local, if spare { Value::Int(0) } else { value });
        }
        let scale = self.scale_options(&frame, optimizer, configured);
        let tensor = self.bind_inputs(&mut frame, item, optimizer, param, scale)?;
        let mut targets = Targets { param, tensor, value: None, states: Vec::new() };
        for stmt in &optimizer.body {
            self.update_statement(&mut frame, stmt, &mut targets);
        }
        if self.diagnostics.len() > before {
            return None;
        }
        let value = self.assigned(item, &targets)?;
        let states = targets.states.iter().filter_map(|(_, id, value)| Some((*id, (*value)?))).collect();
        Some((Update { param, value, states }, scale))
    }

    fn assigned(&mut self, item: &Item, targets: &Targets) -> Option<NodeId> {
        if targets.value.is_none() {
            let message = format!("optimizer `{}` never assigns its parameter", item.name.text);
            let diagnostic = self
                .error("T021", item.name.span, message)
                .help("end it with a line such as `W = W - lr * g`");
            self.fail(diagnostic);
        }
        targets.value
    }

    /// A number becomes a run-time number shared by all parameters; everything else stays as it is.
    fn hyper_or_option(
        &mut self,
        frame: &mut Frame,
        item: &Item,
        param: &Param,
        configured: &Configured,
        position: usize,
    ) -> Value {
        let default = param.default.as_ref().map(|default| (self.eval(frame, default), default.span));
        let given = configured.config.get(position).cloned().flatten();
        let (value, span) = match (&given, &default) {
            (Some(given), _) => given.clone(),
            (None, Some(default)) => default.clone(),
            (None, None) => {
                let message = format!("`{}` needs `{}`", item.name.text, param.name.text);
                let diagnostic =
                    self.error("N003", configured.span, message).label(param.name.span, "declared here");
                return self.fail(diagnostic);
            }
        };
        if value.is_poison() || default.as_ref().is_some_and(|default| default.0.is_poison()) {
            return Value::Poison;
        }
        let wants_number = default
            .as_ref()
            .is_none_or(|default| default.0.number().is_some() || matches!(default.0, Value::Tensor(_)));
        match (value.number(), wants_number) {
            (Some(number), true) => Value::Tensor(self.hyper(&param.name.text, number, span)),
            (None, false) => value,
            (None, true) if matches!(value, Value::Tensor(_)) && given.is_none() => value,
            (_, wants_number) => {
                let wanted = if wants_number {
                    "a number"
                } else {
                    default.as_ref().map_or("an option", |d| d.0.noun())
                };
                let message = format!("`{}` must be {wanted}, this is {}", param.name.text, value.noun());
                let diagnostic = self.error("T003", span, message).label(param.name.span, "declared here");
                self.fail(diagnostic)
            }
        }
    }

    /// What the optimizer's options say of its scale factors, if it takes them.
    fn scale_options(
        &mut self,
        frame: &Frame,
        optimizer: &Optimizer,
        configured: &Configured,
    ) -> Option<ScaleOptions> {
        optimizer.inputs.iter().find(|(name, _)| name.text == FURTHER_INPUTS[1])?;
        let option = |name: &str| {
            let index = optimizer.config.iter().position(|param| param.name.text == name)?;
            let param = &optimizer.config[index];
            let given = configured.config.get(index).and_then(|given| Some(given.as_ref()?.1));
            Some((frame.get(param.local), given.unwrap_or(param.name.span)))
        };
        let mut options = ScaleOptions { mode: ScaleMode::Measured, accumulate: true, amend_all: false };
        if let Some((value, span)) = option("mode") {
            let found = ScaleMode::ALL.into_iter().find(|mode| is_word(&value, mode.name()));
            let names = ScaleMode::ALL.map(ScaleMode::name).join(", ");
            options.mode =
                found.unwrap_or_else(|| self.bad_option("mode", &value, &names, span, options.mode));
        }
        if let Some((value, span)) = option("accumulate") {
            options.accumulate = match value {
                Value::Bool(value) => value,
                _ => self.bad_option("accumulate", &value, "true, false", span, true),
            };
        }
        if let Some((value, span)) = option("amend") {
            options.amend_all = match &value {
                value if is_word(value, "all") => true,
                value if is_word(value, "weights") => false,
                _ => self.bad_option("amend", &value, "weights, all", span, false),
            };
        }
        Some(options)
    }

    fn bad_option<T>(&mut self, name: &str, value: &Value, names: &str, span: Span, otherwise: T) -> T {
        if !value.is_poison() {
            let given = match value {
                Value::Word(word) | Value::Str(word) => format!("`{word}`"),
                other => other.noun().into(),
            };
            self.fail_at("T003", span, format!("`{name}` cannot be {given}; it is one of {names}"));
        }
        otherwise
    }

    /// The parameter, its gradient, and further inputs by name. Gives the parameter's local.
    fn bind_inputs(
        &mut self,
        frame: &mut Frame,
        item: &Item,
        optimizer: &Optimizer,
        param: ParamId,
        scale: Option<ScaleOptions>,
    ) -> Option<LocalId> {
        let [(tensor, tensor_local), (gradient, gradient_local), further @ ..] = optimizer.inputs.as_slice()
        else {
            let diagnostic = self
                .error("T021", item.name.span, format!("optimizer `{}` lacks its inputs", item.name.text))
                .help("an optimizer sees one parameter and its gradient: `optimizer name(lr)(W, g) { … }`");
            self.fail(diagnostic);
            return None;
        };
        let ty = Type::float(self.params[param.index()].param.axes.clone());
        frame.ambient = ty.axes.clone();
        let node = self.leaf(Leaf::Param(param), ty.clone(), tensor.span);
        frame.set(*tensor_local, Value::Tensor(node));
        let node = self.leaf(Leaf::Gradient(param), ty, gradient.span);
        frame.set(*gradient_local, Value::Tensor(node));
        for (name, local) in further {
            let value = self.further_input(name, param, scale)?;
            frame.set(*local, value);
        }
        Some(*tensor_local)
    }

    fn further_input(&mut self, name: &Name, param: ParamId, scale: Option<ScaleOptions>) -> Option<Value> {
        let scalar = Type::float(vec![]);
        match (name.text.as_str(), scale) {
            ("step", _) => Some(Value::Tensor(self.leaf(Leaf::Step, scalar, name.span))),
            ("scale", Some(options)) => {
                let amended = options.amend_all || self.params[param.index()].param.role == WEIGHT;
                if !amended {
                    return Some(Value::Scale { m: Rc::new(Value::Int(1)), w: Rc::new(Value::Int(1)) });
                }
                let m = self.leaf(Leaf::ScaleM(param), scalar.clone(), name.span);
                let w = self.leaf(Leaf::ScaleW(param), scalar, name.span);
                Some(Value::Scale { m: Rc::new(Value::Tensor(m)), w: Rc::new(Value::Tensor(w)) })
            }
            (other, _) => {
                let help = did_you_mean(other, FURTHER_INPUTS).unwrap_or_else(|| {
                    format!("beside the parameter and its gradient there are {}", FURTHER_INPUTS.join(", "))
                });
                let diagnostic =
                    self.error("T021", name.span, format!("optimizers have no input `{other}`")).help(help);
                self.fail(diagnostic);
                None
            }
        }
    }

    fn update_statement(&mut self, frame: &mut Frame, stmt: &Stmt, targets: &mut Targets) {
        match &stmt.kind {
            StmtKind::State { name, local, like, init } => {
                let value = self.state(frame, name, *local, *like, init, targets);
                frame.set(*local, value);
            }
            StmtKind::Assign { name, local, value } => self.assign(frame, name, *local, value, targets),
            _ => self.statement(frame, stmt),
        }
    }

    fn state(
        &mut self,
        frame: &mut Frame,
        name: &Name,
        local: LocalId,
        like: Option<LocalId>,
        init: &Expr,
        targets: &mut Targets,
    ) -> Value {
        let axes: Vec<Axis> = match like.map(|like| frame.get(like)) {
            None => vec![],
            Some(Value::Tensor(node)) => self.ty(node).axes.clone(),
            Some(Value::Poison) => return Value::Poison,
            Some(other) => {
                let noun = other.noun();
                return self.fail_at("T021", name.span, format!("a state is like a tensor, not like {noun}"));
            }
        };
        let initial = self.eval(frame, init);
        let Some(node) = self.node_of(&initial, init.span) else { return Value::Poison };
        if !self.is_start(node, init.span) {
            return Value::Poison;
        }
        if !self.ty(node).axes.iter().all(|axis| axes.contains(axis)) {
            let message = format!(
                "the initial value of `{}` does not fit its shape {}",
                name.text,
                self.axes_shape(&axes)
            );
            return self.fail_at("T002", init.span, message);
        }
        let id = StateId(self.states.len() as u32);
        self.states.push(State {
            name: name.text.clone(),
            param: targets.param,
            axes: axes.clone(),
            init: node,
        });
        targets.states.push((local, id, None));
        let value = Value::Tensor(self.leaf(Leaf::State(id), Type::float(axes), name.span));
        self.name_node(&value, &name.text);
        value
    }

    fn assign(
        &mut self,
        frame: &mut Frame,
        name: &Name,
        local: LocalId,
        value: &Expr,
        targets: &mut Targets,
    ) {
        let result = self.eval(frame, value);
        let node = self.node_of(&result, value.span);
        let slot = match targets.states.iter_mut().find(|(state, ..)| *state == local) {
            Some((_, id, slot)) => Some((self.states[id.index()].axes.clone(), slot)),
            None if local == targets.tensor => {
                Some((self.params[targets.param.index()].param.axes.clone(), &mut targets.value))
            }
            None => None,
        };
        // A state with an error in its declaration is no further mistake.
        if slot.is_none() && frame.get(local).is_poison() {
            return;
        }
        let Some((axes, slot)) = slot else {
            let diagnostic = self
                .error("T021", name.span, format!("`{}` cannot be assigned", name.text))
                .help("an optimizer assigns its parameter and its states");
            self.fail(diagnostic);
            return;
        };
        let Some(node) = node else {
            frame.set(local, Value::Poison);
            return;
        };
        *slot = Some(node);
        self.is_numeric(node, &format!("the values of `{}`", name.text), value.span);
        if !self.ty(node).axes.iter().all(|axis| axes.contains(axis)) {
            let message = format!(
                "`{}` is {}, this is {}",
                name.text,
                self.axes_shape(&axes),
                self.shape(self.ty(node))
            );
            self.fail_at("T002", value.span, message);
        }
        frame.set(local, Value::Tensor(node));
    }
}

fn is_word(value: &Value, wanted: &str) -> bool {
    matches!(value, Value::Word(word) | Value::Str(word) if **word == *wanted)
}
