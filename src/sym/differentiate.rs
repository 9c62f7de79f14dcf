//! The chain rule: the local Jacobian of every kind of node, and what is composed from it.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::contraction::sum_product;
use super::graph::{Expr, Graph, Node, Reduction, without};
use crate::axes::Axis;

/// The Jacobian of a node with respect to one argument: multiply by `factors`, move the axes as `how` says, sum
/// over axes that the node lacks, repeat along axes that the argument lacks.
#[derive(Clone, Debug)]
pub struct Local {
    pub arg: Expr,
    pub factors: Vec<Expr>,
    pub how: Move,
}

/// How the axes of an argument become those of the result.
#[derive(Clone, Debug)]
pub enum Move {
    /// By identity.
    Share,
    /// Pairs (old, new).
    Rename(Vec<(Axis, Axis)>),
    /// Row-major reinterpretation.
    Reshape { from: Vec<Axis>, to: Vec<Axis> },
}

/// The local Jacobians of `expr` with respect to its arguments, one entry for every place where it may vary.
pub fn local_jacobians(graph: &mut Graph, expr: Expr) -> Vec<Local> {
    let share = |arg, factors| Local { arg, factors, how: Move::Share };
    match graph.node(expr).clone() {
        Node::Number(_)
        | Node::Symbol(_)
        | Node::Index(_)
        | Node::Window(_)
        | Node::ArgMax(..)
        | Node::Random { .. }
        | Node::Orthonormal(_)
        // Exchanges are put in when nothing is derived any more.
        | Node::Exchange(..) => vec![],
        Node::Add(terms) => terms.into_iter().map(|term| share(term, vec![])).collect(),
        Node::Mul(factors) => product_rule(graph, &factors),
        Node::Pow(base, exponent) => power_rule(graph, base, exponent),
        Node::Apply(function, args) => {
            let slope = |i| share(args[i], vec![function.0.derivative(graph, i, &args)]);
            (0..args.len()).map(slope).collect()
        }
        Node::Reduce(Reduction::Sum, _, arg) => vec![share(arg, vec![])],
        Node::Reduce(Reduction::Mean, over, arg) => {
            let share_of_one = 1.0 / graph.axes.size(&over) as f64;
            let factor = graph.number(share_of_one);
            vec![share(arg, vec![factor])]
        }
        // A maximum enters formulas only as a shift whose derivative cancels (log Σ exp).
        Node::Reduce(Reduction::Max, ..) => vec![],
        Node::Contract { left, right, .. } => vec![share(left, vec![right]), share(right, vec![left])],
        Node::Rename(arg, pairs) => vec![Local { arg, factors: vec![], how: Move::Rename(pairs) }],
        Node::Reshape { arg, from, to } => {
            vec![Local { arg, factors: vec![], how: Move::Reshape { from, to } }]
        }
        Node::Spread(arg, _) => vec![share(arg, vec![])],
    }
}

fn product_rule(graph: &mut Graph, factors: &[Expr]) -> Vec<Local> {
    let mut rules = Vec::new();
    for (i, &arg) in factors.iter().enumerate() {
        if graph.as_number(arg).is_none() {
            let others: Vec<Expr> = factors[..i].iter().chain(&factors[i + 1..]).copied().collect();
            rules.push(Local { arg, factors: vec![graph.mul(&others)], how: Move::Share });
        }
    }
    rules
}

/// Exponents are numbers wherever something is differentiated; others are written through exp and log.
fn power_rule(graph: &mut Graph, base: Expr, exponent: Expr) -> Vec<Local> {
    let minus_one = graph.number(-1.0);
    let lower = graph.add(&[exponent, minus_one]);
    let power = graph.pow(base, lower);
    let slope = graph.mul(&[exponent, power]);
    vec![Local { arg: base, factors: vec![slope], how: Move::Share }]
}

impl Move {
    /// The argument's axis that becomes `axis` of the result by identity.
    pub fn old_axis(&self, axis: Axis) -> Option<Axis> {
        match self {
            Move::Share => Some(axis),
            Move::Rename(pairs) => {
                let renamed = pairs.iter().find(|pair| pair.1 == axis).map(|pair| pair.0);
                renamed.or(Some(axis))
            }
            Move::Reshape { to, .. } => (!to.contains(&axis)).then_some(axis),
        }
    }
}

impl Local {
    /// The adjoint applied to `cotangent`, which is over (some of) the result's axes and constant along the others;
    /// likewise the value over the argument's axes.
    pub fn pull_back(&self, graph: &mut Graph, result: Expr, cotangent: Expr) -> Expr {
        match &self.how {
            Move::Share => {
                let over = without(graph.axes_of(result), graph.axes_of(self.arg));
                self.weigh(graph, cotangent, &over)
            }
            Move::Rename(pairs) => {
                let back: Vec<_> = pairs.iter().map(|&(old, new)| (new, old)).collect();
                rename_present(graph, cotangent, &back)
            }
            Move::Reshape { from, to } => reshape_present(graph, cotangent, to, from),
        }
    }

    /// The Jacobian applied to `tangent`, which is over (some of) the argument's axes, and perhaps over axes of its own
    /// that number directions; likewise the value over the result's axes.
    pub fn push_forward(&self, graph: &mut Graph, result: Expr, tangent: Expr) -> Expr {
        match &self.how {
            Move::Share => {
                let over = without(graph.axes_of(self.arg), graph.axes_of(result));
                self.weigh(graph, tangent, &over)
            }
            Move::Rename(pairs) => rename_present(graph, tangent, pairs),
            Move::Reshape { from, to } => reshape_present(graph, tangent, from, to),
        }
    }

    fn weigh(&self, graph: &mut Graph, value: Expr, over: &[Axis]) -> Expr {
        let mut factors = vec![value];
        factors.extend(&self.factors);
        sum_product(graph, factors, over)
    }
}

fn rename_present(graph: &mut Graph, value: Expr, pairs: &[(Axis, Axis)]) -> Expr {
    let has: Vec<_> = pairs.iter().copied().filter(|pair| graph.axes_of(value).contains(&pair.0)).collect();
    if has.is_empty() { value } else { graph.rename(value, &has) }
}

/// Reshapes a value that may be constant along some of the axes.
pub(super) fn reshape_present(graph: &mut Graph, value: Expr, from: &[Axis], to: &[Axis]) -> Expr {
    if !from.iter().any(|axis| graph.axes_of(value).contains(axis)) {
        return value;
    }
    let full = graph.spread(value, from);
    graph.reshape(full, from, to)
}

impl Graph {
    /// Everything below `roots` (themselves included) that depends on one of `leaves`, leaves included, in
    /// evaluation order (arguments before what uses them).
    pub fn between(&self, roots: &[Expr], leaves: &[Expr]) -> BTreeSet<Expr> {
        let mut varying = BTreeSet::new();
        for expr in self.reachable(roots) {
            let varies = |arg: &Expr| varying.contains(arg);
            if leaves.contains(&expr) || self.node(expr).args().iter().any(varies) {
                varying.insert(expr);
            }
        }
        varying
    }

    /// Everything that `roots` are made of, arguments first.
    pub fn reachable(&self, roots: &[Expr]) -> Vec<Expr> {
        let mut seen = vec![false; self.len()];
        let mut open = roots.to_vec();
        while let Some(expr) = open.pop() {
            if !std::mem::replace(&mut seen[expr.0 as usize], true) {
                open.extend(self.node(expr).args());
            }
        }
        // Arguments are interned before what uses them, so their numbers are smaller.
        (0..self.len() as u32).map(Expr).filter(|expr| seen[expr.0 as usize]).collect()
    }

    /// Vector–Jacobian products in reverse order: given ∂l/∂(seed.0) = seed.1 for every seed, the gradients of l with
    /// respect to `wrt`, each over the axes of its expression (zero where l does not depend on it). Where one of
    /// `wrt` is an intermediate of another, each gradient is that of varying this one expression alone.
    pub fn vjp(&mut self, seeds: &[(Expr, Expr)], wrt: &[Expr]) -> HashMap<Expr, Expr> {
        let outputs: Vec<Expr> = seeds.iter().map(|seed| seed.0).collect();
        let varying = self.between(&outputs, wrt);
        let mut pending: BTreeMap<Expr, Vec<Expr>> = BTreeMap::new();
        for &(output, cotangent) in seeds.iter().filter(|seed| varying.contains(&seed.0)) {
            pending.entry(output).or_default().push(cotangent);
        }
        let mut gradients = HashMap::new();
        while let Some((expr, parts)) = pending.pop_last() {
            let cotangent = self.add(&parts);
            if wrt.contains(&expr) {
                gradients.insert(expr, cotangent);
            }
            for local in local_jacobians(self, expr).into_iter().filter(|local| varying.contains(&local.arg))
            {
                let part = local.pull_back(self, expr, cotangent);
                pending.entry(local.arg).or_default().push(part);
            }
        }
        wrt.iter().map(|&expr| (expr, self.whole(expr, gradients.get(&expr).copied()))).collect()
    }

    /// The Jacobian–vector product ∂output/∂wrt · tangent in forward order, over (some of) the output's axes. Axes of the
    /// tangent that `wrt` lacks number directions: they are carried along, and each gives a product of its own.
    pub fn jvp(&mut self, output: Expr, wrt: Expr, tangent: Expr) -> Expr {
        let zero = self.number(0.0);
        let mut tangents = HashMap::from([(wrt, tangent)]);
        for expr in self.between(&[output], &[wrt]) {
            if expr == wrt {
                continue;
            }
            let mut parts = Vec::new();
            for local in local_jacobians(self, expr) {
                if let Some(&tangent) = tangents.get(&local.arg) {
                    parts.push(local.push_forward(self, expr, tangent));
                }
            }
            let total = self.add(&parts);
            tangents.insert(expr, total);
        }
        tangents.get(&output).copied().unwrap_or(zero)
    }

    /// A (co)tangent over all axes of its expression; zero when there is none.
    fn whole(&mut self, expr: Expr, value: Option<Expr>) -> Expr {
        let value = value.unwrap_or_else(|| self.number(0.0));
        let axes = self.axes_of(expr).to_vec();
        self.spread(value, &axes)
    }
}
