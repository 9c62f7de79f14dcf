//! Every rule on an example: both sides have the same value, and the rule does apply.

use super::{Rule, rewrite, rules};
use crate::axes::{Axis, BATCH};
use crate::sym::evaluate;
use crate::sym::example::Example;
use crate::sym::graph::{Expr, Function, FunctionRef, Graph, Node, Number, Reduction};
use crate::sym::window::Window;

const N: Axis = Axis(1);
const D: Axis = Axis(2);
const FLAT: Axis = Axis(3);
const M: Axis = Axis(4);
const ONE: Axis = Axis(5);

/// max(x, 0) > 0 as a number, with the identity f(−x²) = 0.
struct Positive;

impl Function for Positive {
    fn name(&self) -> &'static str {
        "positive"
    }
    fn arity(&self) -> usize {
        1
    }
    fn eval(&self, args: &[f64]) -> f64 {
        if args[0] > 0.0 { 1.0 } else { 0.0 }
    }
    fn derivative(&self, graph: &mut Graph, _i: usize, _args: &[Expr]) -> Expr {
        graph.number(0.0)
    }
    fn is_indicator(&self, _graph: &Graph, _args: &[Expr]) -> bool {
        true
    }
    fn simplify(&self, graph: &mut Graph, args: &[Expr]) -> Option<(&'static str, Expr)> {
        let square = matches!(graph.node(args[0]), Node::Pow(_, two) if graph.as_number(*two) == Some(2.0));
        square.then(|| ("squares of the examples are positive", graph.number(1.0)))
    }
}

fn fresh() -> Example {
    Example::over(4, &[("n", 3), ("d", 5), ("flat", 15), ("m", 3), ("one", 1)], 7)
}

impl Example {
    fn entries(&self, expr: Expr, axes: &[Axis]) -> Vec<f64> {
        let value = evaluate(&self.graph, &self.values, &[expr]).remove(0);
        value.along(&self.graph.axes, axes).iter().copied().collect()
    }

    fn assert_equal(&self, name: &str, raw: Expr, simple: Expr) {
        let axes = self.graph.axes_of(raw).to_vec();
        for (a, b) in self.entries(raw, &axes).into_iter().zip(self.entries(simple, &axes)) {
            assert!(!a.is_finite() || (a - b).abs() <= 1e-10 * (1.0 + a.abs()), "{name}: {a} became {b}");
        }
    }

    /// The raw node as it would stand without rules.
    fn check(&mut self, rule: &Rule, node: Node) {
        let raw = self.graph.intern(node.clone());
        let Some(simple) = (rule.rewrite)(&mut self.graph, &node) else {
            panic!("{} does not apply", rule.name)
        };
        self.assert_equal(rule.name, raw, simple);
    }
}

fn reduce(how: Reduction, over: &[Axis], arg: Expr) -> Node {
    Node::Reduce(how, over.to_vec(), arg)
}

fn window(axis: Axis, offset: i64, by: &[(Axis, usize)]) -> Node {
    Node::Window(Window { axis, offset, by: by.to_vec() })
}

fn number(graph: &mut Graph, value: f64) -> Expr {
    graph.intern(Node::Number(Number::new(value)))
}

/// A node to which the rule applies.
fn example(rule: &str, e: &mut Example) -> Node {
    let tensors = Tensors {
        x: e.tensor(&[BATCH, N]),
        y: e.tensor(&[BATCH, N]),
        z: e.tensor(&[BATCH, D]),
        w: e.tensor(&[N, D]),
        v: e.tensor(&[N]),
        s: e.tensor(&[]),
        two: number(&mut e.graph, 2.0),
    };
    let tables = [of_algebra, of_reductions, of_structure];
    let found = tables.iter().find_map(|table| table(rule, &mut e.graph, &tensors));
    found.unwrap_or_else(|| panic!("the rule `{rule}` has no example"))
}

struct Tensors {
    x: Expr,
    y: Expr,
    z: Expr,
    w: Expr,
    v: Expr,
    s: Expr,
    two: Expr,
}

fn of_algebra(rule: &str, g: &mut Graph, t: &Tensors) -> Option<Node> {
    let &Tensors { x, y, v, two, .. } = t;
    Some(match rule {
        "collect like terms" => {
            let inner = g.intern(Node::Add(vec![x, y]));
            let minus = number(g, -1.0);
            let negative = g.intern(Node::Mul(vec![minus, x]));
            Node::Add(vec![inner, negative, two])
        }
        "collect powers" => {
            let square = g.intern(Node::Pow(x, two));
            Node::Mul(vec![square, two, x, v, x])
        }
        "power of a repeated value" => Node::Pow(g.intern(Node::Spread(v, vec![BATCH])), two),
        "trivial power" => Node::Pow(x, number(g, 0.0)),
        "power of a power" => {
            let cube = number(g, 3.0);
            Node::Pow(g.intern(Node::Pow(x, two)), cube)
        }
        "power of a product" => Node::Pow(g.intern(Node::Mul(vec![x, v])), two),
        "power of an indicator" => {
            let hit = g.intern(Node::Apply(FunctionRef(&Positive), vec![x]));
            Node::Pow(hit, two)
        }
        "function of a repeated value" => {
            let spread = g.intern(Node::Spread(v, vec![BATCH]));
            Node::Apply(FunctionRef(&Positive), vec![spread])
        }
        "function of numbers" => Node::Apply(FunctionRef(&Positive), vec![two]),
        "identity of the function" => Node::Apply(FunctionRef(&Positive), vec![g.intern(Node::Pow(x, two))]),
        _ => return None,
    })
}

fn of_reductions(rule: &str, g: &mut Graph, t: &Tensors) -> Option<Node> {
    let &Tensors { x, y, z, w, v, .. } = t;
    Some(match rule {
        "no axes" => reduce(Reduction::Sum, &[], x),
        "constant along the axes" => reduce(Reduction::Sum, &[BATCH, N], v),
        "nested reductions" => {
            let inner = g.intern(reduce(Reduction::Mean, &[N], x));
            reduce(Reduction::Sum, &[BATCH], inner)
        }
        "reduction of a renamed value" => {
            let renamed = g.intern(Node::Rename(x, vec![(N, M)]));
            reduce(Reduction::Sum, &[M], renamed)
        }
        "reduction of a reshaped value" => {
            let flat = g.intern(Node::Reshape { arg: w, from: vec![N, D], to: vec![FLAT] });
            reduce(Reduction::Mean, &[FLAT], flat)
        }
        "factor out" => reduce(Reduction::Mean, &[BATCH], g.intern(Node::Mul(vec![x, v, y]))),
        "separate sums" => reduce(Reduction::Sum, &[BATCH, N, D], g.intern(Node::Mul(vec![v, z]))),
        "deviations from the mean vanish" => {
            let mean = g.intern(reduce(Reduction::Mean, &[BATCH], x));
            let minus = number(g, -1.0);
            let negative = g.intern(Node::Mul(vec![minus, mean]));
            let deviation = g.intern(Node::Add(vec![x, negative]));
            reduce(Reduction::Sum, &[BATCH], deviation)
        }
        "sum of a contraction" => {
            let inner = g.intern(Node::Contract { left: x, right: y, over: vec![N] });
            reduce(Reduction::Mean, &[BATCH], inner)
        }
        "matrix product" => reduce(Reduction::Mean, &[N], g.intern(Node::Mul(vec![x, w, y]))),
        "sum and mean" => {
            g.intern(reduce(Reduction::Mean, &[N], x));
            reduce(Reduction::Sum, &[N], x)
        }
        _ => return None,
    })
}

fn of_structure(rule: &str, g: &mut Graph, t: &Tensors) -> Option<Node> {
    let &Tensors { x, y, w, v, s, two, .. } = t;
    Some(match rule {
        "contraction over nothing" => Node::Contract { left: x, right: w, over: vec![] },
        "contraction of a repeated value" => {
            let spread = g.intern(Node::Spread(w, vec![BATCH]));
            Node::Contract { left: spread, right: x, over: vec![BATCH, N] }
        }
        "sum one side first" => Node::Contract { left: w, right: x, over: vec![D, N, FLAT] },
        "scalar out of a contraction" => {
            let left = g.intern(Node::Mul(vec![two, s, w]));
            Node::Contract { left, right: x, over: vec![N] }
        }
        "entrywise contraction" => Node::Contract { left: x, right: y, over: vec![N] },
        "window that numbers its axis" => {
            let window = g.intern(window(FLAT, 0, &[(N, 5), (D, 1)]));
            let flat = g.intern(Node::Reshape { arg: w, from: vec![N, D], to: vec![FLAT] });
            Node::Contract { left: window, right: flat, over: vec![FLAT] }
        }
        "window of a constant" => {
            let window = g.intern(window(D, -1, &[(N, 2), (M, 1)]));
            Node::Contract { left: window, right: x, over: vec![N, M] }
        }
        "a window meets the factor that it moves" => {
            let window = g.intern(window(FLAT, -1, &[(N, 2), (D, 1)]));
            let moved = g.intern(Node::Spread(x, vec![M]));
            let taps = g.intern(Node::Rename(w, vec![(N, M)]));
            let product = g.intern(Node::Contract { left: moved, right: taps, over: vec![M] });
            Node::Contract { left: window, right: product, over: vec![N, D] }
        }
        "sum of a window" => reduce(Reduction::Sum, &[D], g.intern(window(D, 0, &[(N, 1), (M, 1)]))),
        "sum of a choice" => reduce(Reduction::Sum, &[N], g.intern(Node::ArgMax(vec![N], x))),
        "single position of a window" => window(D, 1, &[(N, 1), (ONE, 1)]),
        "trivial renaming" => Node::Rename(x, vec![(N, N), (D, M)]),
        "renaming composed" => {
            let first = g.intern(Node::Rename(x, vec![(N, M)]));
            Node::Rename(first, vec![(M, N)])
        }
        "renamed position or repetition" => Node::Rename(g.intern(Node::Index(N)), vec![(N, M)]),
        "reshape of one axis" => Node::Reshape { arg: x, from: vec![N], to: vec![M] },
        "reshape of single positions" => {
            let one = g.intern(Node::Spread(x, vec![ONE]));
            Node::Reshape { arg: one, from: vec![ONE], to: vec![] }
        }
        "reshape composed" => {
            let flat = g.intern(Node::Reshape { arg: w, from: vec![N, D], to: vec![FLAT] });
            Node::Reshape { arg: flat, from: vec![FLAT], to: vec![D, N] }
        }
        "reshape of a constant" => Node::Reshape { arg: s, from: vec![N, D], to: vec![FLAT] },
        "single position" => Node::Index(ONE),
        "repetition" => {
            let spread = g.intern(Node::Spread(v, vec![BATCH]));
            Node::Spread(spread, vec![D, N])
        }
        _ => return None,
    })
}

#[test]
fn every_rule_holds() {
    for rule in rules() {
        let mut e = fresh();
        let node = example(rule.name, &mut e);
        // A reshape of a value that lacks the axes cannot stand raw; it is compared with the repeated value.
        if rule.name == "reshape of a constant" {
            let simple = rewrite(&mut e.graph, &node).expect("applies");
            assert!(e.graph.axes_of(simple).is_empty());
            continue;
        }
        // A contraction over absent axes likewise: the raw node would not count them.
        if matches!(rule.name, "sum one side first" | "constant along the axes") {
            counted(&mut e, &node);
            continue;
        }
        e.check(rule, node);
    }
}

/// Compares with the sum over everything repeated along the summed axes.
fn counted(e: &mut Example, node: &Node) {
    let simple = rewrite(&mut e.graph, node).expect("applies");
    let (args, over) = match node {
        Node::Reduce(_, over, arg) => (vec![*arg], over.clone()),
        Node::Contract { left, right, over } => (vec![*left, *right], over.clone()),
        _ => panic!("neither sum nor contraction"),
    };
    let product = e.graph.intern(Node::Mul(args));
    let along: Vec<Axis> = over.iter().copied().filter(|a| !e.graph.axes_of(product).contains(a)).collect();
    let full = e.graph.intern(Node::Spread(product, along));
    let raw = e.graph.intern(Node::Reduce(Reduction::Sum, over, full));
    e.assert_equal("counted", raw, simple);
}

#[test]
fn even_powers_keep_the_sign_in_mind() {
    let mut e = fresh();
    let x = e.tensor(&[N]);
    let square = e.graph.square(x);
    let root = e.graph.sqrt(square);
    assert_ne!(root, x, "√(x²) is |x|");
    let fourth = e.graph.square(square);
    assert_eq!(e.graph.sqrt(fourth), square);
    let inverse = e.graph.powf(x, -1.0);
    assert_eq!(e.graph.mul(&[x, inverse]), e.graph.number(1.0));
}

#[test]
fn shared_sums_stay_closed() {
    let mut e = fresh();
    let (x, y, z) = (e.tensor(&[N]), e.tensor(&[N]), e.tensor(&[N]));
    let inner = e.graph.add(&[x, y]);
    let outer = e.graph.add(&[inner, z]);
    assert_eq!(e.graph.node(outer), &Node::Add(vec![inner, z]));
    assert_eq!(e.graph.sub(outer, z), inner);
    let other = e.graph.add(&[x, z]);
    let difference = e.graph.sub(inner, other);
    let expected = e.graph.sub(y, z);
    assert_eq!(difference, expected);
}

#[test]
fn order_of_arguments_does_not_matter() {
    let mut e = fresh();
    let (x, w) = (e.tensor(&[BATCH, N]), e.tensor(&[N, D]));
    let v = e.tensor(&[N]);
    assert_eq!(e.graph.add(&[x, v]), e.graph.add(&[v, x]));
    assert_eq!(e.graph.mul(&[x, v]), e.graph.mul(&[v, x]));
    assert_eq!(e.graph.contract(x, w, &[N]), e.graph.contract(w, x, &[N]));
}

/// The gradient that reaches the mean through the variance of a normalization vanishes identically.
#[test]
fn the_mean_gets_nothing_through_the_variance() {
    let mut e = fresh();
    let x = e.tensor(&[BATCH, N]);
    let upstream = e.tensor(&[N]);
    let mean = e.graph.mean(&[BATCH], x);
    let deviation = e.graph.sub(x, mean);
    let square = e.graph.square(deviation);
    let variance = e.graph.mean(&[BATCH], square);
    let eps = e.graph.number(1e-5);
    let shifted = e.graph.add(&[variance, eps]);
    let inverse = e.graph.powf(shifted, -1.5);
    let term = e.graph.mul(&[upstream, deviation, inverse]);
    let through = e.graph.sum(&[BATCH], term);
    assert_eq!(e.graph.as_number(through), Some(0.0));
}

/// Random expressions, built once by the constructors and once raw, have the same value.
#[test]
fn constructors_preserve_values() {
    for seed in 0..150 {
        let mut e = fresh();
        e.state = seed * 77 + 1;
        let shapes: [&[Axis]; 5] = [&[BATCH, N], &[N], &[BATCH], &[], &[N, D]];
        let mut pairs: Vec<(Expr, Expr)> = shapes.iter().map(|axes| e.tensor(axes)).map(|t| (t, t)).collect();
        for value in [2.0, -1.0] {
            let constant = number(&mut e.graph, value);
            pairs.push((constant, constant));
        }
        for _ in 0..12 {
            let pair = grow(&mut e, &pairs);
            pairs.push(pair);
        }
        for (raw, simple) in pairs {
            e.assert_equal(&format!("seed {seed}"), raw, simple);
        }
    }
}

/// One more expression over earlier ones: raw, and by the constructor.
fn grow(e: &mut Example, pairs: &[(Expr, Expr)]) -> (Expr, Expr) {
    let mut pick = |count: usize| (((e.draw() + 1.0) / 2.0 * count as f64) as usize).min(count - 1);
    let (kind, (a, sa), (b, sb)) = (pick(8), pairs[pick(pairs.len())], pairs[pick(pairs.len())]);
    let over: Vec<Axis> = e.graph.axes_of(a).iter().copied().take(1 + kind % 2).collect();
    let g = &mut e.graph;
    let exponent = number(g, [2.0, -1.0, 3.0][kind % 3]);
    match kind {
        0 | 1 => (g.intern(Node::Add(vec![a, b])), g.add(&[sa, sb])),
        2 | 3 => (g.intern(Node::Mul(vec![a, b])), g.mul(&[sa, sb])),
        4 => (g.intern(Node::Pow(a, exponent)), g.pow(sa, exponent)),
        5 => (g.intern(reduce(Reduction::Sum, &over, a)), g.sum(&over, sa)),
        6 => (g.intern(reduce(Reduction::Mean, &over, a)), g.mean(&over, sa)),
        _ => {
            let shared = |axis: &Axis| g.axes_of(b).contains(axis);
            let over: Vec<Axis> = g.axes_of(a).iter().copied().filter(shared).take(1).collect();
            (g.intern(Node::Contract { left: a, right: b, over: over.clone() }), g.contract(sa, sb, &over))
        }
    }
}

/// Sums of the two sums before, with something constant in each: their means stay linear in the depth.
#[test]
fn shared_sums_are_looked_into_once() {
    let mut e = fresh();
    let (mut a, mut b) = (e.tensor(&[BATCH, N]), e.tensor(&[BATCH, N]));
    for _ in 0..60 {
        let (constant, term) = (e.tensor(&[N]), e.tensor(&[BATCH, N]));
        let next = e.graph.add(&[a, b, constant, term]);
        (a, b) = (b, next);
    }
    e.graph.mean(&[BATCH], b);
    assert!(e.graph.len() < 2000, "{} nodes", e.graph.len());
}
