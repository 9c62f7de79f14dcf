//! The constructors of expressions. They normalize: equal things come out as one node.

use super::graph::{Expr, Function, FunctionRef, Graph, Node, Number, Reduction, Symbol};
use super::simplify;
use crate::axes::Axis;

impl Graph {
    /// The node in normal form: the first rule of [`simplify::rules`] that applies decides what it becomes.
    pub(super) fn make(&mut self, node: Node) -> Expr {
        if let Some(&known) = self.reduced.get(&node) {
            return known;
        }
        let expr = match simplify::rewrite(self, &node) {
            Some(equal) => equal,
            None => self.intern(node.clone()),
        };
        if matches!(node, Node::Reduce(..)) {
            self.reduced.insert(node, expr);
        }
        expr
    }

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
        self.make(Node::Add(terms.to_vec()))
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
        self.make(Node::Mul(factors.to_vec()))
    }

    pub fn div(&mut self, a: Expr, b: Expr) -> Expr {
        let inverse = self.powf(b, -1.0);
        self.mul(&[a, inverse])
    }

    pub fn pow(&mut self, base: Expr, exponent: Expr) -> Expr {
        self.make(Node::Pow(base, exponent))
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
        self.make(Node::Apply(FunctionRef(function), args.to_vec()))
    }

    /// Axes that `arg` lacks: a sum or mean multiplies accordingly, a maximum ignores them.
    pub fn reduce(&mut self, how: Reduction, over: &[Axis], arg: Expr) -> Expr {
        let mut over = over.to_vec();
        over.sort_unstable();
        over.dedup();
        self.make(Node::Reduce(how, over, arg))
    }

    pub fn sum(&mut self, over: &[Axis], arg: Expr) -> Expr {
        self.reduce(Reduction::Sum, over, arg)
    }

    pub fn mean(&mut self, over: &[Axis], arg: Expr) -> Expr {
        self.reduce(Reduction::Mean, over, arg)
    }

    /// Σ_over left·right. Axes of `over` that one factor lacks are summed in the other first.
    pub fn contract(&mut self, left: Expr, right: Expr, over: &[Axis]) -> Expr {
        let mut over = over.to_vec();
        over.sort_unstable();
        over.dedup();
        self.make(Node::Contract { left, right, over })
    }

    pub fn rename(&mut self, arg: Expr, pairs: &[(Axis, Axis)]) -> Expr {
        self.make(Node::Rename(arg, pairs.to_vec()))
    }

    pub fn reshape(&mut self, arg: Expr, from: &[Axis], to: &[Axis]) -> Expr {
        self.make(Node::Reshape { arg, from: from.to_vec(), to: to.to_vec() })
    }

    pub fn index(&mut self, axis: Axis) -> Expr {
        self.make(Node::Index(axis))
    }

    /// 1 at the first largest entry along `over`, else 0.
    pub fn arg_max(&mut self, over: &[Axis], arg: Expr) -> Expr {
        self.make(Node::ArgMax(over.to_vec(), arg))
    }

    /// Repeats along those of `along` that `arg` lacks.
    pub fn spread(&mut self, arg: Expr, along: &[Axis]) -> Expr {
        self.make(Node::Spread(arg, along.to_vec()))
    }

    pub fn random(&mut self, stream: u32, counters: &[Expr], axes: &[Axis]) -> Expr {
        self.intern(Node::Random { stream, counters: counters.to_vec(), axes: axes.to_vec() })
    }

    pub fn orthonormal(&mut self, arg: Expr) -> Expr {
        self.intern(Node::Orthonormal(arg))
    }

    /// The sum or maximum over all ranks.
    pub fn exchange(&mut self, how: Reduction, arg: Expr) -> Expr {
        self.intern(Node::Exchange(how, arg))
    }
}
