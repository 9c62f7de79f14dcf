//! The syntax tree: what the grammar says, with spans, and nothing that needs a name to be looked up.

use crate::source::Span;

/// One source file.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct File {
    pub items: Vec<Item>,
    /// Names of items that were left out because they have mistakes: using one is no further mistake.
    pub broken: Vec<Name>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Item {
    /// The `///` lines above it, joined by newlines.
    pub docs: Option<String>,
    pub span: Span,
    pub kind: ItemKind,
}

#[derive(Clone, Debug, PartialEq)]
pub enum ItemKind {
    Use(Use),
    Network(Network),
    Op(OpDef),
    Fn(FnDef),
    Loss(LossDef),
    Optimizer(OptimizerDef),
    Schedule(ScheduleDef),
    Init(InitDef),
    Train(TrainDef),
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Name {
    pub text: String,
    pub span: Span,
}

/// `use std.vgg` or `use "blocks.blk"`.
#[derive(Clone, Debug, PartialEq)]
pub enum Use {
    Path(Vec<Name>),
    File { path: String, span: Span },
}

/// `network NAME(family)(input) -> target { … }`, or `network NAME = expression`.
#[derive(Clone, Debug, PartialEq)]
pub enum Network {
    Definition {
        name: Name,
        /// The parameter list that makes it a family, where there is one.
        family: Option<Vec<ConfigParam>>,
        input: TensorParam,
        target: TargetType,
        body: Expr,
    },
    Alias {
        name: Name,
        value: Expr,
    },
}

/// `-> class[k]` (integers) or `-> f32[n]` (floats).
#[derive(Clone, Debug, PartialEq)]
pub struct TargetType {
    pub kind: TargetKind,
    pub dims: Vec<Dim>,
    pub span: Span,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TargetKind {
    Class,
    Float,
}

/// A compile-time parameter: `c: int = 3`, `phi: op`, `lr`.
#[derive(Clone, Debug, PartialEq)]
pub struct ConfigParam {
    pub name: Name,
    pub ty: Option<ConfigType>,
    pub default: Option<Expr>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ConfigType {
    Int,
    Float,
    Bool,
    Op,
    Str,
    List(Box<ConfigType>),
}

/// A tensor parameter: `x: [c, h, w]`, `x: f32[64]`, `target: class[k]`, `x`.
#[derive(Clone, Debug, PartialEq)]
pub struct TensorParam {
    pub name: Name,
    pub ty: Option<TensorType>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct TensorType {
    pub elem: TensorElem,
    pub dims: Vec<Dim>,
    pub span: Span,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TensorElem {
    /// `f32[…]` or plain `[…]`.
    Float,
    /// `class[k]`.
    Class,
}

/// One dimension of a tensor type, or one entry of an axis list.
#[derive(Clone, Debug, PartialEq)]
pub enum Dim {
    /// A new or known dimension name, a number, or arithmetic over those.
    Expr(Expr),
    /// `..`: any further axes.
    Rest(Span),
}

/// `op name(config)(tensors) -> [result] = expression` or `{ … }`. Without a second list: a named pipeline.
#[derive(Clone, Debug, PartialEq)]
pub struct OpDef {
    pub name: Name,
    pub config: Vec<ConfigParam>,
    pub tensors: Option<Vec<TensorParam>>,
    pub result: Option<TensorType>,
    pub body: Body,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Body {
    Expr(Expr),
    /// Statements; the last one is the value.
    Block(Vec<Stmt>),
}

/// An elementwise function `fn relu(t) = max(t, 0)`; parameters may have defaults, which makes them configuration
/// (`fn leaky_relu(t, slope = 0.01)`).
#[derive(Clone, Debug, PartialEq)]
pub struct FnDef {
    pub name: Name,
    pub params: Vec<ConfigParam>,
    pub body: Expr,
}

/// `loss name(prediction: [k], target: class[k]) = expression`; a leading list of configuration is allowed.
#[derive(Clone, Debug, PartialEq)]
pub struct LossDef {
    pub name: Name,
    pub config: Vec<ConfigParam>,
    pub tensors: Vec<TensorParam>,
    pub body: Body,
}

/// `optimizer name(config)(W, g, …) { … }`.
#[derive(Clone, Debug, PartialEq)]
pub struct OptimizerDef {
    pub name: Name,
    pub config: Vec<ConfigParam>,
    pub inputs: Vec<Name>,
    pub body: Vec<Stmt>,
}

/// `schedule name(config)(t, total) = expression`.
#[derive(Clone, Debug, PartialEq)]
pub struct ScheduleDef {
    pub name: Name,
    pub config: Vec<ConfigParam>,
    pub inputs: Vec<Name>,
    pub body: Body,
}

/// `init name(config) = expression`.
#[derive(Clone, Debug, PartialEq)]
pub struct InitDef {
    pub name: Name,
    pub config: Vec<ConfigParam>,
    pub body: Body,
}

/// `train NETWORK { key = expression … }`.
#[derive(Clone, Debug, PartialEq)]
pub struct TrainDef {
    pub network: Expr,
    pub settings: Vec<Setting>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Setting {
    pub key: Name,
    pub value: Expr,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Stmt {
    pub span: Span,
    pub kind: StmtKind,
}

#[derive(Clone, Debug, PartialEq)]
pub enum StmtKind {
    /// `param W: [n, d] ~ kaiming(fan_in = d) as weight if condition`
    Param { name: Name, ty: TensorType, init: Expr, role: Option<Name>, condition: Option<Expr> },
    /// `batch mu = mean(…) running momentum from 0`
    Batch { name: Name, value: Expr, momentum: Expr, from: Expr },
    /// `let t = …`
    Let { name: Name, value: Expr },
    /// `state v like W = 0`; without `like` a scalar.
    State { name: Name, like: Option<Name>, init: Expr },
    /// `require p < 1, "…"`
    Require { condition: Expr, message: String },
    /// `W = …`
    Assign { name: Name, value: Expr },
    /// The value of a body.
    Expr(Expr),
}

#[derive(Clone, Debug, PartialEq)]
pub struct Expr {
    pub span: Span,
    pub kind: ExprKind,
}

#[derive(Clone, Debug, PartialEq)]
pub enum ExprKind {
    Int(i64),
    Float(f64),
    Bool(bool),
    Str(String),
    Name(String),
    /// `a.b`
    Field(Box<Expr>, Name),
    /// `f(a, b, key = c)`
    Call {
        callee: Box<Expr>,
        args: Vec<Arg>,
    },
    /// `a[i]`
    Index(Box<Expr>, Box<Expr>),
    /// `[a, b, ..]`: a list; `..` is allowed where axes are listed.
    List(Vec<ListEntry>),
    /// `-a`, `not a`
    Unary(&'static str, Box<Expr>),
    /// `a + b`, `a @ b`, `a == b`, `a and b`, … by the operator's text.
    Binary {
        op: &'static str,
        op_span: Span,
        left: Box<Expr>,
        right: Box<Expr>,
    },
    /// `a if c else b`
    If {
        then: Box<Expr>,
        condition: Box<Expr>,
        otherwise: Box<Expr>,
    },
    /// `a |> b`
    Pipe(Box<Expr>, Box<Expr>),
    /// `block name { pipeline }`
    Block {
        name: Name,
        body: Box<Expr>,
    },
    /// `for x in list { pipeline }`
    For {
        variable: Name,
        list: Box<Expr>,
        body: Box<Expr>,
    },
}

#[derive(Clone, Debug, PartialEq)]
pub struct Arg {
    pub name: Option<Name>,
    pub value: Expr,
}

#[derive(Clone, Debug, PartialEq)]
pub enum ListEntry {
    Expr(Expr),
    Rest(Span),
}
