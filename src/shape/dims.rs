//! Dimensions: signatures bind names to the axes that stand there, parameters' types choose or make axes.

use super::elaborator::Elaborator;
use super::frame::Frame;
use super::limits;
use super::value::Value;
use crate::axes::{Axis, BATCH};
use crate::ir::{Elem, NodeId, Type};
use crate::resolve::hir::{Dim, Expr, ExprKind, LocalId, TensorType};
use crate::source::Span;

/// The role of what an op gives back.
const RESULT: &str = "the result";

/// One dimension of a signature and the axis that stands there.
struct Position<'a> {
    dim: &'a Dim,
    axis: Axis,
}

/// A tensor met with a signature's type.
pub struct Meeting<'a> {
    pub node: NodeId,
    pub ty: &'a TensorType,
    /// `residual`, for messages.
    pub owner: &'a str,
    /// The tensor parameter's name, or that it is the result.
    pub role: &'a str,
}

impl Elaborator<'_> {
    /// Binds the dimension names of `meeting.ty` to the tensor's axes and checks the known ones. Gives the tensor, with
    /// axes renamed where the signature says that equal extents are the same axis.
    pub fn match_dims(&mut self, frame: &mut Frame, meeting: &Meeting, call: Span) -> Value {
        let actual: Vec<Axis> =
            self.ty(meeting.node).axes.iter().copied().filter(|&axis| axis != BATCH).collect();
        let fixed = meeting.ty.dims.iter().filter(|dim| !matches!(dim, Dim::Rest)).count();
        let has_rest = fixed != meeting.ty.dims.len();
        if actual.len() < fixed || (actual.len() > fixed && !has_rest) {
            return self.rank_mismatch(meeting, call);
        }
        let mut pairs = Vec::new();
        for position in positions(&meeting.ty.dims, &actual, frame) {
            match self.match_dim(frame, &position, meeting, call) {
                Ok(axis) if axis != position.axis => pairs.push((position.axis, axis)),
                Ok(_) => {}
                Err(()) => return Value::Poison,
            }
        }
        self.rename(meeting.node, &pairs, call)
    }

    /// The axis that the dimension stands for.
    fn match_dim(
        &mut self,
        frame: &mut Frame,
        at: &Position,
        meeting: &Meeting,
        call: Span,
    ) -> Result<Axis, ()> {
        let expr = match at.dim {
            Dim::Bind { local, .. } => {
                frame.set(*local, Value::Axis(at.axis));
                return Ok(at.axis);
            }
            Dim::Known(expr) => expr,
            Dim::Rest => return Ok(at.axis),
        };
        let wanted = self.eval(frame, expr);
        let known = match (&wanted, local_of(expr)) {
            (Value::Axis(axis), _) => Some(*axis),
            (Value::Int(_), Some(local)) => frame.named_axes.get(&local).copied(),
            _ => None,
        };
        let extent = self.extent_of(&wanted, expr.span).ok_or(())?;
        if extent != self.axes.extent(at.axis) {
            self.extent_mismatch(expr, extent, at.axis, meeting, call);
            return Err(());
        }
        if let (None, Value::Int(_), Some(local)) = (known, &wanted, local_of(expr)) {
            frame.named_axes.insert(local, at.axis);
        }
        Ok(known.unwrap_or(at.axis))
    }

    /// The size that a dimension says.
    pub fn extent_of(&mut self, value: &Value, span: Span) -> Option<usize> {
        match value {
            Value::Axis(axis) => Some(self.axes.extent(*axis)),
            Value::Int(size) if (1..=limits::TENSOR_ENTRIES as i64).contains(size) => Some(*size as usize),
            Value::Int(size) if *size > 0 => {
                self.fail_at(
                    "L004",
                    span,
                    format!("a dimension of {size}, at most {} is possible", limits::TENSOR_ENTRIES),
                );
                None
            }
            Value::Int(size) => {
                self.fail_at("T004", span, format!("a dimension must be at least 1, this one is {size}"));
                None
            }
            Value::Float(size) => {
                self.fail_at("T004", span, format!("a dimension must be a whole number, this one is {size}"));
                None
            }
            Value::Poison => None,
            other => {
                let noun = other.noun();
                self.fail_at(
                    "T004",
                    span,
                    format!("a dimension is a whole number or a dimension's name, not {noun}"),
                );
                None
            }
        }
    }

    /// The axes of a type that is declared (a parameter's, the input's). A name of a known axis means that axis, a
    /// whole-numbered local one axis of its own per expansion, all else a new axis. No axis stands twice: the last keeps it.
    pub fn declared_axes(&mut self, frame: &mut Frame, dims: &[Dim], span: Span) -> Option<Vec<Axis>> {
        let mut axes: Vec<Axis> = Vec::new();
        for dim in dims.iter().rev() {
            let mut new = self.declared_dim(frame, dim, &axes)?;
            new.extend(axes);
            axes = new;
        }
        let mut entries = 1usize;
        for &axis in &axes {
            entries = entries.saturating_mul(self.axes.extent(axis));
        }
        if entries > limits::TENSOR_ENTRIES {
            let message =
                format!("a tensor of {entries} entries, at most {} are possible", limits::TENSOR_ENTRIES);
            self.fail_at("L004", span, message);
            return None;
        }
        Some(axes)
    }

    fn declared_dim(&mut self, frame: &mut Frame, dim: &Dim, taken: &[Axis]) -> Option<Vec<Axis>> {
        let expr = match dim {
            Dim::Known(expr) => expr,
            Dim::Rest => match frame.rest.clone() {
                Some(rest) => return Some(rest.into_iter().filter(|axis| !taken.contains(axis)).collect()),
                None => return Some(vec![]),
            },
            Dim::Bind { name, .. } => {
                self.fail_at("T004", name.span, format!("the size of `{}` is not known here", name.text));
                return None;
            }
        };
        let value = self.eval(frame, expr);
        let extent = self.extent_of(&value, expr.span)?;
        let axis = match (&value, local_of(expr)) {
            (Value::Axis(axis), _) => *axis,
            (_, Some(local)) => match frame.named_axes.get(&local) {
                Some(&axis) => axis,
                None => {
                    let axis = self.named_axis(expr.span, extent);
                    frame.named_axes.insert(local, axis);
                    axis
                }
            },
            _ => self.named_axis(expr.span, extent),
        };
        let axis = if taken.contains(&axis) { self.named_axis(expr.span, extent) } else { axis };
        Some(vec![axis])
    }

    /// A new axis with the source's words as its name.
    pub fn named_axis(&mut self, span: Span, extent: usize) -> Axis {
        let text: String = self.sources.text(span).split_whitespace().collect();
        let name = if text.len() > 24 { "dim".into() } else { text };
        self.axes.fresh(name, extent)
    }

    /// Checks a `-> [n]` annotation; gives the result with its axes.
    pub fn check_result(&mut self, frame: &mut Frame, value: Value, ty: &TensorType, owner: &str) -> Value {
        match value {
            Value::Tensor(node) => {
                let meeting = Meeting { node, ty, owner, role: RESULT };
                self.match_dims(frame, &meeting, ty.span)
            }
            other => other,
        }
    }

    // Messages

    fn rank_mismatch(&mut self, meeting: &Meeting, call: Span) -> Value {
        let ty = self.ty(meeting.node).clone();
        let got = self.shape(&ty);
        let wanted = self.sources.text(meeting.ty.span).to_string();
        let message = match meeting.role {
            RESULT => format!("the result of `{}` should be {wanted}, but is {got}", meeting.owner),
            _ => format!("`{}` expects {wanted}, got {got}", meeting.owner),
        };
        let mut diagnostic = self.error("T001", call, message).at(format!("this is given {got}"));
        let place = self.place(meeting.node);
        if place != diagnostic.labels[0].span {
            diagnostic = diagnostic.label(place, format!("{got} comes from here"));
        }
        diagnostic = diagnostic.label(meeting.ty.span, format!("`{}` is {wanted}", meeting.role));
        diagnostic.help = self.fitting_intrinsic(&ty, meeting.ty);
        self.fail(diagnostic)
    }

    /// An intrinsic that keeps all entries and gives the rank that is wanted, such as one that flattens.
    fn fitting_intrinsic(&mut self, ty: &Type, wanted: &TensorType) -> Option<String> {
        if wanted.dims.iter().any(|dim| matches!(dim, Dim::Rest)) || ty.elem != Elem::Float {
            return None;
        }
        let fits = |this: &Self, out: &Type| {
            out.axes.len() == wanted.dims.len() + 1
                && out.axes.contains(&BATCH)
                && this.axes.size(&out.axes) == this.axes.size(&ty.axes)
        };
        let name = crate::intrinsics::ALL.iter().find_map(|intrinsic| {
            let mut axes = self.axes.clone();
            let attrs = self.default_attrs(*intrinsic, ty)?;
            let out = intrinsic.infer(&mut axes, std::slice::from_ref(ty), &attrs).ok()?;
            std::mem::swap(&mut axes, &mut self.axes);
            let fits = fits(self, &out);
            std::mem::swap(&mut axes, &mut self.axes);
            fits.then(|| intrinsic.name())
        })?;
        Some(format!("insert `{name}` before it: … |> {name} |> …"))
    }

    fn extent_mismatch(&mut self, expr: &Expr, wanted: usize, axis: Axis, meeting: &Meeting, call: Span) {
        let ty = self.ty(meeting.node).clone();
        let got = self.shape(&ty);
        let text = self.sources.text(expr.span).to_string();
        let known = if text == wanted.to_string() { text } else { format!("{text} = {wanted}") };
        let (name, extent) = (self.axes.name(axis), self.axes.extent(axis));
        let message = match meeting.role {
            RESULT => format!(
                "the result of `{}` should have {known}, but its `{name}` has {extent}",
                meeting.owner
            ),
            role => {
                format!("`{}`: `{role}` should have {known}, but its `{name}` has {extent}", meeting.owner)
            }
        };
        let mut diagnostic = self.error("T001", call, message).at(format!("{} is {got}", meeting.role));
        let place = self.place(meeting.node);
        if place != diagnostic.labels[0].span {
            diagnostic = diagnostic.label(place, format!("{got} comes from here"));
        }
        let diagnostic = diagnostic.label(expr.span, format!("{wanted} is asked for here"));
        self.fail(diagnostic);
    }
}

/// The dimensions with the axes that stand there; `..` takes those between and is noted in the frame.
fn positions<'a>(dims: &'a [Dim], actual: &[Axis], frame: &mut Frame) -> Vec<Position<'a>> {
    let rest = dims.iter().position(|dim| matches!(dim, Dim::Rest));
    let position = |(dim, &axis)| Position { dim, axis };
    let Some(rest) = rest else { return dims.iter().zip(actual).map(position).collect() };
    let behind = (dims.len() - rest - 1).min(actual.len() - rest);
    let (front, tail) = actual.split_at(actual.len() - behind);
    frame.rest = Some(front[rest..].to_vec());
    dims[..rest].iter().zip(front).chain(dims[rest + 1..].iter().zip(tail)).map(position).collect()
}

pub fn local_of(expr: &Expr) -> Option<LocalId> {
    match expr.kind {
        ExprKind::Local(local) => Some(local),
        _ => None,
    }
}
