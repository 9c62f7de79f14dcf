//! The tensor intrinsics: one file each, one line each in the registry below.
//!
//! A file holds everything that the compiler knows of its intrinsic: signature, shape rule, meaning in the symbolic
//! algebra (from whose operators its Jacobian, local-Hessian structure and trace follow), the derivative where it is
//! an elementwise function, the f64 reference, the lowering of elementwise functions to machine operations, and test
//! problems.

mod abs;
mod add;
mod and;
mod avg_pool;
mod concat;
mod contract;
mod conv2d;
mod cos;
mod div;
mod draw;
mod elementwise;
mod eq;
mod erf;
mod exp;
mod flatten;
mod floor;
mod gather;
mod gaussian;
mod ge;
mod gt;
mod le;
mod log;
mod log1p;
mod log_sum_exp;
mod lt;
mod max;
mod max_over;
mod max_pool;
mod mean;
mod min;
mod mul;
mod ne;
mod neg;
mod norm;
mod not;
mod or;
mod orthonormal;
mod pad;
mod patches;
mod pooling;
pub mod pow;
mod predicate;
mod random;
mod reduction;
mod reference;
mod rename_axes;
mod scalar;
mod select;
mod sin;
mod slice;
mod sqrt;
mod stop;
mod sub;
mod sum;
mod tanh;
mod uniform01;

use std::fmt;

use indexmap::IndexMap;
use ndarray::ArrayD;

use crate::axes::{Axis, AxisTable};
use crate::ir::Type;
use crate::ir::evaluate::Counters;
use crate::loops::Reg;
use crate::loops::build::ScalarBuilder;
use crate::sym;

pub(crate) use self::{and::And, eq::Eq, ge::Ge, gt::Gt, lt::Lt, max::Max, min::Min, select::Where};

/// Everything about one intrinsic.
pub trait Intrinsic: Sync {
    fn name(&self) -> &'static str;

    /// The operator that also calls it (`+`, `@`, `==`, …), where there is one.
    fn operator(&self) -> Option<&'static str> {
        None
    }

    /// Its arguments as the language sees them.
    fn signature(&self) -> Signature;

    /// The type of the result. May make fresh axes. `attrs` holds every attribute of the signature, defaults filled in.
    fn infer(&self, axes: &mut AxisTable, args: &[Type], attrs: &Attrs) -> Result<Type, ShapeError>;

    /// What it means, in the symbolic algebra, of arguments of the given types; `out` is what `infer` returned for them.
    /// An argument's expression may lack axes of its type along which it was found not to vary, and so may the result.
    fn express(
        &self,
        graph: &mut sym::Graph,
        args: &[sym::Expr],
        types: &[Type],
        attrs: &Attrs,
        out: &Type,
    ) -> sym::Expr;

    /// Independent evaluation in f64, written by hand from the definition: never from `express`.
    fn reference(&self, axes: &AxisTable, args: &[&Tensor], attrs: &Attrs, out: &Type) -> ArrayD<f64>;

    /// As [`Intrinsic::reference`], of what draws random numbers: the draw that is counted so. `None` of all others.
    fn drawn(
        &self,
        _axes: &AxisTable,
        _attrs: &Attrs,
        _out: &Type,
        _counters: &Counters,
    ) -> Option<ArrayD<f64>> {
        None
    }

    /// Whether derivatives take the value as a constant although it varies.
    fn is_held(&self) -> bool {
        false
    }

    /// Problems for the intrinsics suite: shapes (1, odd, no multiple of a vector) and values, kinks among them.
    fn problems(&self) -> Vec<Problem>;

    /// The elementwise function behind it, where it is one.
    fn scalar(&self) -> Option<&'static dyn Scalar> {
        None
    }
}

/// An elementwise function: its mathematics for `sym` and its machine operations for the loops.
pub trait Scalar: sym::Function {
    /// Emits the function for the builder's float type; `args` are registers of that type (or conditions).
    fn lower(&self, builder: &mut ScalarBuilder, args: &[Reg]) -> Reg;
}

impl fmt::Debug for dyn Intrinsic {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Tensor arguments, then attributes.
#[derive(Clone, Debug)]
pub struct Signature {
    /// Names of the tensor arguments.
    pub tensors: &'static [&'static str],
    /// Attributes with their kind and default (`None`: required).
    pub attrs: &'static [(&'static str, AttrKind, Option<AttrDefault>)],
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AttrKind {
    Int,
    Float,
    Bool,
    /// A list of axis names; `batch` and `..` (all axes of the first tensor not named otherwise) are allowed.
    Axes,
}

#[derive(Clone, Copy, PartialEq, Debug)]
pub enum AttrDefault {
    Int(i64),
    Float(f64),
    Bool(bool),
    /// All axes of the first tensor but the batch; the batch too when that leaves none or no tensor has a batch.
    AllButBatch,
}

#[derive(Clone, PartialEq, Debug)]
pub enum Attr {
    Int(i64),
    Float(f64),
    Bool(bool),
    Axes(Vec<Axis>),
}

/// Attributes by name, in signature order.
pub type Attrs = IndexMap<&'static str, Attr>;

/// Why a call does not fit, in words for the user.
#[derive(Clone, Debug, PartialEq)]
pub struct ShapeError {
    pub message: String,
    pub help: Option<String>,
}

pub use crate::sym::Tensor;

/// One test of the intrinsics suite. Axis 0 is the batch.
#[derive(Clone, Debug)]
pub struct Problem {
    /// Extents of the axes used; entry 0 is the batch.
    pub extents: Vec<usize>,
    /// Types of the arguments; conditions are drawn from 0 and 1, labels from their class.
    pub args: Vec<Type>,
    pub attrs: Attrs,
    /// Range from which argument values are drawn.
    pub range: (f64, f64),
    /// Values put among the drawn ones: kinks and special points.
    pub points: Vec<f64>,
}

/// The registry: one line per intrinsic.
pub static ALL: &[&dyn Intrinsic] = &[
    &add::Add,
    &sub::Sub,
    &neg::Neg,
    &mul::Mul,
    &div::Div,
    &pow::Pow,
    &lt::Lt,
    &le::Le,
    &gt::Gt,
    &ge::Ge,
    &eq::Eq,
    &ne::Ne,
    &and::And,
    &or::Or,
    &not::Not,
    &select::Where,
    &exp::Exp,
    &log::Log,
    &log1p::Log1p,
    &sqrt::Sqrt,
    &erf::Erf,
    &tanh::Tanh,
    &sin::Sin,
    &cos::Cos,
    &max::Max,
    &min::Min,
    &abs::Abs,
    &floor::Floor,
    &stop::Stop,
    &contract::Contract,
    &gather::Gather,
    &conv2d::Conv2d,
    &max_pool::INTRINSIC,
    &avg_pool::INTRINSIC,
    &flatten::Flatten,
    &pad::Pad,
    &slice::Slice,
    &concat::Concat,
    &rename_axes::RenameAxes,
    &sum::INTRINSIC,
    &mean::INTRINSIC,
    &max_over::INTRINSIC,
    &norm::INTRINSIC,
    &log_sum_exp::INTRINSIC,
    &gaussian::INTRINSIC,
    &uniform01::INTRINSIC,
    &random::INTRINSIC,
    &orthonormal::Orthonormal,
];

/// The first intrinsic of this name.
pub fn by_name(name: &str) -> Option<&'static dyn Intrinsic> {
    ALL.iter().copied().find(|intrinsic| intrinsic.name() == name)
}

/// The intrinsic of this name with so many tensor arguments: one name may stand for an entrywise function of two
/// tensors and a reduction of one.
pub fn by_name_and_arity(name: &str, tensors: usize) -> Option<&'static dyn Intrinsic> {
    let fits = |intrinsic: &&dyn Intrinsic| {
        intrinsic.name() == name && intrinsic.signature().tensors.len() == tensors
    };
    ALL.iter().copied().find(fits)
}

pub fn by_operator(operator: &str, arguments: usize) -> Option<&'static dyn Intrinsic> {
    let fits = |intrinsic: &&dyn Intrinsic| {
        intrinsic.operator() == Some(operator) && intrinsic.signature().tensors.len() == arguments
    };
    ALL.iter().copied().find(fits)
}

/// The machine operations of the symbolic function `name`.
pub fn scalar_by_name(name: &str) -> Option<&'static dyn Scalar> {
    ALL.iter().filter_map(|intrinsic| intrinsic.scalar()).find(|scalar| scalar.name() == name)
}
