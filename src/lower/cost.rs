//! What computing an expression costs, in operations per entry.

use std::cell::RefCell;
use std::collections::HashMap;

use super::layout::Layouts;
use super::view::view;
use crate::intrinsics;
use crate::loops::build::ScalarBuilder;
use crate::loops::{Binary, Reg, Ty};
use crate::sym::{Expr, Graph, Node};

/// Bytes of which a good part does not stay in a third-level cache.
pub(super) const FAR: usize = 1 << 22;
/// A division or square root, in additions.
const DIVISION: u32 = 6;
/// A general power, in additions.
const POWER: u32 = 30;
/// Hashing one random number, in additions.
const RANDOM: u32 = 24;
/// A function about which nothing is known.
const UNKNOWN: u32 = 10;

/// A function by its name, and which of its arguments are conditions.
type Signature = (&'static str, Vec<bool>);

/// Instruction counts and result types of elementwise functions, found by lowering them once.
#[derive(Default)]
pub(super) struct Costs {
    functions: RefCell<HashMap<Signature, (u32, bool)>>,
}

impl Costs {
    /// Operations per entry when `expr` is computed where it is used; what lies in memory costs one.
    pub fn inlined(&self, graph: &Graph, layouts: &Layouts, order: &[Expr]) -> HashMap<Expr, u32> {
        let mut result: HashMap<Expr, u32> = HashMap::new();
        for &expr in order {
            let cost = self.own(graph, expr);
            let below = graph.node(expr).args().into_iter();
            let below = below.map(|arg| if view(graph, layouts, arg).is_some() { 0 } else { result[&arg] });
            result.insert(expr, below.fold(cost, u32::saturating_add));
        }
        result
    }

    /// Operations of the node itself.
    pub fn own(&self, graph: &Graph, expr: Expr) -> u32 {
        match graph.node(expr) {
            Node::Add(args) => args.len() as u32 - 1,
            Node::Mul(args) => {
                let negated = args.first().and_then(|&first| graph.as_number(first)) == Some(-1.0);
                args.len() as u32 - 1 - u32::from(negated)
            }
            Node::Pow(_, exponent) => match graph.as_number(*exponent) {
                Some(number) if number.fract() == 0.0 && (0.0..=8.0).contains(&number) => number as u32 - 1,
                Some(number) if (number * 2.0).fract() == 0.0 && number.abs() <= 4.0 => DIVISION,
                _ => POWER,
            },
            Node::Apply(..) => self.function(graph, expr).0,
            Node::Random { .. } => RANDOM,
            Node::Index(_) => 1,
            _ => 0,
        }
    }

    /// Whether the value is a condition.
    pub fn condition(&self, graph: &Graph, expr: Expr) -> bool {
        match graph.node(expr) {
            Node::Apply(..) => self.function(graph, expr).1,
            Node::Rename(arg, _) | Node::Spread(arg, _) => self.condition(graph, *arg),
            _ => false,
        }
    }

    fn function(&self, graph: &Graph, expr: Expr) -> (u32, bool) {
        let Node::Apply(function, args) = graph.node(expr) else { return (UNKNOWN, false) };
        let conditions: Vec<bool> = args.iter().map(|&arg| self.condition(graph, arg)).collect();
        let key = (function.0.name(), conditions);
        if let Some(&known) = self.functions.borrow().get(&key) {
            return known;
        }
        let found = probe(key.0, &key.1);
        self.functions.borrow_mut().insert(key, found);
        found
    }
}

fn probe(name: &str, conditions: &[bool]) -> (u32, bool) {
    let Some(scalar) = intrinsics::scalar_by_name(name) else { return (UNKNOWN, false) };
    let mut builder = ScalarBuilder::new(Ty::F32);
    let mut argument = |(index, &condition): (usize, &bool)| {
        let value = builder.acc(index, Ty::F32);
        if condition { builder.binary(Binary::Lt, value, value) } else { value }
    };
    let args: Vec<Reg> = conditions.iter().enumerate().map(&mut argument).collect();
    let result = scalar.lower(&mut builder, &args);
    let condition = builder.type_of(result) == Ty::Bool;
    ((builder.finish().insts.len() - args.len()) as u32, condition)
}
