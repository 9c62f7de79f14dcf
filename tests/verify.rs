//! `numeric::verify`: it passes on what is right, and each planted mistake is found, by block and formula.

use std::path::Path;

use blkc::axes::AxisTable;
use blkc::driver::{FrontOptions, front};
use blkc::hessian::exact::Cotangent;
use blkc::hessian::factors::Factors;
use blkc::hessian::jacobian::TooManyTerms;
use blkc::hessian::program::derive;
use blkc::hessian::{BlockExprs, Plan};
use blkc::intrinsics::{Attrs, Intrinsic, Problem, ShapeError, Signature, Tensor, scalar_by_name};
use blkc::ir::{Network, Op, ParamId, Type};
use blkc::numeric::verify::{
    BlockReport, Check, Derivation, Formula, Options, Report, generic_parameters, random_batch, verify,
};
use blkc::source::{DiskLoader, MemoryLoader};
use blkc::sym::operator::Operator;
use blkc::sym::{Expr, Function, Graph};
use ndarray::ArrayD;

fn network(text: &str, batch: usize) -> Network {
    let loader = MemoryLoader([("case.blk".to_string(), text.to_string())].into());
    let front = front("case.blk", &loader, &FrontOptions { batch: Some(batch), network: None });
    assert!(front.diagnostics.is_empty(), "{:#?}\n{text}", front.diagnostics);
    front.networks.into_iter().next().expect("a network")
}

fn verified(network: &Network, seed: u64) -> Report {
    let plan = derive(network);
    let (parameters, batch) = (generic_parameters(&plan, seed), random_batch(network, seed));
    let options = Options { seed, ..Options::default() };
    verify(network, &plan, &parameters, &batch, options).expect("finite")
}

fn good(network: &Network, report: &Report) {
    let bad = report.failures().chain(report.undecided());
    let bad: Vec<String> = bad.map(|(block, check)| format!("{}: {check:?}", block.name)).collect();
    assert!(bad.is_empty(), "{}: {bad:#?}", network.name);
}

/// Every third fixture, so that three tests share the work.
fn fixtures(third: usize) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/oracle");
    let paths = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut paths: Vec<_> = paths.filter(|path| path.extension().is_some_and(|e| e == "blk")).collect();
    paths.sort();
    assert!(paths.len() >= 20, "the fixtures are there");
    for path in paths.into_iter().skip(third).step_by(3) {
        let text = std::fs::read_to_string(&path).expect("a program");
        let image = text.contains("conv(") || text.contains("pool");
        let options = FrontOptions { batch: Some(if image { 2 } else { 4 }), network: None };
        let network = front(path.to_str().unwrap(), &DiskLoader, &options).networks.remove(0);
        let report = verified(&network, 3);
        println!("{path:?}: {:.2e} {:?}", report.worst(), report.notes);
        good(&network, &report);
    }
}

#[test]
fn a_third_of_the_fixtures_verifies() {
    fixtures(0);
}

#[test]
fn the_second_third_of_the_fixtures_verifies() {
    fixtures(1);
}

#[test]
fn the_last_third_of_the_fixtures_verifies() {
    fixtures(2);
}

/// Everything that the library has, kinks, draws, held values and statistics, and ops that are the user's own.
const PROGRAMS: [(&str, &str); 6] = [
    (
        "all activations",
        "network net(x: f32[4]) -> class[3] { x |> block a { dense(5, bias = true) |> gelu |> bias |> silu }
            |> block b { dense(4) |> softplus |> layer_norm(eps = 0.01) |> sigmoid }
            |> block c { leaky_relu(slope = 0.2) |> dense(4) |> relu } |> block out { dense(3) } |> cross_entropy }",
    ),
    (
        "dropout",
        "network net(x: f32[6]) -> f32[3] { x |> block a { dense(6) |> dropout(p = 0.3) |> tanh |> dropout }
            |> block out { dense(3, bias = true) } |> squared_error }",
    ),
    (
        "held values and comparisons",
        "op gate()(x: [n]) { let size = stop(norm(x))
    x * where(x > 0.1, 1, 0.3) / (1 + size) + min(abs(x), 0.7) * sin(x) }
network net(x: f32[5]) -> class[4] { x |> block a { dense(5) |> gate } |> block out { dense(4) } |> cross_entropy }",
    ),
    (
        "attention to one axis",
        "op soft()(x: [n]) { let e = exp(x - max(x))
    e / sum(e) }
op own(s: float = 2)(x: [n]) { param a: [n] ~ ones as scale
    let m = mean(x^2)
    a * x^3 / sqrt(m + s) + log1p(exp(a)) * cos(x) }
network net(x: f32[5]) -> f32[5] { x |> block a { dense(5) |> own } |> block b { own(s = 1) |> soft } |> squared_error }",
    ),
    (
        "residual with normalization",
        "network net(x: f32[4]) -> class[3] { x
            |> block a { residual(dense(6) |> batch_norm |> relu |> dense(4)) }
            |> block b { residual(dense(5) |> batch_norm(affine = false) |> tanh, shortcut = dense(5)) }
            |> block out { dense(3, bias = true) } |> cross_entropy }",
    ),
    (
        "wide",
        "network net(x: f32[30]) -> class[10] { x |> block a { dense(40) |> batch_norm |> relu }
            |> block out { dense(10, bias = true) } |> cross_entropy }",
    ),
];

#[test]
fn programs_verify() {
    for (name, text) in PROGRAMS {
        let network = network(text, 4);
        let report = verified(&network, 2);
        println!("{name}: largest error {:.1e} {:?}", report.worst(), report.notes);
        good(&network, &report);
    }
}

/// Zero weights put every unit on its kink, where the derivative is a matter of convention: the point is moved, and
/// the report says so.
#[test]
fn a_point_on_a_kink_is_moved() {
    let text = "network net(x: f32[3]) -> f32[2] { x |> block a { dense(3) |> relu } |> block out { dense(2) } |> squared_error }";
    let network = network(text, 3);
    let plan = derive(&network);
    let mut parameters = generic_parameters(&plan, 1);
    let batch = random_batch(&network, 1);
    parameters.get_mut(&ParamId(0)).expect("W").fill(0.0);
    let report = verify(&network, &plan, &parameters, &batch, Options::default()).expect("finite");
    good(&network, &report);
    assert!(report.notes[0].contains("the point was moved by 1e-3"), "{:?}", report.notes);
}

/// The square of a maximum over equal entries (those that dropout has made zero) has one slope and two curvatures: that is not
/// decided, and no mistake of the formulas.
#[test]
fn a_curvature_that_jumps_at_the_point_is_no_failure() {
    let text = "op peaks()(x: [h, w]) = x / (1 + max(x, over = [w])^2)\n\
        network net(x: f32[3, 3]) -> f32[2] { x |> block below { tanh |> dropout(0.6) } \
        |> block squared { peaks } |> block out { flatten |> dense(2) } |> squared_error }";
    let network = network(text, 4);
    let mut undecided = 0;
    for seed in 1..=6 {
        let report = verified(&network, seed);
        let failures: Vec<_> = report.failures().map(|(block, check)| (&block.name, check)).collect();
        assert!(failures.is_empty(), "seed {seed}: {failures:#?}");
        undecided += report.undecided().filter(|(block, _)| block.name == "squared").count();
    }
    assert!(undecided > 0);
}

#[test]
fn a_network_that_is_not_finite_is_refused() {
    let text = "op bad()(x) = log(x - 1000)
network net(x: f32[3]) -> f32[2] { x |> block a { dense(2) |> bad } |> squared_error }";
    let network = network(text, 3);
    let plan = derive(&network);
    let (parameters, batch) = (generic_parameters(&plan, 1), random_batch(&network, 1));
    let refused = verify(&network, &plan, &parameters, &batch, Options::default());
    assert_eq!(refused.unwrap_err(), "a is not finite at this point");
}

type OnOperator = fn(&mut Graph, &BlockExprs, Expr, &mut Operator);

/// The compiler's derivation with one mistake.
struct Mistaken {
    plan: Plan,
    jacobian: Option<OnOperator>,
    loss_hessian: Option<fn(&mut Operator)>,
    residual: Option<fn(&mut Operator, bool)>,
    factors: Option<fn(&mut Graph, &mut Factors)>,
}

impl Mistaken {
    fn new(plan: Plan) -> Mistaken {
        Mistaken { plan, jacobian: None, loss_hessian: None, residual: None, factors: None }
    }
}

impl Derivation for Mistaken {
    fn plan(&self) -> &Plan {
        &self.plan
    }

    fn jacobian(&self, graph: &mut Graph, block: &BlockExprs, wrt: Expr) -> Result<Operator, TooManyTerms> {
        let mut operator = self.plan.jacobian(graph, block, wrt)?;
        if let Some(change) = self.jacobian {
            change(graph, block, wrt, &mut operator);
        }
        Ok(operator)
    }

    fn loss_hessian(&self, graph: &mut Graph, block: &BlockExprs) -> Result<Operator, TooManyTerms> {
        let mut operator = self.plan.loss_hessian(graph, block)?;
        if let Some(change) = self.loss_hessian {
            change(&mut operator);
        }
        Ok(operator)
    }

    fn residual(
        &self,
        graph: &mut Graph,
        block: &BlockExprs,
        g: &Cotangent,
        (row, column): (Expr, Expr),
    ) -> Result<Operator, TooManyTerms> {
        let mut operator = self.plan.residual(graph, block, g, (row, column))?;
        if let Some(change) = self.residual {
            change(&mut operator, row == column);
        }
        Ok(operator)
    }

    fn factors(&self, graph: &mut Graph, block: &BlockExprs) -> Factors {
        let mut factors = self.plan.factors(graph, block);
        if let Some(change) = self.factors {
            change(graph, &mut factors);
        }
        factors
    }
}

const NET: &str = "network net(x: f32[4]) -> class[3] {
    x |> block norm { dense(4) |> batch_norm(eps = 0.1) } |> block two { dense(4) |> tanh |> dense(4) }
      |> block out { dense(3, bias = true) } |> cross_entropy }";

/// What a mistake makes fail: (block, formula, with respect to what).
fn failures(network: &Network, derivation: &dyn Derivation) -> Vec<(String, Formula, String)> {
    let plan = derive(network);
    let (parameters, batch) = (generic_parameters(&plan, 1), random_batch(network, 1));
    let report = verify(network, derivation, &parameters, &batch, Options::default()).expect("finite");
    let named = |(block, check): (&BlockReport, &Check)| {
        let worst = check.worst.as_ref().expect("a place");
        assert!((worst.derived - worst.differences).abs() > 0.0 && !worst.place.is_empty());
        println!(
            "  {} {:?} by {}: {:.1e} at {}",
            block.name,
            check.formula,
            check.wrt,
            check.error.unwrap(),
            worst.place
        );
        (block.name.clone(), check.formula, check.wrt.clone())
    };
    report.failures().map(named).collect()
}

fn caught(failures: &[(String, Formula, String)], block: &str, formula: Formula, wrt: &str) {
    let found = failures.iter().any(|(b, f, w)| (&b[..], *f, &w[..]) == (block, formula, wrt));
    assert!(found, "{block}, {formula:?} by {wrt} is not among {failures:?}");
}

fn planted(change: impl FnOnce(&mut Mistaken)) -> Vec<(String, Formula, String)> {
    let network = network(NET, 4);
    let mut mistaken = Mistaken::new(derive(&network));
    change(&mut mistaken);
    failures(&network, &mistaken)
}

#[test]
fn without_a_mistake_nothing_fails() {
    assert_eq!(planted(|_| ()), vec![]);
}

#[test]
fn a_wrong_coefficient_is_caught() {
    let found = planted(|m| m.jacobian = Some(|_, _, _, jacobian| jacobian.terms[0].coefficient *= 1.0001));
    caught(&found, "norm", Formula::Jacobian, "z");
    caught(&found, "out", Formula::Jacobian, "W");
    caught(&found, "two", Formula::GaussNewton, "z");
}

#[test]
fn a_dropped_term_is_caught() {
    let found = planted(|m| {
        m.jacobian = Some(|_, _, _, jacobian| {
            if jacobian.terms.len() > 2 {
                jacobian.terms.pop();
            }
        })
    });
    caught(&found, "norm", Formula::Jacobian, "z");
    assert!(found.iter().all(|failure| failure.0 == "norm"), "{found:?}");
}

#[test]
fn a_transposed_factor_is_caught() {
    let found = planted(|m| {
        m.jacobian = Some(|graph, block, wrt, jacobian| {
            let square = block.params.iter().map(|param| param.value).find(|&value| {
                graph.axes_of(value).len() == 2 && graph.axes.size(graph.axes_of(value)) == 16
            });
            let factors = jacobian.terms.iter_mut().flat_map(|term| &mut term.factors);
            for factor in factors.filter(|factor| wrt == block.input && Some(factor.expr) == square) {
                let first = factor.at[0].1;
                factor.at[0].1 = factor.at[1].1;
                factor.at[1].1 = first;
            }
        })
    });
    caught(&found, "norm", Formula::Jacobian, "z");
    caught(&found, "two", Formula::Jacobian, "z");
    assert!(found.iter().all(|failure| failure.0 != "out"), "{found:?}");
}

#[test]
fn a_residual_without_its_cross_block_is_caught() {
    let found = planted(|m| {
        m.residual = Some(|residual, diagonal| {
            if !diagonal {
                residual.terms.clear();
            }
        })
    });
    caught(&found, "two", Formula::Residual, "W₁, W₂");
    caught(&found, "two", Formula::Exact, "W₁, W₂");
    assert!(found.iter().all(|failure| failure.2.contains(',')), "{found:?}");
}

#[test]
fn a_residual_of_the_wrong_sign_is_caught() {
    let flip: fn(&mut Operator, bool) =
        |residual, _| residual.terms.iter_mut().for_each(|term| term.coefficient *= -1.0);
    let found = planted(|m| m.residual = Some(flip));
    caught(&found, "norm", Formula::Residual, "z");
    caught(&found, "norm", Formula::Residual, "W");
    caught(&found, "two", Formula::Exact, "W₁");
}

#[test]
fn a_loss_hessian_without_its_second_term_is_caught() {
    let found = planted(|m| m.loss_hessian = Some(|hessian| hessian.terms.truncate(1)));
    caught(&found, "out", Formula::LossHessian, "z_b");
    caught(&found, "out", Formula::GaussNewton, "z");
    assert!(found.iter().all(|failure| failure.0 == "out"), "{found:?}");
}

/// (1 − 1/m) in place of 1: what a paper's approximation amounts to.
#[test]
fn a_factor_off_by_a_sample_is_caught() {
    let found = planted(|m| {
        m.factors = Some(|graph, factors| {
            let share = graph.number(0.75);
            factors.m_z = graph.mul(&[share, factors.m_z]);
        })
    });
    caught(&found, "norm", Formula::Factor, "z");
    assert!(found.iter().all(|failure| (failure.1, &failure.2[..]) == (Formula::Factor, "z")), "{found:?}");
}

#[test]
fn a_gradient_that_is_not_the_loss_s_is_caught() {
    let found = planted(|m| {
        let factor = m.plan.graph.number(1.001);
        let bias = m.plan.blocks[2].params[1].gradient;
        m.plan.blocks[2].params[1].gradient = m.plan.graph.mul(&[factor, bias]);
    });
    assert_eq!(found, [("out".to_string(), Formula::Gradient, "b".to_string())]);
}

/// An intrinsic with another symbolic meaning than its reference.
struct Another {
    real: &'static dyn Intrinsic,
    express: fn(&mut Graph, Expr) -> Expr,
}

impl Intrinsic for Another {
    fn name(&self) -> &'static str {
        self.real.name()
    }
    fn signature(&self) -> Signature {
        self.real.signature()
    }
    fn infer(&self, axes: &mut AxisTable, args: &[Type], attrs: &Attrs) -> Result<Type, ShapeError> {
        self.real.infer(axes, args, attrs)
    }
    fn express(&self, graph: &mut Graph, args: &[Expr], types: &[Type], attrs: &Attrs, out: &Type) -> Expr {
        let value = self.real.express(graph, args, types, attrs, out);
        if self.real.scalar().is_some() {
            (self.express)(graph, args[0])
        } else {
            (self.express)(graph, value)
        }
    }
    fn reference(&self, axes: &AxisTable, args: &[&Tensor], attrs: &Attrs, out: &Type) -> ArrayD<f64> {
        self.real.reference(axes, args, attrs, out)
    }
    fn problems(&self) -> Vec<Problem> {
        vec![]
    }
}

/// tanh whose derivative is a `slope` of its value.
struct Planted {
    name: &'static str,
    slope: fn(&mut Graph, Expr) -> Expr,
}

impl Function for Planted {
    fn name(&self) -> &'static str {
        self.name
    }
    fn arity(&self) -> usize {
        1
    }
    fn eval(&self, args: &[f64]) -> f64 {
        args[0].tanh()
    }
    fn derivative(&self, graph: &mut Graph, _: usize, args: &[Expr]) -> Expr {
        let value = graph.apply(scalar_by_name("tanh").expect("tanh"), args);
        (self.slope)(graph, value)
    }
}

/// 1 − t in place of 1 − t².
static LINEAR: Planted = Planted {
    name: "linear slope",
    slope: |graph, value| {
        let one = graph.number(1.0);
        graph.sub(one, value)
    },
};

/// 1 − t², but held constant.
static FROZEN: Planted = Planted {
    name: "frozen slope",
    slope: |graph, value| {
        let (one, square) = (graph.number(1.0), graph.square(value));
        let slope = graph.sub(one, square);
        graph.apply(scalar_by_name("stop").expect("stop"), &[slope])
    },
};

/// The failures when `name` is derived with another meaning, on the network as it is.
fn with_another(name: &str, express: fn(&mut Graph, Expr) -> Expr) -> Vec<(String, Formula, String)> {
    let network = network(NET, 4);
    let mut wrong = network.clone();
    for node in &mut wrong.nodes {
        if let Op::Apply { intrinsic, .. } = &mut node.op
            && intrinsic.name() == name
        {
            *intrinsic = Box::leak(Box::new(Another { real: *intrinsic, express }));
        }
    }
    failures(&network, &derive(&wrong))
}

#[test]
fn a_wrong_derivative_of_an_intrinsic_is_caught() {
    let found = with_another("tanh", |graph, arg| graph.apply(&LINEAR, &[arg]));
    caught(&found, "two", Formula::Jacobian, "z");
    caught(&found, "two", Formula::Jacobian, "W₁");
    caught(&found, "two", Formula::Gradient, "W₁");
    assert!(!found.contains(&("two".into(), Formula::Jacobian, "W₂".into())), "{found:?}");
}

#[test]
fn a_wrong_second_derivative_alone_is_caught() {
    let found = with_another("tanh", |graph, arg| graph.apply(&FROZEN, &[arg]));
    caught(&found, "two", Formula::Residual, "z");
    caught(&found, "two", Formula::Residual, "W₁");
    let second = [Formula::Residual, Formula::Exact];
    assert!(found.iter().all(|failure| second.contains(&failure.1)), "{found:?}");
}

/// Case 3 of the paper as printed: mean and variance held constant.
#[test]
fn statistics_held_constant_are_caught() {
    let found =
        with_another("mean", |graph, value| graph.apply(scalar_by_name("stop").expect("stop"), &[value]));
    caught(&found, "norm", Formula::Jacobian, "z");
    caught(&found, "norm", Formula::Factor, "W");
    caught(&found, "norm", Formula::Gradient, "W");
}
