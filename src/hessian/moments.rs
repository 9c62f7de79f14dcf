//! Expectations over white inputs: means and deviations carried through a block, elementwise functions by
//! quadrature over a standard normal variable.

use std::collections::HashMap;

use super::facts::{Normalized, normalized_by, power_of};
use crate::axes::{Axis, BATCH};
use crate::sym::graph::{Expectation, Expr, Graph, Node, Reduction};
use crate::sym::operator::{Factor, Indices, Term, Var, index_of};
use crate::sym::window::{Window, Windowed};

/// Points of equal weight of the standard normal law: the middles of `POINTS` slices of equal probability.
const POINTS: usize = 16;

/// A number up to this size beside a mean square guards a division and changes nothing else.
const GUARD: f64 = 1e-3;

/// mean + deviation·u with u standard normal, one u per entry and source. Neither varies along the batch.
#[derive(Clone, Copy, Debug)]
struct Normal {
    mean: Expr,
    deviation: Expr,
    /// Which u: the expression where the randomness of this value enters.
    source: Expr,
}

/// What is known of a value.
#[derive(Clone, Copy, Debug)]
enum Law {
    /// Does not depend on the input.
    Fixed(Expr),
    Normal(Normal),
}

/// Carries the law of `input` (white, standard normal) through expressions.
pub struct Moments {
    input: Expr,
    laws: HashMap<Expr, Option<Law>>,
    linear: HashMap<Expr, Option<Law>>,
    varying: HashMap<Expr, bool>,
    pub assumptions: Vec<String>,
}

impl Moments {
    pub fn new(input: Expr) -> Self {
        Moments {
            input,
            laws: HashMap::new(),
            linear: HashMap::new(),
            varying: HashMap::new(),
            assumptions: vec![],
        }
    }

    /// The expectation of a closed network, its data replaced by their expectations; `None` where that needs more
    /// than laws of single entries.
    pub fn of_network(&mut self, graph: &mut Graph, network: &Term) -> Option<Expr> {
        let mut expected = network.clone();
        expected.factors.clear();
        let mut groups: Vec<Factor> = Vec::new();
        // The widest first, so that what varies along fewer axes joins them.
        let mut factors: Vec<&Factor> = network.factors.iter().collect();
        factors.sort_by_key(|factor| std::cmp::Reverse(factor.at.len()));
        for factor in factors {
            if !self.varies(graph, factor.expr) {
                expected.factors.push(factor.clone());
                continue;
            }
            let nested = |group: &&mut Factor| within(&group.at, &factor.at) || within(&factor.at, &group.at);
            match groups.iter_mut().find(nested) {
                Some(group) => {
                    group.expr = graph.mul(&[group.expr, factor.expr]);
                    if group.at.len() < factor.at.len() {
                        group.at = factor.at.clone();
                    }
                }
                None => groups.push(factor.clone()),
            }
        }
        for group in groups {
            let expr = self.expectation(graph, group.expr)?;
            let axes = graph.axes_of(expr).to_vec();
            let at = group.at.into_iter().filter(|index| axes.contains(&index.0)).collect();
            expected.factors.push(Factor { expr, at });
        }
        let covered = self.inner_windows(graph, &mut expected);
        // Axes along which the expectation is constant are still summed over.
        let lost: Vec<_> = network
            .variables()
            .into_iter()
            .filter(|v| !expected.variables().contains(v) && !covered.contains(v))
            .collect();
        for var in lost {
            expected.coefficient *= graph.axes.extent(network.axes[var.0]) as f64;
        }
        Some(expected.normalize(graph).contract(graph, &[]))
    }

    /// Takes out the windows onto an axis along which nothing else varies: each of their positions sees one entry of
    /// it, the padding left out. Gives the variables of those axes.
    fn inner_windows(&mut self, graph: &Graph, network: &mut Term) -> Vec<Var> {
        let mut covered = Vec::new();
        while let Some((place, var)) = lonely_window(graph, network) {
            if let Node::Window(window) = graph.node(network.factors[place].expr) {
                self.leave_out_padding(graph, window);
            }
            network.factors.remove(place);
            covered.push(var);
        }
        covered
    }

    fn leave_out_padding(&mut self, graph: &Graph, window: &Window) {
        if !window.is_inside(&graph.axes) {
            self.assume("padding is left out: every window lies inside its input");
        }
    }

    /// Whether a value depends on the input; what lies before the input is not looked at.
    fn varies(&mut self, graph: &Graph, expr: Expr) -> bool {
        if let Some(&known) = self.varying.get(&expr) {
            return known;
        }
        let args = graph.node(expr).args();
        let varies = expr == self.input || args.into_iter().any(|arg| self.varies(graph, arg));
        self.varying.insert(expr, varies);
        varies
    }

    fn law(&mut self, graph: &mut Graph, expr: Expr) -> Option<Law> {
        if let Some(known) = self.laws.get(&expr) {
            return *known;
        }
        // What turns out to be asked about itself has no law.
        self.laws.insert(expr, None);
        let law = self.find_law(graph, expr);
        self.laws.insert(expr, law);
        law
    }

    fn find_law(&mut self, graph: &mut Graph, expr: Expr) -> Option<Law> {
        if expr == self.input {
            let (mean, deviation) = (graph.number(0.0), graph.number(1.0));
            return Some(Law::Normal(Normal { mean, deviation, source: expr }));
        }
        if !self.varies(graph, expr) {
            return Some(Law::Fixed(expr));
        }
        match graph.node(expr).clone() {
            Node::Add(terms) => self.sum_law(graph, expr, &terms),
            Node::Mul(factors) => self.product_law(graph, expr, &factors),
            Node::Reduce(_, _, arg) if has_choice(graph, arg) => None,
            Node::ArgMax(..) => None,
            Node::Reduce(how, over, arg) => self.reduced_law(graph, how, &over, arg),
            node @ Node::Contract { left, right, .. } => match Windowed::of(graph, &node) {
                Some(windowed) if windowed.unfolds() => self.unfolded_law(graph, windowed),
                _ => self.contracted_law(graph, expr, left, right, &contracted_axes(&node)),
            },
            Node::Rename(arg, pairs) => self.mapped(graph, arg, &|graph, value| {
                let has: Vec<_> =
                    pairs.iter().copied().filter(|p| graph.axes_of(value).contains(&p.0)).collect();
                if has.is_empty() { value } else { graph.rename(value, &has) }
            }),
            Node::Reshape { arg, from, to } => self.mapped(graph, arg, &|graph, value| {
                let spread = graph.spread(value, &from);
                graph.reshape(spread, &from, &to)
            }),
            Node::Spread(arg, _) => self.law(graph, arg),
            _ => self.nonlinear_law(graph, expr),
        }
    }

    fn mapped(
        &mut self,
        graph: &mut Graph,
        arg: Expr,
        map: &dyn Fn(&mut Graph, Expr) -> Expr,
    ) -> Option<Law> {
        Some(match self.law(graph, arg)? {
            Law::Fixed(value) => Law::Fixed(map(graph, value)),
            Law::Normal(normal) => Law::Normal(Normal {
                mean: map(graph, normal.mean),
                deviation: map(graph, normal.deviation),
                source: normal.source,
            }),
        })
    }

    /// An entry of a patch has the law of the entry that it is.
    fn unfolded_law(&mut self, graph: &mut Graph, windowed: Windowed) -> Option<Law> {
        let Windowed { window, arg, .. } = windowed;
        self.leave_out_padding(graph, &window);
        self.mapped(graph, arg, &|graph, value| {
            let varies = graph.axes_of(value).contains(&window.axis);
            if varies { graph.unfold(value, window.clone()) } else { value }
        })
    }

    /// Deviations of one source add, variances of different ones.
    fn sum_law(&mut self, graph: &mut Graph, expr: Expr, terms: &[Expr]) -> Option<Law> {
        let mut means = Vec::new();
        let mut by_source: Vec<(Expr, Vec<Expr>)> = Vec::new();
        let guarded = terms.iter().any(|&term| is_mean_square(graph, term));
        for &term in terms {
            if guarded && is_guard(graph, term) {
                self.assume("ε = 0: what keeps a division by a deviation finite is left out");
                continue;
            }
            match self.law(graph, term)? {
                Law::Fixed(value) => means.push(value),
                Law::Normal(normal) => {
                    means.push(normal.mean);
                    match by_source.iter_mut().find(|entry| entry.0 == normal.source) {
                        Some(entry) => entry.1.push(normal.deviation),
                        None => by_source.push((normal.source, vec![normal.deviation])),
                    }
                }
            }
        }
        let mean = graph.add(&means);
        let deviations: Vec<Expr> = by_source.iter().map(|entry| graph.add(&entry.1)).collect();
        Some(match (&by_source[..], &deviations[..]) {
            ([], _) => Law::Fixed(mean),
            ([(source, _)], [deviation]) => {
                Law::Normal(Normal { mean, deviation: *deviation, source: *source })
            }
            _ => {
                self.assume("the branches that a block adds are independent");
                let squares: Vec<Expr> =
                    deviations.iter().map(|&deviation| graph.square(deviation)).collect();
                let variance = graph.add(&squares);
                Law::Normal(Normal { mean, deviation: graph.sqrt(variance), source: expr })
            }
        })
    }

    fn product_law(&mut self, graph: &mut Graph, expr: Expr, factors: &[Expr]) -> Option<Law> {
        let mut fixed = Vec::new();
        let mut normals = Vec::new();
        for &factor in factors {
            match self.law(graph, factor)? {
                Law::Fixed(value) => fixed.push(value),
                Law::Normal(normal) => normals.push(normal),
            }
        }
        let scale = graph.mul(&fixed);
        match normals[..] {
            [] => Some(Law::Fixed(scale)),
            [normal] => Some(Law::Normal(Normal {
                mean: graph.mul(&[scale, normal.mean]),
                deviation: graph.mul(&[scale, normal.deviation]),
                source: normal.source,
            })),
            _ => self.nonlinear_law(graph, expr),
        }
    }

    /// Statistics over many entries are taken at their expectations.
    fn reduced_law(&mut self, graph: &mut Graph, how: Reduction, over: &[Axis], arg: Expr) -> Option<Law> {
        self.assume("statistics over many entries are at their expectations");
        let expected = match (how, self.law(graph, arg)) {
            (Reduction::Max, Some(Law::Normal(normal))) => normal.mean,
            _ => self.expectation(graph, arg)?,
        };
        let axes: Vec<Axis> =
            over.iter().copied().filter(|axis| graph.axes_of(expected).contains(axis)).collect();
        let rest = graph.axes.size(over) / graph.axes.size(&axes);
        let reduced = graph.reduce(how, &axes, expected);
        let scale = graph.number(if how == Reduction::Sum { rest as f64 } else { 1.0 });
        Some(Law::Fixed(graph.mul(&[scale, reduced])))
    }

    /// Σ W·y of independent entries: mean Σ W·mean, variance Σ W²·variance.
    fn contracted_law(
        &mut self,
        graph: &mut Graph,
        expr: Expr,
        left: Expr,
        right: Expr,
        over: &[Axis],
    ) -> Option<Law> {
        let (weight, normal) = match (self.law(graph, left)?, self.law(graph, right)?) {
            (Law::Fixed(weight), Law::Normal(normal)) | (Law::Normal(normal), Law::Fixed(weight)) => {
                (weight, normal)
            }
            (Law::Fixed(a), Law::Fixed(b)) => return Some(Law::Fixed(contract_over(graph, a, b, over))),
            _ => return None,
        };
        let mean = contract_over(graph, weight, normal.mean, over);
        let (square, variance) = (graph.square(weight), graph.square(normal.deviation));
        let variance = contract_over(graph, square, variance, over);
        Some(Law::Normal(Normal { mean, deviation: graph.sqrt(variance), source: expr }))
    }

    fn nonlinear_law(&mut self, graph: &mut Graph, expr: Expr) -> Option<Law> {
        let source = self.source_of(graph, expr)?;
        let Some(source) = source else { return self.fixed_value(graph, expr).map(Law::Fixed) };
        let mean = self.expectation(graph, expr)?;
        let square = graph.square(expr);
        let second = self.expectation(graph, square)?;
        let first = graph.square(mean);
        let variance = graph.sub(second, first);
        let _ = source;
        Some(Law::Normal(Normal { mean, deviation: graph.sqrt(variance), source: expr }))
    }

    /// E expr, over the axes without the batch.
    fn expectation(&mut self, graph: &mut Graph, expr: Expr) -> Option<Expr> {
        if let Some((share, rest)) = self.choices_at_expectation(graph, expr) {
            let rest = self.expectation(graph, rest)?;
            return Some(graph.mul(&[share, rest]));
        }
        if let Some((shares, rest)) = self.shares_at_expectation(graph, expr) {
            let rest = self.expectation(graph, rest)?;
            return Some(graph.mul(&[shares, rest]));
        }
        if let Some((base, 2.0)) = numeric_power(graph, expr)
            && let Some(Law::Normal(normal)) = self.linear_law(graph, base)
        {
            let (mean, deviation) = (graph.square(normal.mean), graph.square(normal.deviation));
            return Some(graph.add(&[mean, deviation]));
        }
        if let Some(law) = self.linear_law(graph, expr) {
            return Some(match law {
                Law::Fixed(value) => value,
                Law::Normal(normal) => normal.mean,
            });
        }
        if let Some(product) = self.separated(graph, expr) {
            return product;
        }
        match self.source_of(graph, expr)? {
            None => self.fixed_value(graph, expr),
            Some(_) => {
                self.assume("pre-activations are normal, one law per channel (quadrature)");
                Some(self.quadrature(graph, expr))
            }
        }
    }

    /// Choices of the largest, each taken as one over the number of candidates; and the rest of the product.
    fn choices_at_expectation(&mut self, graph: &mut Graph, expr: Expr) -> Option<(Expr, Expr)> {
        let factors = match graph.node(expr) {
            Node::Mul(factors) => factors.clone(),
            _ => vec![expr],
        };
        let candidates = |&factor: &Expr| match graph.node(factor) {
            Node::ArgMax(over, _) => Some(graph.axes.size(over) as f64),
            _ => None,
        };
        let (chosen, rest): (Vec<Expr>, Vec<Expr>) =
            factors.into_iter().partition(|factor| candidates(factor).is_some());
        if chosen.is_empty() {
            return None;
        }
        let share: f64 = chosen.iter().filter_map(candidates).map(|count| 1.0 / count).product();
        self.assume("each entry of a window is equally often the largest, whatever the slopes");
        Some((graph.number(share), graph.mul(&rest)))
    }

    /// Shares of a sum, e/Σ_S e, taken as 1/|S|; and the rest of the product.
    fn shares_at_expectation(&mut self, graph: &mut Graph, expr: Expr) -> Option<(Expr, Expr)> {
        let factors = match graph.node(expr) {
            Node::Mul(factors) => factors.clone(),
            _ => vec![expr],
        };
        let factors: Vec<Expr> = factors.into_iter().flat_map(|f| opened_share(graph, f)).collect();
        for (i, &factor) in factors.iter().enumerate() {
            let (value, times) = power_of(graph, factor);
            for (j, &under) in factors.iter().enumerate() {
                let (base, power) = power_of(graph, under);
                let Node::Reduce(_, over, _) = graph.node(base).clone() else { continue };
                if i == j || power != -times || normalized_by(graph, value, base) != Some(Normalized::Share) {
                    continue;
                }
                self.assume("the shares of a sum are equal (all classes equally probable)");
                let rest: Vec<Expr> =
                    (0..factors.len()).filter(|k| *k != i && *k != j).map(|k| factors[k]).collect();
                let share = graph.number((graph.axes.size(&over) as f64).powf(-times));
                return Some((share, graph.mul(&rest)));
            }
        }
        None
    }

    /// A product whose factors without randomness are taken out of the expectation.
    fn separated(&mut self, graph: &mut Graph, expr: Expr) -> Option<Option<Expr>> {
        let Node::Mul(factors) = graph.node(expr).clone() else { return None };
        let mut fixed = Vec::new();
        let mut random = Vec::new();
        for factor in factors {
            match self.source_of(graph, factor)? {
                None => fixed.push(self.fixed_value(graph, factor)?),
                Some(_) => random.push(factor),
            }
        }
        if fixed.is_empty() {
            return None;
        }
        let product = graph.mul(&random);
        Some(self.expectation(graph, product).map(|expected| {
            fixed.push(expected);
            graph.mul(&fixed)
        }))
    }

    /// The law of what is linear in a normal value (nothing that needs quadrature).
    fn linear_law(&mut self, graph: &mut Graph, expr: Expr) -> Option<Law> {
        if let Some(known) = self.linear.get(&expr) {
            return *known;
        }
        let law = self.find_linear_law(graph, expr);
        self.linear.insert(expr, law);
        law
    }

    fn find_linear_law(&mut self, graph: &mut Graph, expr: Expr) -> Option<Law> {
        if expr == self.input {
            return self.law(graph, expr);
        }
        let elementwise = matches!(graph.node(expr), Node::Pow(..) | Node::Apply(..));
        let product_of_random = match graph.node(expr).clone() {
            Node::Mul(factors) => {
                factors
                    .iter()
                    .filter(|&&factor| !matches!(self.law(graph, factor), Some(Law::Fixed(_))))
                    .count()
                    > 1
            }
            _ => false,
        };
        if let Node::Mul(factors) = graph.node(expr).clone()
            && factors.iter().any(|&factor| self.is_nonlinear(graph, factor))
        {
            return None;
        }
        let shared_sum = self.is_sum_of_one_source(graph, expr);
        if product_of_random || shared_sum || (elementwise && self.varies(graph, expr)) {
            return None;
        }
        self.law(graph, expr)
    }

    /// Random, and not linear in a normal value.
    fn is_nonlinear(&mut self, graph: &mut Graph, expr: Expr) -> bool {
        let linear = !self.varies(graph, expr) || self.linear_law(graph, expr).is_some();
        !linear && self.source_of(graph, expr) != Some(None)
    }

    /// A sum with nonlinear terms of one and the same normal value: its terms are not independent.
    fn is_sum_of_one_source(&mut self, graph: &mut Graph, expr: Expr) -> bool {
        let Node::Add(terms) = graph.node(expr).clone() else { return false };
        let nonlinear =
            terms.iter().any(|&term| self.varies(graph, term) && self.linear_law(graph, term).is_none());
        if !nonlinear {
            return false;
        }
        let mut sources: Vec<Expr> = Vec::new();
        for leaf in terms.iter().flat_map(|&term| self.frontier(graph, term)).collect::<Vec<Expr>>() {
            match self.law(graph, leaf) {
                Some(Law::Normal(normal)) if !sources.contains(&normal.source) => sources.push(normal.source),
                _ => {}
            }
        }
        sources.len() == 1
    }

    /// The one source of randomness of an elementwise expression: `Some(None)` when there is none, `None` when there
    /// are several or the expression is not elementwise in known laws.
    fn source_of(&mut self, graph: &mut Graph, expr: Expr) -> Option<Option<Expr>> {
        let mut found = None;
        for leaf in self.frontier(graph, expr) {
            match self.law(graph, leaf)? {
                Law::Fixed(_) => {}
                Law::Normal(normal) if found.is_none_or(|source| source == normal.source) => {
                    found = Some(normal.source)
                }
                Law::Normal(_) => return None,
            }
        }
        Some(found)
    }

    /// The largest parts of an elementwise expression that are linear in normal values.
    fn frontier(&mut self, graph: &mut Graph, expr: Expr) -> Vec<Expr> {
        let inner = match graph.node(expr) {
            Node::Pow(..) | Node::Apply(..) | Node::Mul(_) | Node::Add(_) => {
                self.linear_law(graph, expr).is_none()
            }
            _ => false,
        };
        if !inner {
            return vec![expr];
        }
        let args = graph.node(expr).args();
        args.into_iter().flat_map(|arg| self.frontier(graph, arg)).collect()
    }

    fn fixed_value(&mut self, graph: &mut Graph, expr: Expr) -> Option<Expr> {
        let zero = graph.number(0.0);
        self.at_point(graph, expr, zero)
    }

    /// The elementwise expression with every normal value at mean + deviation·u.
    fn at_point(&mut self, graph: &mut Graph, expr: Expr, u: Expr) -> Option<Expr> {
        let leaves = self.frontier(graph, expr);
        if leaves == [expr] {
            return Some(match self.law(graph, expr)? {
                Law::Fixed(value) => value,
                Law::Normal(normal) => {
                    let moved = graph.mul(&[normal.deviation, u]);
                    graph.add(&[normal.mean, moved])
                }
            });
        }
        let node = graph.node(expr).clone();
        let mut args = Vec::new();
        for arg in node.args() {
            args.push(self.at_point(graph, arg, u)?);
        }
        Some(match node {
            Node::Add(_) => graph.add(&args),
            Node::Mul(_) => graph.mul(&args),
            Node::Pow(..) => graph.pow(args[0], args[1]),
            Node::Apply(function, _) => graph.apply(function.0, &args),
            _ => return None,
        })
    }

    /// The mean over the points, as one value that no rule opens and formulas show as an expectation.
    fn quadrature(&mut self, graph: &mut Graph, expr: Expr) -> Expr {
        let mut values = Vec::new();
        for &u in normal_points() {
            let u = graph.number(u);
            values.extend(self.at_point(graph, expr, u));
        }
        let total = graph.add(&values);
        let weight = graph.number(1.0 / values.len().max(1) as f64);
        let mean = graph.mul(&[weight, total]);
        let of = self.described(graph, expr);
        graph.seal(mean);
        graph.set_expectation(mean, of);
        mean
    }

    /// What is averaged, with the laws of its normal parts.
    fn described(&mut self, graph: &mut Graph, expr: Expr) -> Expectation {
        let mut normal: Vec<(Expr, Expr, Expr)> = Vec::new();
        for leaf in self.frontier(graph, expr) {
            if let Some(Law::Normal(law)) = self.law(graph, leaf)
                && !normal.iter().any(|known| known.0 == leaf)
            {
                normal.push((leaf, law.mean, law.deviation));
            }
        }
        Expectation { inside: expr, normal }
    }

    fn assume(&mut self, text: &str) {
        if !self.assumptions.iter().any(|known| known == text) {
            self.assumptions.push(text.into());
        }
    }
}

/// A window onto a variable that no other factor has, and that variable.
fn lonely_window(graph: &Graph, network: &Term) -> Option<(usize, Var)> {
    network.factors.iter().enumerate().find_map(|(place, factor)| {
        let Node::Window(window) = graph.node(factor.expr) else { return None };
        let var = index_of(&factor.at, window.axis)?;
        let elsewhere = network.factors.iter().filter(|other| other.has(var)).count() > 1
            || network.reshapes.iter().any(|(from, to)| from.contains(&var) || to.contains(&var));
        (!elsewhere).then_some((place, var))
    })
}

/// Whether the value is a product with a choice of the largest among its factors.
fn has_choice(graph: &Graph, expr: Expr) -> bool {
    let is_choice = |expr: &Expr| matches!(graph.node(*expr), Node::ArgMax(..));
    match graph.node(expr) {
        Node::Mul(factors) => factors.iter().any(is_choice),
        _ => is_choice(&expr),
    }
}

fn contracted_axes(node: &Node) -> Vec<Axis> {
    match node {
        Node::Contract { over, .. } => over.clone(),
        _ => vec![],
    }
}

/// Whether a term beside a mean square is there to keep a division by its root finite.
pub(super) fn is_guard(graph: &Graph, term: Expr) -> bool {
    graph.as_number(term).is_some_and(|number| number.abs() <= GUARD)
}

pub(super) fn is_mean_square(graph: &Graph, expr: Expr) -> bool {
    let Node::Reduce(Reduction::Mean, _, arg) = graph.node(expr) else { return false };
    numeric_power(graph, *arg).is_some_and(|(_, power)| power == 2.0)
}

/// Whether one tensor's variables are among another's, the sample among them: both may vary with the same data.
fn within(inner: &Indices, outer: &Indices) -> bool {
    inner.iter().any(|index| index.0 == BATCH) && inner.iter().all(|index| outer.contains(index))
}

/// A named quotient, or a power of one, as its factors.
fn opened_share(graph: &mut Graph, expr: Expr) -> Vec<Expr> {
    let (base, power) = power_of(graph, expr);
    let Node::Mul(factors) = graph.node(base).clone() else { return vec![expr] };
    factors.into_iter().map(|factor| graph.powf(factor, power)).collect()
}

fn numeric_power(graph: &Graph, expr: Expr) -> Option<(Expr, f64)> {
    match graph.node(expr) {
        Node::Pow(base, exponent) => Some((*base, graph.as_number(*exponent)?)),
        _ => None,
    }
}

/// Σ_over a·b where either may be constant along some of the axes.
fn contract_over(graph: &mut Graph, a: Expr, b: Expr, over: &[Axis]) -> Expr {
    let over: Vec<Axis> = over.iter().copied().filter(|&axis| axis != BATCH).collect();
    crate::sym::contraction::sum_product(graph, vec![a, b], &over)
}

/// The quantiles (k+½)/POINTS of the standard normal law, scaled so that their mean square is one.
fn normal_points() -> &'static [f64] {
    static KNOWN: std::sync::OnceLock<Vec<f64>> = std::sync::OnceLock::new();
    KNOWN.get_or_init(found_points)
}

fn found_points() -> Vec<f64> {
    let raw: Vec<f64> = (0..POINTS).map(|k| normal_quantile((k as f64 + 0.5) / POINTS as f64)).collect();
    let square = raw.iter().map(|u| u * u).sum::<f64>() / POINTS as f64;
    raw.into_iter().map(|u| u / square.sqrt()).collect()
}

/// Solves Φ(u) = p by bisection on the integral of the density (Simpson's rule on a fine grid).
fn normal_quantile(p: f64) -> f64 {
    let (mut low, mut high) = (-8.0, 8.0);
    for _ in 0..60 {
        let middle = 0.5 * (low + high);
        if normal_cdf(middle) < p { low = middle } else { high = middle }
    }
    0.5 * (low + high)
}

fn normal_cdf(u: f64) -> f64 {
    let steps = 200;
    let width = u / steps as f64;
    let density = |t: f64| (-0.5 * t * t).exp() / (2.0 * std::f64::consts::PI).sqrt();
    let simpson = |k: usize| {
        if k == 0 || k == steps {
            1.0
        } else if k % 2 == 1 {
            4.0
        } else {
            2.0
        }
    };
    0.5 + (0..=steps).map(|k| simpson(k) * density(k as f64 * width)).sum::<f64>() * width / 3.0
}
