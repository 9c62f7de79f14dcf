//! What an expression can be while a network is elaborated: a compile-time value, an op, or a tensor of the graph.

use std::rc::Rc;

use crate::axes::Axis;
use crate::ir::NodeId;
use crate::resolve::hir::ItemId;
use crate::source::Span;

#[derive(Clone, Debug)]
pub enum Value {
    /// What could not be computed and was reported; everything made of it is silent.
    Poison,
    Int(i64),
    Float(f64),
    Bool(bool),
    Str(Rc<str>),
    /// An option's word: `measured`, `none`.
    Word(Rc<str>),
    List(Rc<[Value]>),
    Axis(Axis),
    /// `..` among axes.
    Rest,
    Tensor(NodeId),
    Op(Rc<OpValue>),
    /// A loss, optimizer, schedule or network family with its configuration.
    Configured(Rc<Configured>),
    /// The input `scale` of an optimizer: the factors of the parameter at hand.
    Scale {
        m: Rc<Value>,
        w: Rc<Value>,
    },
    /// A `param` whose condition does not hold.
    Absent {
        condition: Span,
    },
}

/// A map of tensors, all its configuration known.
#[derive(Clone, Debug)]
pub enum OpValue {
    /// An `op` or `fn` of the source.
    Item(Configured),
    /// An intrinsic, which one the tensors will say, with its other arguments.
    Intrinsic {
        name: &'static str,
        args: Vec<Argument>,
        span: Span,
    },
    /// One after the other.
    Chain(Vec<Rc<OpValue>>),
    Block {
        name: Rc<str>,
        inner: Rc<OpValue>,
        span: Span,
    },
    /// An op behind the name of the parameter that holds it (`phi`), which parameter paths show.
    Held {
        name: Rc<str>,
        inner: Rc<OpValue>,
    },
}

/// An evaluated argument of a call.
#[derive(Clone, Debug)]
pub struct Argument {
    pub name: Option<Rc<str>>,
    pub value: Value,
    pub span: Span,
}

/// An item with values for its configuration.
#[derive(Clone, Debug)]
pub struct Configured {
    pub item: ItemId,
    /// By parameter, with the place of the argument; `None`: the default.
    pub config: Vec<Option<(Value, Span)>>,
    /// The expression that configured it.
    pub span: Span,
}

impl Value {
    /// What to call it in a message.
    pub fn noun(&self) -> &'static str {
        match self {
            Value::Poison => "an erroneous value",
            Value::Int(_) => "a whole number",
            Value::Float(_) => "a number",
            Value::Bool(_) => "a truth value",
            Value::Str(_) => "a text",
            Value::Word(_) => "an option's word",
            Value::List(_) => "a list",
            Value::Axis(_) => "an axis",
            Value::Rest => "`..`",
            Value::Tensor(_) => "a tensor",
            Value::Op(_) => "an op",
            Value::Configured(_) => "a definition",
            Value::Scale { .. } => "the scale factors",
            Value::Absent { .. } => "an absent parameter",
        }
    }

    pub fn is_poison(&self) -> bool {
        matches!(self, Value::Poison)
    }

    /// A number that is known now.
    pub fn number(&self) -> Option<f64> {
        match self {
            Value::Int(value) => Some(*value as f64),
            Value::Float(value) => Some(*value),
            _ => None,
        }
    }
}

impl OpValue {
    /// Where it was written.
    pub fn span(&self) -> Option<Span> {
        match self {
            OpValue::Item(configured) => Some(configured.span),
            OpValue::Intrinsic { span, .. } | OpValue::Block { span, .. } => Some(*span),
            OpValue::Chain(parts) => parts.first().and_then(|part| part.span()),
            OpValue::Held { inner, .. } => inner.span(),
        }
    }
}
