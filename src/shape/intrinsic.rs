//! Calls of intrinsics: which of those of a name is meant, attributes, alignment of axes, shape errors.

use std::rc::Rc;

use super::apply::features;
use super::elaborator::Elaborator;
use super::frame::Frame;
use super::limits;
use super::value::{Argument, OpValue, Value};
use crate::axes::{Axis, BATCH};
use crate::intrinsics::{self, Attr, AttrDefault, AttrKind, Attrs, Intrinsic, ShapeError, Tensor};
use crate::ir::{Elem, NodeId, Op, Type};
use crate::resolve::suggest::did_you_mean;
use crate::source::Span;

/// Operators that work entry by entry and broadcast.
const ENTRYWISE: [&str; 14] = ["+", "-", "*", "/", "^", "<", "<=", ">", ">=", "==", "!=", "and", "or", "not"];

fn is_entrywise(intrinsic: &dyn Intrinsic) -> bool {
    intrinsic.scalar().is_some() || intrinsic.operator().is_some_and(|operator| ENTRYWISE.contains(&operator))
}

/// The intrinsic that gives axes other names: the language has no sign for it, but its attributes tell it.
fn renaming() -> Option<&'static dyn Intrinsic> {
    let renames = |intrinsic: &&dyn Intrinsic| {
        intrinsic
            .signature()
            .attrs
            .iter()
            .map(|attr| (attr.0, attr.1))
            .eq([("from", AttrKind::Axes), ("to", AttrKind::Axes)])
    };
    intrinsics::ALL.iter().copied().find(renames)
}

/// The intrinsic behind `a if condition else b` where the condition is a tensor.
fn choosing() -> Option<&'static dyn Intrinsic> {
    let chooses = |intrinsic: &&dyn Intrinsic| intrinsic.signature().tensors.first() == Some(&"condition");
    intrinsics::ALL.iter().copied().find(chooses)
}

fn candidates(name: &str) -> impl Iterator<Item = &'static dyn Intrinsic> {
    intrinsics::ALL.iter().copied().filter(move |intrinsic| intrinsic.name() == name)
}

impl Elaborator<'_> {
    /// An intrinsic's name alone: an op, or the value of one that takes no tensors.
    pub fn bare_intrinsic(&mut self, frame: &Frame, name: &'static str, span: Span) -> Value {
        if candidates(name).all(|intrinsic| intrinsic.signature().tensors.is_empty()) {
            return self.intrinsic_apply(&frame.ambient, name, vec![], span);
        }
        Value::Op(Rc::new(OpValue::Intrinsic { name, args: vec![], span }))
    }

    /// A call with tensors, or with numbers for an elementwise function, computes; any other configures an op.
    pub fn intrinsic_call(
        &mut self,
        ambient: &[Axis],
        name: &'static str,
        args: Vec<Argument>,
        span: Span,
    ) -> Value {
        let positional = args.iter().filter(|arg| arg.name.is_none()).count();
        let has_tensor = args.iter().any(|arg| matches!(arg.value, Value::Tensor(_)));
        let computes = |intrinsic: &'static dyn Intrinsic| {
            let tensors = intrinsic.signature().tensors.len();
            tensors == 0 || (tensors == positional && intrinsic.signature().attrs.is_empty())
        };
        if has_tensor || candidates(name).any(computes) {
            return self.intrinsic_apply(ambient, name, args, span);
        }
        Value::Op(Rc::new(OpValue::Intrinsic { name, args, span }))
    }

    /// Tensors come first among the positional arguments, attributes follow or are named.
    pub fn intrinsic_apply(
        &mut self,
        ambient: &[Axis],
        name: &'static str,
        args: Vec<Argument>,
        span: Span,
    ) -> Value {
        let positional = args.iter().filter(|arg| arg.name.is_none()).count();
        let tensors_of = |intrinsic: &&'static dyn Intrinsic| intrinsic.signature().tensors.len();
        let Some(intrinsic) =
            candidates(name).filter(|intrinsic| tensors_of(intrinsic) <= positional).max_by_key(tensors_of)
        else {
            let least = candidates(name).map(|intrinsic| tensors_of(&intrinsic)).min().unwrap_or(0);
            return self.fail_at("T009", span, format!("`{name}` needs {least} tensors, {positional} given"));
        };
        let count = tensors_of(&intrinsic);
        let (named, mut unnamed): (Vec<Argument>, Vec<Argument>) =
            args.into_iter().partition(|arg| arg.name.is_some());
        let attributes: Vec<Argument> = unnamed.split_off(count).into_iter().chain(named).collect();
        if let (Some(known), [condition, then, otherwise]) = (choosing(), unnamed.as_slice())
            && let (true, Value::Bool(holds)) = (known.name() == intrinsic.name(), &condition.value)
        {
            return if *holds { then.value.clone() } else { otherwise.value.clone() };
        }
        if let Some(folded) = self.fold(intrinsic, &unnamed, span) {
            return folded;
        }
        let nodes: Option<Vec<NodeId>> =
            unnamed.iter().map(|arg| self.node_of(&arg.value, arg.span)).collect();
        let Some(nodes) = nodes else { return Value::Poison };
        let first = nodes.first().map(|&node| self.ty(node).clone());
        let Some(attrs) = self.attributes(intrinsic, first.as_ref(), ambient, attributes, span) else {
            return Value::Poison;
        };
        self.apply_intrinsic(intrinsic, nodes, attrs, span, span)
    }

    /// The value of a function of numbers that are known now.
    fn fold(&mut self, intrinsic: &'static dyn Intrinsic, args: &[Argument], span: Span) -> Option<Value> {
        let known: Vec<(f64, Type)> =
            args.iter().map(|arg| known(&self.as_number(arg.value.clone()))).collect::<Option<_>>()?;
        let (numbers, types): (Vec<f64>, Vec<Type>) = known.into_iter().unzip();
        if numbers.is_empty() || !intrinsic.signature().attrs.is_empty() {
            return None;
        }
        let scalar = Type::float(vec![]);
        let out = intrinsic.infer(&mut self.axes, &types, &Attrs::new()).ok()?;
        if out != scalar {
            return None;
        }
        let tensor =
            |&value: &f64| Tensor { axes: vec![], values: ndarray::ArrayD::from_elem(vec![], value) };
        let tensors: Vec<Tensor> = numbers.iter().map(tensor).collect();
        let tensors: Vec<&Tensor> = tensors.iter().collect();
        let value = *intrinsic.reference(&self.axes, &tensors, &Attrs::new(), &out).first()?;
        if !value.is_finite() {
            return Some(self.fail_at(
                "T005",
                span,
                format!("`{}` of these numbers is {value}", intrinsic.name()),
            ));
        }
        let integral = args.iter().all(|arg| matches!(self.as_number(arg.value.clone()), Value::Int(_)));
        let whole = integral && value.fract() == 0.0 && value.abs() < 1e15;
        Some(if whole { Value::Int(value as i64) } else { Value::Float(value) })
    }

    /// An operator applied to tensors.
    pub fn operator(&mut self, operator: &str, nodes: &[NodeId], span: Span, sign: Span) -> Value {
        let Some(intrinsic) = intrinsics::by_operator(operator, nodes.len()) else {
            return self.fail_at("T006", sign, format!("`{operator}` does not apply to tensors"));
        };
        let first = nodes.first().map(|&node| self.ty(node).clone());
        match self.attributes(intrinsic, first.as_ref(), &[], vec![], span) {
            Some(attrs) => self.apply_intrinsic(intrinsic, nodes.to_vec(), attrs, span, sign),
            None => Value::Poison,
        }
    }

    /// `then` where the condition holds, `otherwise` elsewhere.
    pub fn choice(&mut self, nodes: [NodeId; 3], span: Span) -> Value {
        match choosing() {
            Some(intrinsic) => self.apply_intrinsic(intrinsic, nodes.to_vec(), Attrs::new(), span, span),
            None => self.fail_at("T006", span, "tensors cannot be chosen by a condition"),
        }
    }

    fn apply_intrinsic(
        &mut self,
        intrinsic: &'static dyn Intrinsic,
        mut nodes: Vec<NodeId>,
        attrs: Attrs,
        span: Span,
        sign: Span,
    ) -> Value {
        if is_entrywise(intrinsic) && !self.align(&mut nodes, intrinsic, span, sign) {
            return Value::Poison;
        }
        let types: Vec<Type> = nodes.iter().map(|&node| self.ty(node).clone()).collect();
        match intrinsic.infer(&mut self.axes, &types, &attrs) {
            Ok(ty) => self.checked_node(Op::Apply { intrinsic, attrs }, nodes, ty, span),
            Err(error) => self.shape_error(error, &nodes, sign),
        }
    }

    fn checked_node(&mut self, op: Op, nodes: Vec<NodeId>, ty: Type, span: Span) -> Value {
        let entries = ty.axes.iter().fold(1usize, |size, &axis| size.saturating_mul(self.axes.extent(axis)));
        if entries > limits::TENSOR_ENTRIES {
            let shape = self.shape(&ty);
            let message = format!(
                "a tensor {shape} of {entries} entries with the batch, at most {} are possible",
                limits::TENSOR_ENTRIES
            );
            return self.fail_at("L004", span, message);
        }
        Value::Tensor(self.push_node(op, nodes, ty, span))
    }

    /// Gives all operands of an entrywise operation the axes of the largest one: by identity, or, where only the
    /// identities differ and ranks and extents agree, by renaming.
    fn align(
        &mut self,
        nodes: &mut [NodeId],
        intrinsic: &'static dyn Intrinsic,
        span: Span,
        sign: Span,
    ) -> bool {
        let rank = |this: &Self, node: NodeId| features(&this.ty(node).axes).len();
        let Some(lead) = (0..nodes.len()).rev().max_by_key(|&i| rank(self, nodes[i])) else { return true };
        let wanted = features(&self.ty(nodes[lead]).axes);
        for i in 0..nodes.len() {
            let axes = features(&self.ty(nodes[i]).axes);
            if axes.iter().all(|axis| wanted.contains(axis)) {
                continue;
            }
            let extents = |axes: &[Axis]| axes.iter().map(|&axis| self.axes.extent(axis)).collect::<Vec<_>>();
            if extents(&axes) != extents(&wanted) {
                self.broadcast_error(intrinsic, (nodes[lead], nodes[i]), lead < i, sign);
                return false;
            }
            let pairs: Vec<(Axis, Axis)> =
                axes.into_iter().zip(wanted.iter().copied()).filter(|(a, b)| a != b).collect();
            match self.rename(nodes[i], &pairs, span) {
                Value::Tensor(node) => nodes[i] = node,
                _ => return false,
            }
        }
        true
    }

    /// The same tensor over other axes of the same extents.
    pub fn rename(&mut self, node: NodeId, pairs: &[(Axis, Axis)], span: Span) -> Value {
        if pairs.is_empty() {
            return Value::Tensor(node);
        }
        let Some(intrinsic) = renaming() else { return Value::Tensor(node) };
        let (from, to) = pairs.iter().copied().unzip();
        let attrs = Attrs::from_iter([("from", Attr::Axes(from)), ("to", Attr::Axes(to))]);
        let ty = self.ty(node).clone();
        match intrinsic.infer(&mut self.axes, std::slice::from_ref(&ty), &attrs) {
            Ok(ty) => Value::Tensor(self.push_node(Op::Apply { intrinsic, attrs }, vec![node], ty, span)),
            Err(error) => self.shape_error(error, &[node], span),
        }
    }

    // Attributes

    /// All attributes of the signature: what is given, else the defaults.
    fn attributes(
        &mut self,
        intrinsic: &'static dyn Intrinsic,
        first: Option<&Type>,
        ambient: &[Axis],
        args: Vec<Argument>,
        span: Span,
    ) -> Option<Attrs> {
        let signature = intrinsic.signature();
        let mut given: Vec<Option<Argument>> = vec![None; signature.attrs.len()];
        for (position, arg) in args.into_iter().enumerate() {
            let index = match &arg.name {
                None => (position < given.len()).then_some(position),
                Some(name) => signature.attrs.iter().position(|attr| attr.0 == &**name),
            };
            match index {
                Some(index) => given[index] = Some(arg),
                None => return self.unknown_attribute(intrinsic, &arg),
            }
        }
        let mut attrs = Attrs::new();
        for (&(name, kind, default), arg) in signature.attrs.iter().zip(given) {
            let attr = match (arg, default) {
                (Some(arg), _) => self.attribute(name, kind, &arg, first)?,
                // Random draws range over the axes of what they initialize or mask, each with numbers of its own.
                (None, _) if kind == AttrKind::Axes && signature.tensors.is_empty() => {
                    Attr::Axes(ambient.to_vec())
                }
                (None, _) if kind == AttrKind::Int && signature.tensors.is_empty() => {
                    Attr::Int(self.new_stream())
                }
                (None, Some(default)) => default_attr(default, first),
                (None, None) => {
                    self.fail_at("N003", span, format!("`{}` needs `{name}`", intrinsic.name()));
                    return None;
                }
            };
            attrs.insert(name, attr);
        }
        Some(attrs)
    }

    fn new_stream(&mut self) -> i64 {
        self.streams += 1;
        self.streams
    }

    /// The attributes of a call that gives none; `None` where one is required.
    pub fn default_attrs(&self, intrinsic: &'static dyn Intrinsic, first: &Type) -> Option<Attrs> {
        let signature = intrinsic.signature();
        if signature.tensors.len() != 1 {
            return None;
        }
        signature.attrs.iter().map(|attr| Some((attr.0, default_attr(attr.2?, Some(first))))).collect()
    }

    fn unknown_attribute(&mut self, intrinsic: &'static dyn Intrinsic, arg: &Argument) -> Option<Attrs> {
        let names: Vec<&str> = intrinsic.signature().attrs.iter().map(|attr| attr.0).collect();
        let diagnostic = match &arg.name {
            Some(name) => {
                let mut diagnostic =
                    self.error("N003", arg.span, format!("`{}` has no parameter `{name}`", intrinsic.name()));
                diagnostic.help = did_you_mean(name, &names).or_else(|| {
                    (!names.is_empty()).then(|| format!("its parameters are {}", names.join(", ")))
                });
                diagnostic
            }
            None => {
                self.error("N003", arg.span, format!("`{}` is given too many arguments", intrinsic.name()))
            }
        };
        self.fail(diagnostic);
        None
    }

    fn attribute(
        &mut self,
        name: &str,
        kind: AttrKind,
        arg: &Argument,
        first: Option<&Type>,
    ) -> Option<Attr> {
        let value = match kind {
            AttrKind::Axes => arg.value.clone(),
            _ => self.as_number(arg.value.clone()),
        };
        let attr = match (kind, &value) {
            (AttrKind::Int, Value::Int(value)) => Some(Attr::Int(*value)),
            (AttrKind::Float, value) => value.number().map(Attr::Float),
            (AttrKind::Bool, Value::Bool(value)) => Some(Attr::Bool(*value)),
            (AttrKind::Axes, value) => listed_axes(value, first).map(Attr::Axes),
            _ => None,
        };
        if let (Some(Attr::Axes(axes)), Some(first)) = (&attr, first)
            && let Some(&stranger) = axes.iter().find(|axis| !first.axes.contains(axis))
        {
            let message =
                format!("the tensor {} has no axis `{}`", self.shape(first), self.axes.name(stranger));
            self.fail_at("T019", arg.span, message);
            return None;
        }
        if attr.is_none() {
            let wanted = match kind {
                AttrKind::Int => "a whole number",
                AttrKind::Float => "a number",
                AttrKind::Bool => "true or false",
                AttrKind::Axes => "a list of axes such as [batch, ..]",
            };
            let noun = value.noun();
            self.fail_at("T003", arg.span, format!("`{name}` must be {wanted}, this is {noun}"));
        }
        attr
    }

    // Messages

    fn shape_error(&mut self, error: ShapeError, nodes: &[NodeId], span: Span) -> Value {
        let mut diagnostic = self.error("T002", span, error.message);
        diagnostic.help = error.help;
        let diagnostic = self.label_operands(diagnostic, nodes);
        self.fail(diagnostic)
    }

    fn label_operands(
        &self,
        mut diagnostic: crate::diag::Diagnostic,
        nodes: &[NodeId],
    ) -> crate::diag::Diagnostic {
        for &node in nodes {
            let ty = self.ty(node);
            if ty.axes.is_empty() {
                continue;
            }
            let name = self.nodes[node.index()]
                .name
                .as_deref()
                .map_or_else(String::new, |name| format!("`{name}` "));
            let text = format!("{name}{} comes from here", self.shape(ty));
            diagnostic = diagnostic.label(self.place(node), text);
        }
        diagnostic
    }

    fn broadcast_error(
        &mut self,
        intrinsic: &'static dyn Intrinsic,
        nodes: (NodeId, NodeId),
        in_order: bool,
        sign: Span,
    ) -> Value {
        let pair = if in_order { nodes } else { (nodes.1, nodes.0) };
        let shapes = (self.shape(self.ty(pair.0)), self.shape(self.ty(pair.1)));
        let word = intrinsic.operator().unwrap_or(intrinsic.name());
        let message = format!("`{word}` does not fit shapes {} and {}", shapes.0, shapes.1);
        let features = (features(&self.ty(pair.0).axes), features(&self.ty(pair.1).axes));
        let help = if features.0.len() == features.1.len() {
            let extents = |axis: (&Axis, &Axis)| self.axes.extent(*axis.0) != self.axes.extent(*axis.1);
            let differing = features.0.iter().zip(&features.1).find(|axes| extents(*axes));
            differing.map(|(&a, &b)| {
                format!(
                    "both sides need the same sizes: {} against {}",
                    self.axes.extent(a),
                    self.axes.extent(b)
                )
            })
        } else {
            Some("shapes broadcast by axis: the smaller one's axes must be among the larger one's".into())
        };
        let mut diagnostic = self.error("T002", sign, message);
        diagnostic.help = help;
        let diagnostic = self.label_operands(diagnostic, &[pair.0, pair.1]);
        self.fail(diagnostic)
    }
}

/// A number or a truth value that is known now, as references take it.
fn known(value: &Value) -> Option<(f64, Type)> {
    match value {
        Value::Bool(value) => Some((f64::from(u8::from(*value)), Type { elem: Elem::Bool, axes: vec![] })),
        other => Some((other.number()?, Type::float(vec![]))),
    }
}

fn default_attr(default: AttrDefault, first: Option<&Type>) -> Attr {
    match default {
        AttrDefault::Int(value) => Attr::Int(value),
        AttrDefault::Float(value) => Attr::Float(value),
        AttrDefault::Bool(value) => Attr::Bool(value),
        AttrDefault::AllButBatch => {
            let axes = first.map_or(&[][..], |ty| &ty.axes);
            let inner = features(axes);
            Attr::Axes(if inner.is_empty() { axes.to_vec() } else { inner })
        }
    }
}

/// `[batch, c, ..]` as axes; `..` stands for all of the first tensor's but the batch and those that are named.
fn listed_axes(value: &Value, first: Option<&Type>) -> Option<Vec<Axis>> {
    let entries: &[Value] = match value {
        Value::List(entries) => entries,
        Value::Axis(axis) => return Some(vec![*axis]),
        _ => return None,
    };
    let mut axes = Vec::new();
    let mut rest = false;
    for entry in entries {
        match entry {
            Value::Axis(axis) => axes.push(*axis),
            Value::Rest => rest = true,
            Value::List(inner) => axes.extend(listed_axes(&Value::List(inner.clone()), first)?),
            _ => return None,
        }
    }
    if rest {
        let others: Vec<Axis> =
            first?.axes.iter().copied().filter(|axis| *axis != BATCH && !axes.contains(axis)).collect();
        axes.extend(others);
    }
    let mut seen = std::collections::HashSet::new();
    axes.retain(|axis| seen.insert(*axis));
    Some(axes)
}

/// Is it a label tensor?
pub fn is_class(ty: &Type) -> bool {
    matches!(ty.elem, Elem::Class(_))
}
