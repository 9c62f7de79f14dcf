//! What all intrinsics share that give a condition: comparisons and connectives.

use super::Scalar;
use super::elementwise::{Elementwise, Kind};
use crate::loops::Reg;
use crate::loops::build::ScalarBuilder;
use crate::sym::graph::Style;
use crate::sym::{Expr, Function, Graph};

/// A condition on entries: from this, the elementwise intrinsic with its mathematics and its machine code follow.
pub(super) trait Predicate: Sync + Sized + 'static {
    const SELF: &'static Self;
    const NAME: &'static str;
    /// As the language writes it.
    const OPERATOR: &'static str;
    /// As formulas show it.
    const STYLE: Style;
    const ARGS: &'static [&'static str] = &["a", "b"];
    const TAKES: &'static [Kind] = &[Kind::Number, Kind::Number];

    fn holds(args: &[f64]) -> bool;

    fn code(builder: &mut ScalarBuilder, args: &[Reg]) -> Reg;

    fn identity(_graph: &mut Graph, _args: &[Expr]) -> Option<(&'static str, Expr)> {
        None
    }
}

impl<T: Predicate> Elementwise for T {
    const NAME: &'static str = <T as Predicate>::NAME;
    const OPERATOR: Option<&'static str> = Some(<T as Predicate>::OPERATOR);
    const ARGS: &'static [&'static str] = <T as Predicate>::ARGS;
    const TAKES: &'static [Kind] = <T as Predicate>::TAKES;
    const GIVES: Kind = Kind::Condition;
    const RANGE: (f64, f64) = (-1.0, 1.0);
    const POINTS: &'static [f64] = &[0.0, 0.0, 1.0, 1.0, -1.0];

    fn function(&self) -> Option<&'static dyn Scalar> {
        Some(T::SELF)
    }

    fn formula(&self, graph: &mut Graph, args: &[Expr]) -> Expr {
        graph.apply(T::SELF, args)
    }

    fn at(&self, args: &[f64]) -> f64 {
        if T::holds(args) { 1.0 } else { 0.0 }
    }
}

impl<T: Predicate> Function for T {
    fn name(&self) -> &'static str {
        <T as Predicate>::NAME
    }

    fn arity(&self) -> usize {
        <T as Predicate>::TAKES.len()
    }

    fn style(&self) -> Style {
        T::STYLE
    }

    fn eval(&self, args: &[f64]) -> f64 {
        f64::from(u8::from(T::holds(args)))
    }

    fn derivative(&self, graph: &mut Graph, _i: usize, _args: &[Expr]) -> Expr {
        graph.number(0.0)
    }

    fn is_indicator(&self, _graph: &Graph, _args: &[Expr]) -> bool {
        true
    }

    fn simplify(&self, graph: &mut Graph, args: &[Expr]) -> Option<(&'static str, Expr)> {
        T::identity(graph, args)
    }
}

impl<T: Predicate> Scalar for T {
    fn lower(&self, builder: &mut ScalarBuilder, args: &[Reg]) -> Reg {
        T::code(builder, args)
    }
}
