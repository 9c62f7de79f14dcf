//! The constructors of expressions. They normalize: equal things come out as one node.

use super::graph::{Expr, Function, FunctionRef, Graph, Node, Number, Reduction, Symbol};
use crate::axes::Axis;

impl Graph {
    pub fn number(&mut self, value: f64) -> Expr {
        self.intern(Node::Number(Number::new(value)))
    }

    /// The value, where the expression is a number.
    pub fn as_number(&self, expr: Expr) -> Option<f64> {
        match self.node(expr) {
            Node::Number(number) => Some(number.value()),
            _ => None,
        }
    }

    pub fn symbol(&mut self, symbol: Symbol) -> Expr {
        self.intern(Node::Symbol(symbol))
    }

    pub fn add(&mut self, terms: &[Expr]) -> Expr {
        match terms {
            [] => self.number(0.0),
            [one] => *one,
            _ => self.intern(Node::Add(terms.to_vec())),
        }
    }

    pub fn sub(&mut self, a: Expr, b: Expr) -> Expr {
        let negative = self.neg(b);
        self.add(&[a, negative])
    }

    pub fn neg(&mut self, a: Expr) -> Expr {
        let minus = self.number(-1.0);
        self.mul(&[minus, a])
    }

    pub fn mul(&mut self, factors: &[Expr]) -> Expr {
        match factors {
            [] => self.number(1.0),
            [one] => *one,
            _ => self.intern(Node::Mul(factors.to_vec())),
        }
    }

    pub fn div(&mut self, a: Expr, b: Expr) -> Expr {
        let inverse = self.powf(b, -1.0);
        self.mul(&[a, inverse])
    }

    pub fn pow(&mut self, base: Expr, exponent: Expr) -> Expr {
        self.intern(Node::Pow(base, exponent))
    }

    pub fn powf(&mut self, base: Expr, exponent: f64) -> Expr {
        let exponent = self.number(exponent);
        self.pow(base, exponent)
    }

    pub fn sqrt(&mut self, a: Expr) -> Expr {
        self.powf(a, 0.5)
    }

    pub fn square(&mut self, a: Expr) -> Expr {
        self.powf(a, 2.0)
    }

    pub fn apply(&mut self, function: &'static dyn Function, args: &[Expr]) -> Expr {
        self.intern(Node::Apply(FunctionRef(function), args.to_vec()))
    }

    /// Axes that `arg` lacks: a sum or mean multiplies accordingly, a maximum ignores them.
    pub fn reduce(&mut self, how: Reduction, over: &[Axis], arg: Expr) -> Expr {
        if over.is_empty() { arg } else { self.intern(Node::Reduce(how, over.to_vec(), arg)) }
    }

    pub fn sum(&mut self, over: &[Axis], arg: Expr) -> Expr {
        self.reduce(Reduction::Sum, over, arg)
    }

    pub fn mean(&mut self, over: &[Axis], arg: Expr) -> Expr {
        self.reduce(Reduction::Mean, over, arg)
    }

    /// Σ_over left·right. Axes of `over` that one factor lacks are summed in the other first.
    pub fn contract(&mut self, left: Expr, right: Expr, over: &[Axis]) -> Expr {
        self.intern(Node::Contract { left, right, over: over.to_vec() })
    }

    pub fn rename(&mut self, arg: Expr, pairs: &[(Axis, Axis)]) -> Expr {
        self.intern(Node::Rename(arg, pairs.to_vec()))
    }

    pub fn reshape(&mut self, arg: Expr, from: &[Axis], to: &[Axis]) -> Expr {
        self.intern(Node::Reshape { arg, from: from.to_vec(), to: to.to_vec() })
    }

    pub fn index(&mut self, axis: Axis) -> Expr {
        self.intern(Node::Index(axis))
    }

    /// Repeats along those of `along` that `arg` lacks.
    pub fn spread(&mut self, arg: Expr, along: &[Axis]) -> Expr {
        let missing: Vec<Axis> = along.iter().copied().filter(|axis| !self.axes_of(arg).contains(axis)).collect();
        if missing.is_empty() { arg } else { self.intern(Node::Spread(arg, missing)) }
    }

    pub fn random(&mut self, stream: u32, counters: &[Expr], axes: &[Axis]) -> Expr {
        self.intern(Node::Random { stream, counters: counters.to_vec(), axes: axes.to_vec() })
    }

    pub fn orthonormal(&mut self, arg: Expr) -> Expr {
        self.intern(Node::Orthonormal(arg))
    }
}
