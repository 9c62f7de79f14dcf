//! What the structure of a block says of its local Hessians without a number: bounds of rank, directions that they
//! annihilate, and where the published claims about such blocks hold.
//!
//! Null directions are found by applying the Jacobian to a candidate and simplifying to zero: a common shift of all
//! samples, a constant added to all features of a sample, the argument itself (F does not change with its scale), a
//! constant added to the outputs under Hess(l). Guards of divisions (ε) count as 0 for it, as in [`super::moments`].

use std::collections::HashMap;

use super::jacobian::hessian;
use super::local::{Derived, Span, loss_curvature};
use super::moments::{is_guard, is_mean_square};
use super::{BlockExprs, BlockParam};
use crate::axes::{Axis, BATCH};
use crate::sym::formula::{Formula, Name};
use crate::sym::graph::{Expr, Graph, Node, Storage, SymbolInfo};
use crate::sym::operator::{Operator, index_of};

/// What a note is about.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    Rank,
    NullDirection,
    /// What the paper says of such blocks, and whether it holds.
    Claim,
}

impl Kind {
    pub fn name(self) -> &'static str {
        match self {
            Kind::Rank => "rank",
            Kind::NullDirection => "null direction",
            Kind::Claim => "claim",
        }
    }
}

/// A short statement.
#[derive(Clone, Debug, PartialEq)]
pub struct Note {
    pub kind: Kind,
    pub text: Vec<Span>,
}

/// The notes of one block; `derived` are its Jacobians, z first, as far as they have a closed form.
pub fn notes(
    graph: &mut Graph,
    block: &BlockExprs,
    derived: &[Option<&Derived>],
    has_paper_form: bool,
) -> Vec<Note> {
    let mut finder = Finder::new(graph, block);
    let mut notes = finder.ranks(derived);
    notes.extend(finder.null_directions(derived));
    notes.extend(finder.claims(derived, has_paper_form));
    notes
}

struct Finder<'g, 'b> {
    graph: &'g mut Graph,
    block: &'b BlockExprs,
    /// The output with guards of divisions taken out, and whether there were any.
    unguarded: Expr,
    guarded: bool,
    scale_free_weights: Vec<Formula>,
    scale_free_input: bool,
}

fn h(of: impl Into<Formula>) -> Formula {
    Formula::from("H").below(of)
}

fn zero(product: Vec<Formula>) -> Formula {
    let product = Formula::matrix(product).unwrap_or(Formula::Number(0.0));
    product.equals(Formula::Number(0.0))
}

fn note(kind: Kind, text: Vec<Span>) -> Note {
    Note { kind, text }
}

impl<'g, 'b> Finder<'g, 'b> {
    fn new(graph: &'g mut Graph, block: &'b BlockExprs) -> Self {
        let mut leaves = vec![block.input];
        leaves.extend(block.params.iter().map(|param| param.value));
        let unguarded = without_guards(graph, block.output, &leaves);
        Finder {
            guarded: unguarded != block.output,
            graph,
            block,
            unguarded,
            scale_free_weights: vec![],
            scale_free_input: false,
        }
    }

    /// Upper bounds that are below the dimension.
    fn ranks(&mut self, derived: &[Option<&Derived>]) -> Vec<Note> {
        let arguments: Vec<Expr> = self.arguments();
        let mut notes = Vec::new();
        for (argument, derived) in arguments.into_iter().zip(derived) {
            let Some(derived) = derived.filter(|derived| !derived.operator.terms.is_empty()) else {
                continue;
            };
            let own = self.size(argument);
            let (narrowest, size) = self.bottleneck(argument);
            if size >= own {
                continue;
            }
            let where_ = match narrowest == self.block.output {
                true => "the block's output".to_string(),
                false => format!("a value of {} features inside", self.features(narrowest)),
            };
            let per_sample = derived.is_input && !couples(&derived.operator);
            let m = self.graph.axes.extent(BATCH);
            let (bound, own, each) = match per_sample {
                true => (size / m, own / m, " per sample"),
                false => (size, own, ""),
            };
            let rank = Formula::Matrix(vec!["rank".into(), h(derived.wrt.clone())]);
            notes.push(note(
                Kind::Rank,
                vec![
                    rank.relates("≤", Formula::Number(bound as f64)).into(),
                    Span::Words(format!("{each} of {own}: all goes through {where_}")),
                ],
            ));
        }
        notes
    }

    fn arguments(&self) -> Vec<Expr> {
        [self.block.input].into_iter().chain(self.block.params.iter().map(|param| param.value)).collect()
    }

    fn size(&self, expr: Expr) -> usize {
        self.graph.axes.size(self.graph.axes_of(expr))
    }

    fn features(&self, expr: Expr) -> usize {
        let axes = self.graph.axes_of(expr).iter().filter(|axis| **axis != BATCH);
        axes.map(|&axis| self.graph.axes.extent(axis)).product()
    }

    /// The smallest value that every path from the argument to the output goes through.
    fn bottleneck(&self, argument: Expr) -> (Expr, usize) {
        let path = self.graph.between(&[self.block.output], &[argument]);
        let mut best = (self.block.output, self.size(self.block.output));
        // The furthest value that one of the values so far is used by; expressions are in order of use.
        let mut reach: Option<Expr> = None;
        let mut last_user: HashMap<Expr, Expr> = HashMap::new();
        for &expr in &path {
            for arg in self.graph.node(expr).args() {
                last_user.insert(arg, expr);
            }
        }
        for &expr in &path {
            // No edge jumps over a value that separates the two ends.
            if reach.is_none_or(|reach| reach <= expr) && expr != argument && self.size(expr) < best.1 {
                best = (expr, self.size(expr));
            }
            reach = reach.max(last_user.get(&expr).copied());
        }
        best
    }

    fn null_directions(&mut self, derived: &[Option<&Derived>]) -> Vec<Note> {
        let mut notes = Vec::new();
        let vanished = derived.iter().flatten().filter(|derived| derived.operator.terms.is_empty());
        for derived in vanished {
            let name = derived.wrt.clone();
            let jacobian = Formula::from("J").below(name.clone()).equals(Formula::Number(0.0));
            notes.push(note(
                Kind::NullDirection,
                vec![
                    jacobian.into(),
                    ": the block's output does not depend on ".into(),
                    Formula::from(name).into(),
                    ", a shift that a mean takes out again".into(),
                ],
            ));
        }
        notes.extend(self.shifts());
        notes.extend(self.scales(derived));
        notes.extend(self.shifted_outputs());
        notes
    }

    /// Shifts of the input that do not change the output.
    fn shifts(&mut self) -> Vec<Note> {
        let axes = self.graph.axes_of(self.block.input).to_vec();
        let features: Vec<Axis> = axes.iter().copied().filter(|axis| *axis != BATCH).collect();
        let mut notes = Vec::new();
        if axes.contains(&BATCH) && self.annihilates(&features) {
            notes.push(note(
                Kind::NullDirection,
                vec![
                    zero(vec![h("z"), Formula::call("vec", vec![outer_ones()])]).into(),
                    " for every ".into(),
                    Formula::from("v").into(),
                    ": a shift of all samples by one vector goes unnoticed".into(),
                ],
            ));
        }
        if axes.contains(&BATCH) && self.annihilates(&[BATCH]) {
            notes.push(note(
                Kind::NullDirection,
                vec![
                    zero(vec![h("z"), Formula::from("1")]).into(),
                    " in every sample: adding one number to all features goes unnoticed".into(),
                ],
            ));
        }
        notes
    }

    /// Whether the Jacobian by the input vanishes on what varies along `axes` only.
    fn annihilates(&mut self, axes: &[Axis]) -> bool {
        let direction = direction(self.graph, axes);
        let all = self.graph.axes_of(self.block.input).to_vec();
        let direction = self.graph.spread(direction, &all);
        let image = self.graph.jvp(self.block.output, self.block.input, direction);
        is_zero(self.graph, image)
    }

    /// Arguments whose scale does not matter (Euler: F of degree 0 has J W = 0).
    fn scales(&mut self, derived: &[Option<&Derived>]) -> Vec<Note> {
        let mut notes = Vec::new();
        for (argument, derived) in self.arguments().into_iter().zip(derived) {
            let Some(derived) = derived.filter(|derived| !derived.operator.terms.is_empty()) else {
                continue;
            };
            let image = self.graph.jvp(self.unguarded, argument, argument);
            if !is_zero(self.graph, image) {
                continue;
            }
            let name = Formula::from(derived.wrt.clone());
            let rows = !derived.is_input && by_rows(&derived.operator);
            let vector = match (derived.is_input, rows) {
                (false, true) => row(&derived.wrt),
                _ => Formula::call("vec", vec![name.clone()]),
            };
            let matrix = match rows {
                true => h(Formula::List(vec![name.clone(), "i".into()])),
                false => h(name.clone()),
            };
            let mut text: Vec<Span> = vec![zero(vec![matrix, vector]).into()];
            let exactly = if self.guarded { " at ε = 0" } else { "" };
            let each = if rows { "a row of " } else { "" };
            text.push(Span::Words(format!("{exactly}: F does not change with the scale of {each}")));
            text.push(name.clone().into());
            if self.guarded {
                text.push("; for ε > 0 the eigenvalue along it is of relative size ".into());
                text.push(Formula::Fraction(vec!["ε".into()], vec!["v".into()]).powered(2.0).into());
            }
            notes.push(note(Kind::NullDirection, text));
            match derived.is_input {
                true => self.scale_free_input = true,
                false => self.scale_free_weights.push(name),
            }
        }
        notes
    }

    /// A constant added to all outputs of a sample, under Hess(l).
    fn shifted_outputs(&mut self) -> Vec<Note> {
        let Some(loss) = self.block.loss else { return vec![] };
        if hessian(self.graph, loss, self.block.output).is_err() {
            return vec![];
        }
        let one = self.graph.number(1.0);
        let gradient = self.graph.vjp(&[(loss, one)], &[self.block.output])[&self.block.output];
        let direction = direction(self.graph, &[BATCH]);
        let all = self.graph.axes_of(self.block.output).to_vec();
        let direction = self.graph.spread(direction, &all);
        let image = self.graph.jvp(gradient, self.block.output, direction);
        if !is_zero(self.graph, image) {
            return vec![];
        }
        let features = self.features(self.block.output);
        let rank = Formula::Matrix(vec!["rank".into(), loss_curvature()]);
        vec![note(
            Kind::NullDirection,
            vec![
                zero(vec![loss_curvature(), "1".into()]).into(),
                " in every sample: a constant added to all outputs does not change the loss, so ".into(),
                rank.relates("≤", Formula::Number(features.saturating_sub(1) as f64)).into(),
                " per sample".into(),
            ],
        )]
    }

    fn claims(&self, derived: &[Option<&Derived>], has_paper_form: bool) -> Vec<Note> {
        let mut notes = Vec::new();
        let weights: Vec<&BlockParam> =
            self.block.params.iter().filter(|param| param.role == super::factors::WEIGHT_ROLE).collect();
        if let Some(input) = derived.first().copied().flatten() {
            let terms = &input.operator.terms;
            let bare = |weight: &&BlockParam| matches!(&terms[..], [term] if matches!(&term.factors[..], [one] if one.expr == weight.value));
            if weights.len() == 1 && weights.iter().any(bare) {
                notes.push(case_1());
            }
            let identity = |term: &crate::sym::operator::Term| {
                term.factors.is_empty() && term.domain == term.codomain && term.reshapes.is_empty()
            };
            if terms.len() > 1 && terms.iter().any(identity) && !couples(&input.operator) {
                notes.push(case_2());
            }
        }
        if has_paper_form {
            notes.extend(case_3());
        }
        notes.extend(self.scale_free_weights.iter().map(remark_1));
        if self.scale_free_input {
            notes.push(remark_2());
        }
        notes
    }
}

/// 1 vᵀ
fn outer_ones() -> Formula {
    Formula::Matrix(vec!["1".into(), Formula::from("v").transpose()])
}

/// wᵢ of W
fn row(name: &Name) -> Formula {
    let lower = Name { base: name.base.to_lowercase(), ..name.clone() };
    Formula::from(lower).indexed(vec!["i".to_string()])
}

fn is_zero(graph: &Graph, expr: Expr) -> bool {
    match graph.node(expr) {
        Node::Number(number) => number.value() == 0.0,
        Node::Spread(arg, _) => is_zero(graph, *arg),
        _ => false,
    }
}

/// A fresh symbol over `axes`.
fn direction(graph: &mut Graph, axes: &[Axis]) -> Expr {
    let symbol = graph.new_symbol(SymbolInfo {
        name: "direction".into(),
        label: "v".into(),
        axes: axes.to_vec(),
        storage: Storage::Float,
    });
    graph.symbol(symbol)
}

/// Whether a sample's output depends on other samples.
fn couples(operator: &Operator) -> bool {
    operator.terms.iter().any(|term| index_of(&term.domain, BATCH) != index_of(&term.codomain, BATCH))
}

/// Whether the first axis of the argument is one with the output's: rows do not mix.
fn by_rows(operator: &Operator) -> bool {
    operator.terms.iter().all(|term| {
        term.domain.len() > 1
            && term.domain.first().is_some_and(|first| term.codomain.iter().any(|other| other.1 == first.1))
    })
}

/// The expression with numbers that guard a division by a deviation taken as 0.
fn without_guards(graph: &mut Graph, root: Expr, leaves: &[Expr]) -> Expr {
    let mut known: HashMap<Expr, Expr> = HashMap::new();
    for expr in graph.between(&[root], leaves) {
        let renewed = if leaves.contains(&expr) { expr } else { rebuilt(graph, expr, &known) };
        known.insert(expr, renewed);
    }
    known.get(&root).copied().unwrap_or(root)
}

/// The node over renewed arguments; the node itself where nothing changed.
fn rebuilt(graph: &mut Graph, expr: Expr, known: &HashMap<Expr, Expr>) -> Expr {
    let node = graph.node(expr).clone();
    let new = |arg: &Expr| known.get(arg).copied().unwrap_or(*arg);
    let guarded = matches!(&node, Node::Add(terms) if terms.iter().any(|&term| is_mean_square(graph, term)));
    let drops = guarded && node.args().iter().any(|&term| is_guard(graph, term));
    if !drops && node.args().iter().all(|arg| new(arg) == *arg) {
        return expr;
    }
    match node {
        Node::Add(terms) => {
            let kept = terms.iter().filter(|&&term| !(drops && is_guard(graph, term)));
            let kept: Vec<Expr> = kept.map(new).collect();
            graph.add(&kept)
        }
        Node::Mul(factors) => graph.mul(&factors.iter().map(new).collect::<Vec<Expr>>()),
        Node::Pow(base, exponent) => graph.pow(new(&base), new(&exponent)),
        Node::Apply(function, args) => graph.apply(function.0, &args.iter().map(new).collect::<Vec<Expr>>()),
        Node::Reduce(how, over, arg) => graph.reduce(how, &over, new(&arg)),
        Node::Contract { left, right, over } => graph.contract(new(&left), new(&right), &over),
        Node::Rename(arg, pairs) => graph.rename(new(&arg), &pairs),
        Node::Reshape { arg, from, to } => graph.reshape(new(&arg), &from, &to),
        Node::Spread(arg, along) => graph.spread(new(&arg), &along),
        Node::ArgMax(over, arg) => graph.arg_max(&over, new(&arg)),
        Node::Number(_)
        | Node::Symbol(_)
        | Node::Index(_)
        | Node::Window(_)
        | Node::Random { .. }
        | Node::Orthonormal(_)
        | Node::Exchange(..) => expr,
    }
}

fn case_1() -> Note {
    note(
        Kind::Claim,
        vec![
            "Case 1 of the paper holds as printed; its ".into(),
            h("W").into(),
            " is the block of one row: the whole has each eigenvalue once for every row".into(),
        ],
    )
}

fn case_2() -> Note {
    let sigma = || Formula::from("σ");
    let one = || (false, Formula::Number(1.0));
    let plus = Formula::Sum(vec![one(), (false, sigma())]);
    let minus = Formula::Sum(vec![one(), (true, sigma())]);
    let skip = Formula::Sum(vec![(false, "I".into()), (false, "∂φ".into())]);
    let bound = Formula::call("cond", vec![skip]).relates("≤", Formula::Fraction(vec![plus], vec![minus]));
    note(
        Kind::Claim,
        vec![
            "Case 2 of the paper: with ".into(),
            sigma().into(),
            " the largest singular value of ".into(),
            Formula::from("∂φ").into(),
            " below 1, ".into(),
            bound.into(),
            ". The remark that this betters the branch's own condition number needs ".into(),
            sigma().relates("<", "s".into()).into(),
            " for ".into(),
            Formula::from("s").relates("<", Formula::Number(0.5)).into(),
            "; as printed (".into(),
            sigma().relates("<", Formula::Sum(vec![one(), (true, "s".into())])).into(),
            ") it holds for ".into(),
            Formula::from("s").relates("≥", Formula::Number(0.5)).into(),
            " only".into(),
        ],
    )
}

fn case_3() -> Vec<Note> {
    let share = Formula::Sum(vec![
        (false, Formula::Number(1.0)),
        (true, Formula::Fraction(vec![Formula::Number(2.0)], vec!["m".into()])),
    ]);
    vec![
        note(
            Kind::Claim,
            vec![
                "Case 3 of the paper holds the batch statistics constant. Without activation and at γ = 1, ε = 0 the mean of the \
                 sample blocks on the diagonal of "
                    .into(),
                h("z").into(),
                " is ".into(),
                share.into(),
                " of its ".into(),
                h("z").into(),
                "; the coupling between samples is left out".into(),
            ],
        ),
        note(
            Kind::Claim,
            vec![
                "its ".into(),
                h("W").into(),
                " carries a 1/m that the sum over samples does not have, is not centred, and lacks the rank-one term that makes "
                    .into(),
                Formula::from("w").indexed(vec!["i".to_string()]).into(),
                " a null vector".into(),
            ],
        ),
    ]
}

fn remark_1(weight: &Formula) -> Note {
    let alpha = || Formula::from("α");
    let inverse = Formula::Fraction(vec![h(weight.clone())], vec![alpha().powered(2.0)]);
    note(
        Kind::Claim,
        vec![
            "Remark 1 of the paper holds at ε = 0 for ".into(),
            alpha().relates(">", Formula::Number(0.0)).into(),
            ": ".into(),
            weight.clone().relates("→", Formula::Product(vec![alpha(), weight.clone()])).into(),
            " leaves ".into(),
            h("z").into(),
            " as it is and makes ".into(),
            h(weight.clone()).relates("→", inverse).into(),
        ],
    )
}

fn remark_2() -> Note {
    let c = || Formula::from("c");
    note(
        Kind::Claim,
        vec![
            "Remark 2 of the paper holds at ε = 0 where what lies below multiplies ".into(),
            Formula::from("z").into(),
            " by one number ".into(),
            c().relates(">", Formula::Number(0.0)).into(),
            " (no unscaled bias, no rows scaled apart): the Hessians of the weights stay, ".into(),
            h("z").relates("→", Formula::Fraction(vec![h("z")], vec![c().powered(2.0)])).into(),
        ],
    )
}
