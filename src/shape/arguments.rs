//! Calls: arguments are evaluated and bound to parameters, with their types checked.

use std::rc::Rc;

use super::elaborator::Elaborator;
use super::frame::Frame;
use super::value::{Argument, Configured, OpValue, Value};
use crate::resolve::hir::{Arg, Expr, ExprKind, Item, ItemId, ItemKind, ListEntry, Param};
use crate::resolve::suggest::did_you_mean;
use crate::source::Span;
use crate::syntax::ast::{ConfigType, Name};

impl Elaborator<'_> {
    pub fn call(&mut self, frame: &mut Frame, callee: &Expr, args: &[Arg], span: Span) -> Value {
        match &callee.kind {
            ExprKind::Error => Value::Poison,
            ExprKind::Intrinsic(name) => match self.arguments(frame, args, true) {
                Some(args) => self.intrinsic_call(&frame.ambient, name, args, span),
                None => Value::Poison,
            },
            ExprKind::Item(id) => match self.arguments(frame, args, false) {
                Some(args) => self.item_call(frame, *id, args, span),
                None => Value::Poison,
            },
            _ => {
                let value = self.eval(frame, callee);
                match self.arguments(frame, args, false) {
                    Some(args) => self.value_call(value, args, span),
                    None => Value::Poison,
                }
            }
        }
    }

    /// The arguments' values; `None` when one is poison. With `axes`, lists are lists of axes.
    fn arguments(&mut self, frame: &mut Frame, args: &[Arg], axes: bool) -> Option<Vec<Argument>> {
        let mut values = Vec::with_capacity(args.len());
        for arg in args {
            let value = match &arg.value.kind {
                ExprKind::List(entries) if axes => self.axis_list(frame, entries),
                _ => self.eval(frame, &arg.value),
            };
            let name = arg.name.as_ref().map(|name| Rc::from(name.text.as_str()));
            values.push(Argument { name, value, span: arg.value.span });
        }
        let poisoned = values.iter().any(|arg| arg.value.is_poison());
        (!poisoned).then_some(values)
    }

    /// `[batch, c, ..]`: a whole-numbered local that stands for an axis here means that axis.
    fn axis_list(&mut self, frame: &mut Frame, entries: &[ListEntry]) -> Value {
        let mut values = Vec::new();
        for entry in entries {
            values.push(match entry {
                ListEntry::Rest(_) => match frame.rest.clone() {
                    Some(rest) => Value::List(rest.into_iter().map(Value::Axis).collect()),
                    None => Value::Rest,
                },
                ListEntry::Expr(expr) => {
                    let axis =
                        super::dims::local_of(expr).and_then(|local| frame.named_axes.get(&local).copied());
                    match axis {
                        Some(axis) => Value::Axis(axis),
                        None => self.eval(frame, expr),
                    }
                }
            });
        }
        if values.iter().any(Value::is_poison) { Value::Poison } else { Value::List(values.into()) }
    }

    fn item_call(&mut self, frame: &Frame, id: ItemId, args: Vec<Argument>, span: Span) -> Value {
        let hir = self.hir;
        let item = hir.item(id);
        if item.broken {
            return Value::Poison;
        }
        let bare = Configured { item: id, config: vec![None; item.config().len()], span };
        if is_application(item, &args) {
            return self.apply_to(&OpValue::Item(bare), args, span);
        }
        let Some(configured) = self.configure(&bare, args, span) else { return Value::Poison };
        match &item.kind {
            ItemKind::Fn(function) => {
                let given = |(param, value): (&Param, &Option<(Value, Span)>)| {
                    param.default.is_some() || value.is_some()
                };
                if function.params.iter().zip(&configured.config).all(given) {
                    return self.expand_fn(&configured, span);
                }
                Value::Op(Rc::new(OpValue::Item(configured)))
            }
            ItemKind::Op(_) => Value::Op(Rc::new(OpValue::Item(configured))),
            ItemKind::Init(_) => self.expand_init(&configured, &frame.ambient, span),
            _ => Value::Configured(Rc::new(configured)),
        }
    }

    /// A call of something that is not written as a name: `phi(x)`, `dense(3)(x)`.
    fn value_call(&mut self, callee: Value, args: Vec<Argument>, span: Span) -> Value {
        match callee {
            Value::Poison => Value::Poison,
            Value::Op(op) => {
                if let Some((bare, wrap)) = unconfigured(&op, self)
                    && !is_application(self.hir.item(bare.item), &args)
                {
                    return self.late_configuration(&bare, &wrap, args, span);
                }
                self.apply_to(&op, args, span)
            }
            Value::Configured(loss) if matches!(self.hir.item(loss.item).kind, ItemKind::Loss(_)) => {
                self.apply_to(&OpValue::Item(loss.as_ref().clone()), args, span)
            }
            other => {
                let noun = other.noun();
                self.fail_at("T009", span, format!("{noun} cannot be called"))
            }
        }
    }

    /// `phi(3)` where `phi` holds an op without configuration.
    fn late_configuration(
        &mut self,
        bare: &Configured,
        wrap: &Wrap,
        args: Vec<Argument>,
        span: Span,
    ) -> Value {
        if let Some(missing) = self.lacking(bare, &args) {
            let message = format!("`{}` needs `{}`", self.hir.item(bare.item).name.text, missing.text);
            let diagnostic = self.error("N003", bare.span, message).label(missing.span, "declared here");
            return self.fail(diagnostic);
        }
        match self.configure(bare, args, span) {
            Some(configured) => Value::Op(Rc::new(wrap(OpValue::Item(configured)))),
            None => Value::Poison,
        }
    }

    /// The configuration that an op lacks which is given tensors at once.
    fn lacking(&self, bare: &Configured, args: &[Argument]) -> Option<&Name> {
        let tensors = !args.is_empty() && args.iter().all(|arg| matches!(arg.value, Value::Tensor(_)));
        let param = self.hir.item(bare.item).config().iter().find(|param| param.default.is_none())?;
        tensors.then_some(&param.name)
    }

    fn apply_to(&mut self, op: &OpValue, args: Vec<Argument>, span: Span) -> Value {
        if let Some(arg) = args.iter().find(|arg| arg.name.is_some()) {
            let name = arg.name.as_deref().unwrap_or_default().to_string();
            return self.fail_at(
                "N003",
                arg.span,
                format!("an op takes its tensors in order, not by name (`{name}`)"),
            );
        }
        let inputs: Vec<(Value, Span)> = args.into_iter().map(|arg| (arg.value, arg.span)).collect();
        self.apply(op, &inputs, span)
    }

    /// Binds arguments to an item's parameters.
    fn configure(&mut self, bare: &Configured, args: Vec<Argument>, span: Span) -> Option<Configured> {
        let hir = self.hir;
        let item = hir.item(bare.item);
        let mut configured = Configured { span, ..bare.clone() };
        for (position, arg) in args.into_iter().enumerate() {
            let params = item.config();
            let found = match &arg.name {
                None => (position < params.len()).then_some(position),
                Some(name) => params.iter().position(|param| *param.name.text == **name),
            };
            let Some(index) = found else {
                self.unfit_argument(item, &arg);
                return None;
            };
            configured.config[index] = Some((arg.value, arg.span));
        }
        Some(configured)
    }

    fn unfit_argument(&mut self, item: &Item, arg: &Argument) {
        let name = &item.name.text;
        let mut diagnostic = match &arg.name {
            Some(wanted) => {
                let mut diagnostic =
                    self.error("N003", arg.span, format!("`{name}` has no parameter `{wanted}`"));
                diagnostic.help = did_you_mean(wanted, item.config().iter().map(|param| &param.name.text));
                diagnostic
            }
            None => {
                let count = item.config().len();
                self.error("N003", arg.span, format!("`{name}` takes at most {count} arguments"))
            }
        };
        diagnostic = diagnostic.label(item.name.span, "defined here");
        self.fail(diagnostic);
    }

    /// Sets an item's configuration in its new frame: what was given, else the defaults. False when one is missing or
    /// does not fit.
    pub fn bind_config(&mut self, frame: &mut Frame, item: &Item, configured: &Configured) -> bool {
        let mut fits = true;
        for (param, given) in item.config().iter().zip(&configured.config) {
            let (value, span) = match (given, &param.default) {
                (Some((value, span)), _) => (value.clone(), *span),
                (None, Some(default)) => (self.eval(frame, default), default.span),
                (None, None) => {
                    let message = format!("`{}` needs `{}`", item.name.text, param.name.text);
                    let diagnostic =
                        self.error("N003", configured.span, message).label(param.name.span, "declared here");
                    (self.fail(diagnostic), configured.span)
                }
            };
            let value = self.fit(param, value, span, matches!(item.kind, ItemKind::Fn(_)));
            fits &= !value.is_poison();
            frame.set(param.local, value);
        }
        fits
    }

    /// The value as the parameter's type wants it.
    fn fit(&mut self, param: &Param, value: Value, span: Span, tensors_too: bool) -> Value {
        // Passed on under another name, an op shows this name in paths.
        let hold = |op: Rc<OpValue>| {
            let inner = match op.as_ref() {
                OpValue::Held { inner, .. } => inner.clone(),
                _ => op,
            };
            Value::Op(Rc::new(OpValue::Held { name: param.name.text.as_str().into(), inner }))
        };
        match (&param.ty, value) {
            (_, Value::Poison) => Value::Poison,
            (None, Value::Tensor(node)) if tensors_too => Value::Tensor(node),
            (None | Some(ConfigType::Op), Value::Op(op)) => hold(op),
            (None, value) if !matches!(value, Value::Tensor(_)) => value,
            (Some(ty), value) if !matches!(value, Value::Tensor(_)) => {
                let value = self.as_number(value);
                let noun = value.noun();
                match coerce(ty, value) {
                    Some(value) => value,
                    None => {
                        let message =
                            format!("`{}` must be {}, this is {noun}", param.name.text, type_noun(ty));
                        let diagnostic =
                            self.error("T003", span, message).label(param.name.span, "declared here");
                        self.fail(diagnostic)
                    }
                }
            }
            _ => {
                let message = format!("`{}` is configuration and cannot hold a tensor", param.name.text);
                let diagnostic = self
                    .error("T003", span, message)
                    .label(param.name.span, "declared here")
                    .help("tensors go into the second list of an op: `op name(config)(tensors)`");
                self.fail(diagnostic)
            }
        }
    }
}

/// Tensors instead of configuration: `identity(x)`.
fn is_application(item: &Item, args: &[Argument]) -> bool {
    let tensor = |arg: &Argument| arg.name.is_none() && matches!(arg.value, Value::Tensor(_));
    let configured = item.config().iter().all(|param| param.default.is_some());
    matches!(item.kind, ItemKind::Op(_) | ItemKind::Loss(_))
        && configured
        && !args.is_empty()
        && args.iter().all(tensor)
}

type Wrap = Box<dyn Fn(OpValue) -> OpValue>;

/// An op of the source that has parameters and was given none of them yet, and what to put around it again.
fn unconfigured(op: &OpValue, elaborator: &Elaborator) -> Option<(Configured, Wrap)> {
    match op {
        OpValue::Item(bare) => {
            let open = !bare.config.is_empty() && bare.config.iter().all(Option::is_none);
            let is_op = matches!(elaborator.hir.item(bare.item).kind, ItemKind::Op(_));
            (open && is_op).then(|| (bare.clone(), Box::new(|op| op) as Wrap))
        }
        OpValue::Held { name, inner } => {
            let (bare, wrap) = unconfigured(inner, elaborator)?;
            let name = name.clone();
            Some((bare, Box::new(move |op| OpValue::Held { name: name.clone(), inner: Rc::new(wrap(op)) })))
        }
        _ => None,
    }
}

fn coerce(ty: &ConfigType, value: Value) -> Option<Value> {
    match (ty, value) {
        (ConfigType::Int, value @ Value::Int(_))
        | (ConfigType::Float, value @ Value::Float(_))
        | (ConfigType::Bool, value @ Value::Bool(_))
        | (ConfigType::Str, value @ (Value::Str(_) | Value::Word(_))) => Some(value),
        (ConfigType::Float, Value::Int(value)) => Some(Value::Float(value as f64)),
        (ConfigType::List(entry), Value::List(values)) => values
            .iter()
            .map(|value| coerce(entry, value.clone()))
            .collect::<Option<Rc<[Value]>>>()
            .map(Value::List),
        (ConfigType::Op, value @ Value::Op(_)) => Some(value),
        _ => None,
    }
}

fn type_noun(ty: &ConfigType) -> String {
    match ty {
        ConfigType::Int => "a whole number".into(),
        ConfigType::Float => "a number".into(),
        ConfigType::Bool => "true or false".into(),
        ConfigType::Op => "an op".into(),
        ConfigType::Str => "a text".into(),
        ConfigType::List(_) => "a list of the declared type".into(),
    }
}
