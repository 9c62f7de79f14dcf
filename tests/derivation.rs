//! The derivation against arrays from automatic differentiation (tests/fixtures/oracle): gradients, traces of local
//! Hessians, scale factors, and the claim that back-propagation is a gradient step on the back-matching losses.

mod oracle;

use blkc::axes::BATCH;
use blkc::hessian::Form;
use blkc::hessian::explain::{Options, explain_block, text};
use blkc::hessian::factors::{Factors, factors};
use blkc::hessian::jacobian::{hessian, jacobian};
use blkc::hessian::trace::gauss_newton_trace;
use blkc::ir::ScaleMode;
use blkc::sym::Expr;
use blkc::sym::formula;
use blkc::sym::print::Printer;
use oracle::{Case, cases, close};

/// Gradients by the symbolic vector–Jacobian products, for every block boundary and parameter.
#[test]
fn gradients_match() {
    for mut case in cases() {
        for (expr, expected, what) in case.gradients() {
            let value = case.evaluate(expr);
            assert!(close(&value, &expected, 1e-9), "{}: {what}: {value:?} is not {expected:?}", case.name);
        }
    }
}

/// tr H_z and tr H_W of every block and parameter.
#[test]
fn traces_match() {
    for mut case in cases() {
        for block in case.blocks.clone() {
            let mut arguments = vec![(block.input, case.trace_z(block.index))];
            arguments
                .extend(block.params.iter().map(|(name, expr)| (*expr, case.trace_w(block.index, name))));
            for (wrt, expected) in arguments {
                let value = case.trace(&block, wrt);
                let tolerance = 1e-9 * case.largest_trace(block.index).max(1e-12);
                assert!(
                    (value - expected).abs() < tolerance,
                    "{} block {}: {value} is not {expected}",
                    case.name,
                    block.index
                );
            }
        }
    }
}

/// One gradient step on L_b = ½‖t − F_b‖² with t = z_b − ∂l/∂z_b is one step of back-propagation.
#[test]
fn back_propagation_descends_the_back_matching_losses() {
    for mut case in cases() {
        for block in case.blocks.clone() {
            if block.index == case.blocks.len() {
                continue;
            }
            for (wrt, expected) in case.local_gradients(&block) {
                let value = case.evaluate(wrt);
                assert!(close(&value, &expected, 1e-9), "{} block {}", case.name, block.index);
            }
        }
    }
}

/// Five steps of scale-amended SGD with the factors of `mode` end where the reference ends.
fn run_scale_amended(mode: ScaleMode, name: &str) {
    let mut ran = 0;
    for mut case in cases().into_iter().filter(|case| case.has_optimizer(name)) {
        ran += 1;
        let lr = case.learning_rate;
        let blocks = case.block_exprs();
        let derived: Vec<Factors> =
            blocks.iter().map(|block| factors(&mut case.graph, block, mode)).collect();
        for step in 1..=5 {
            case.load_batch(step);
            let mut m = 1.0;
            let mut updates = Vec::new();
            for (block, factor) in blocks.iter().zip(&derived).rev() {
                for (param, &m_w) in block.params.iter().zip(&factor.m_w) {
                    let amended = if param.role == "weight" { m * case.number(m_w) } else { 1.0 };
                    updates.push((
                        param.name.clone(),
                        param.value,
                        case.evaluate(param.gradient),
                        lr / amended,
                    ));
                }
                m *= case.number(factor.m_z);
            }
            for (name, value, gradient, rate) in updates {
                case.step(&name, value, &gradient, rate);
            }
            for (param, expected) in case.optimizer_state(name, step) {
                let value = case.param_value(&param);
                assert!(close(&value, &expected, 1e-8), "{} {name} step {step}: {param}", case.name);
            }
        }
    }
    assert_eq!(ran, 3, "every optimizer case carries {name}");
}

#[test]
fn scale_amended_paper_matches() {
    run_scale_amended(ScaleMode::Paper, "scale_amended_poster");
}

#[test]
fn scale_amended_trace_matches() {
    run_scale_amended(ScaleMode::Trace, "scale_amended_trace");
}

impl Case {
    fn trace(&mut self, block: &oracle::Block, wrt: Expr) -> f64 {
        let operator = jacobian(&mut self.graph, block.output, wrt).expect("few terms");
        let curvature = (block.index == self.blocks.len())
            .then(|| hessian(&mut self.graph, self.loss, block.output).expect("few terms"));
        let trace = gauss_newton_trace(&mut self.graph, &operator, curvature.as_ref());
        self.number(trace)
    }

    /// ∂L_b/∂z_{b−1} and ∂L_b/∂W_b of the back-matching loss with its constant target, and what they should be.
    fn local_gradients(&mut self, block: &oracle::Block) -> Vec<(Expr, Vec<f64>)> {
        let gradient = self.constant_like(block.output, "gz", block.index);
        let output = self.evaluate(block.output);
        let current = self.constant(block.output, output);
        let graph = &mut self.graph;
        let target = graph.sub(current, gradient);
        let miss = graph.sub(target, block.output);
        let square = graph.square(miss);
        let axes = graph.axes_of(square).to_vec();
        assert!(axes.contains(&BATCH));
        let sum = graph.sum(&axes, square);
        let half = graph.number(0.5);
        let loss = graph.mul(&[half, sum]);
        let one = graph.number(1.0);
        let mut wrt = vec![block.input];
        wrt.extend(block.params.iter().map(|param| param.1));
        let found = graph.vjp(&[(loss, one)], &wrt);
        let mut expected = vec![self.array("gz", block.index - 1)];
        expected.extend(block.params.iter().map(|(name, _)| self.gradient(name)));
        wrt.iter().map(|expr| found[expr]).zip(expected).collect()
    }
}

/// The explanation of one block, with the parameters' short names.
fn explained(name: &str, index: usize, options: &Options) -> String {
    let mut case = cases().into_iter().find(|case| case.name == name).unwrap();
    let mut block = case.block_exprs().swap_remove(index);
    for param in &mut block.params {
        param.name = param.name.rsplit('.').next().unwrap().to_string();
    }
    text::block(&explain_block(&mut case.graph, &block, options))
}

fn has(text: &str, label: &str, formula: &str) {
    let found = text.lines().any(|line| line.trim().starts_with(label) && line.trim().ends_with(formula));
    assert!(found, "no line `{label} … {formula}` in\n{text}");
}

#[test]
fn dense_has_the_textbook_hessians() {
    let text = explained("dense", 0, &Options::default());
    has(&text, "H_z", " Wᵀ W");
    has(&text, "H_W", " I ⊗ Σⱼ zⱼ zⱼᵀ");
}

#[test]
fn batch_norm_becomes_a_projector_from_its_formula_alone() {
    let text = explained("dense_bn_affine", 0, &Options::default());
    has(&text, "J_z", "= diag(γ/s) P W δz");
    has(&text, "where", "P = Id − Avg − diag(x̂) Avg diag(x̂)");
}

#[test]
fn a_residual_block_adds_its_branch_to_the_identity() {
    let text = explained("residual_mlp", 0, &Options::default());
    has(&text, "H_z", " (I + ∂φ)ᵀ (I + ∂φ)");
    has(&text, "where", "∂φ = W₂ diag(D) W₁");
}

#[test]
fn the_paper_mode_prints_the_papers_factors() {
    let options = Options { mode: ScaleMode::Paper, form: Form::Paper, ..Options::default() };
    let text = explained("dense_bn", 0, &options);
    assert!(text.contains("‖Wᵀ‖²₂,μ/‖W‖²₂,μ"), "{text}");
    assert!(text.contains("1/‖W‖²₂,μ"), "{text}");
    // Σᵢ wᵢ wᵢᵀ/Varᵢ, and Σⱼ zⱼ zⱼᵀ/(m·Varᵢ) for each row: no mask, no γ, no ε, no projector.
    assert!(text.contains("H_z      Wᵀ diag(1/meanⱼ((aⱼ − meanⱼ(aⱼ))²)) W "), "{text}");
    assert!(text.contains("H_W      (1/m) Σⱼ "), "{text}");
}

#[test]
fn cross_entropy_curves_by_its_probabilities() {
    let text = explained("dense", 1, &Options::default());
    has(&text, "Hess(l)", "(1/6) (diag(p) − p pᵀ)");
}

/// `measured` drops terms of order 1/M; on these tiny batches it still stays within a factor of two of the trace.
#[test]
fn measured_factors_are_near_the_trace() {
    for mut case in cases() {
        for block in case.block_exprs() {
            let exact = factors(&mut case.graph, &block, ScaleMode::Trace);
            let near = factors(&mut case.graph, &block, ScaleMode::Measured);
            let ratio = case.number(near.m_z) / case.number(exact.m_z);
            assert!((0.5..2.0).contains(&ratio), "{} {}: {ratio}", case.name, block.name);
        }
    }
}

/// `analytic` reads no data where it says so, and every factor is a finite positive number.
#[test]
fn analytic_factors_read_the_weights_alone() {
    for mut case in cases() {
        for block in case.block_exprs() {
            let found = factors(&mut case.graph, &block, ScaleMode::Analytic);
            let measured = found.assumptions.iter().any(|text| text.contains("measured"));
            for factor in found.m_w.iter().chain([&found.m_z]) {
                let reads_data = !case.graph.between(&[*factor], &[block.input]).is_empty();
                let formula = formula::text::text(&Printer::new(&case.graph).formula(*factor));
                assert!(measured || !reads_data, "{} {}: {formula}", case.name, block.name);
                let value = case.number(*factor);
                assert!(value.is_finite() && value >= 0.0, "{} {}: {value}", case.name, block.name);
            }
        }
    }
}

/// What the closed forms of one block are made of.
struct Closed {
    case: Case,
    block: blkc::hessian::BlockExprs,
    /// Row i of W.
    rows: Vec<Vec<f64>>,
    gamma: Vec<f64>,
    /// The shift behind a normalization, or the bias.
    shift: Vec<f64>,
    /// Sample j of the input.
    samples: Vec<Vec<f64>>,
}

impl Closed {
    fn new(name: &str, index: usize) -> Closed {
        let mut case = cases().into_iter().find(|case| case.name == name).unwrap();
        let block = case.block_exprs().swap_remove(index);
        let value = |case: &mut Case, name: &str| {
            let param = block.params.iter().find(|param| param.name.ends_with(name));
            param.map(|param| case.evaluate(param.value))
        };
        let input = case.evaluate(block.input);
        let width = case.graph.axes.size(&case.graph.axes_of(block.input)[1..]);
        let weight = value(&mut case, ".W").unwrap();
        let rows: Vec<Vec<f64>> = weight.chunks(width).map(<[f64]>::to_vec).collect();
        let gamma = value(&mut case, ".gamma").unwrap_or_else(|| vec![1.0; rows.len()]);
        let shift = value(&mut case, ".beta").or_else(|| value(&mut case, ".b"));
        let shift = shift.unwrap_or_else(|| vec![0.0; rows.len()]);
        let samples = input.chunks(width).map(<[f64]>::to_vec).collect();
        Closed { case, block, rows, gamma, shift, samples }
    }

    /// (m_z, m_W of the weight)
    fn factors(&mut self, mode: ScaleMode) -> (f64, f64) {
        let found = factors(&mut self.case.graph, &self.block, mode);
        let place = self.block.params.iter().position(|param| param.role == "weight").unwrap();
        (self.case.number(found.m_z), self.case.number(found.m_w[place]))
    }

    fn norms(&self) -> Vec<f64> {
        self.rows.iter().map(|row| dot(row, row)).collect()
    }

    fn pre_activations(&self, i: usize) -> Vec<f64> {
        self.samples.iter().map(|sample| dot(sample, &self.rows[i])).collect()
    }
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(x, y)| x * y).sum()
}

fn mean(values: impl IntoIterator<Item = f64>) -> f64 {
    let values: Vec<f64> = values.into_iter().collect();
    values.iter().sum::<f64>() / values.len() as f64
}

/// E f(u) for a standard normal u, by the trapezoidal rule.
fn gaussian_mean(f: impl Fn(f64) -> f64) -> f64 {
    let points = (-8000..=8000).map(|k| f64::from(k) * 1e-3);
    points.map(|u| f(u) * (-0.5 * u * u).exp()).sum::<f64>() * 1e-3 / (2.0 * std::f64::consts::PI).sqrt()
}

#[track_caller]
fn near(value: f64, expected: f64, tolerance: f64) {
    assert!((value - expected).abs() <= tolerance * expected.abs(), "{value} is not {expected}");
}

/// m_z = ‖Wᵀ‖²₂,μ/‖W‖²₂,μ = n_out/n_in and m_W = n_out/‖W‖², whatever follows the weight.
#[test]
fn paper_factors_are_those_of_the_paper() {
    for (name, index) in
        [("dense", 0), ("dense_bn", 0), ("dense_bn_relu", 0), ("dense_tanh", 0), ("dense", 1)]
    {
        let mut closed = Closed::new(name, index);
        let (m_z, m_w) = closed.factors(ScaleMode::Paper);
        near(m_z, closed.rows.len() as f64 / closed.rows[0].len() as f64, 1e-12);
        near(m_w, closed.rows.len() as f64 / closed.norms().iter().sum::<f64>(), 1e-12);
    }
}

/// dense + batch norm + f: m_z = Σ γᵢ² Eᵢ/n_in, m_W = mean γᵢ² Eᵢ/‖wᵢ‖² with Eᵢ = E f′(γᵢ u + βᵢ)².
#[test]
fn analytic_factors_of_a_normalized_block() {
    // The slope of relu is a step, which sixteen points see to one part in thirty-two.
    let step: fn(f64) -> f64 = |y| f64::from(u8::from(y > 0.0));
    type SlopeSquared = fn(f64) -> f64;
    let cases: [(&str, SlopeSquared, f64); 3] =
        [("dense_bn", |_| 1.0, 1e-9), ("dense_bn_affine", |_| 1.0, 1e-9), ("dense_bn_relu", step, 0.07)];
    for (name, slope_squared, tolerance) in cases {
        let mut closed = Closed::new(name, 0);
        let parts: Vec<f64> = (closed.gamma.iter().zip(&closed.shift))
            .map(|(gamma, beta)| gamma * gamma * gaussian_mean(|u| slope_squared(gamma * u + beta)))
            .collect();
        let (m_z, m_w) = closed.factors(ScaleMode::Analytic);
        near(m_z, parts.iter().sum::<f64>() / closed.rows[0].len() as f64, tolerance);
        near(m_w, mean(parts.iter().zip(closed.norms()).map(|(part, norm)| part / norm)), tolerance);
    }
}

/// conv + batch norm + f (+ max pool): m_z = Σ γ_c² E_c · H'W'/(C_in H W) and m_W = H'W' · mean γ_c² E_c/‖w_c‖², both times
/// the fraction of positions that the pool selects, whatever the padding, stride and groups.
#[test]
fn analytic_factors_of_a_normalized_convolution() {
    // Whether there is a relu, the fraction of positions that is selected, and an ε that is no mere guard.
    let cases = [
        ("conv_bn", false, 1.0, 0.05),
        ("conv_bn_relu", true, 1.0, 0.0),
        ("conv_s2_bn_relu", true, 1.0, 0.1),
        ("conv_bn_relu_maxpool", true, 0.25, 0.0),
    ];
    for (name, active, selected, eps) in cases {
        let mut case = cases_named(name);
        let block = case.block_exprs().swap_remove(0);
        let value = |case: &Case, name: &str| {
            let param = block.params.iter().find(|param| param.name.ends_with(name));
            param.map(|param| case.evaluate(param.value))
        };
        let weight = value(&case, ".W").unwrap();
        let channels = case.graph.axes.extent(case.graph.axes_of(block.params[0].value)[0]);
        let gamma = value(&case, ".gamma").unwrap_or_else(|| vec![1.0; channels]);
        let beta = value(&case, ".beta").unwrap_or_else(|| vec![0.0; channels]);
        let norms: Vec<f64> = weight.chunks(weight.len() / gamma.len()).map(|row| dot(row, row)).collect();
        let slope = |y: f64| f64::from(u8::from(!active || y > 0.0));
        let part = |((gamma, beta), norm): ((&f64, &f64), &f64)| {
            let deviation = (norm / (norm + eps)).sqrt();
            gamma * gamma * gaussian_mean(|u| slope(gamma * deviation * u + beta))
        };
        let parts: Vec<f64> = gamma.iter().zip(&beta).zip(&norms).map(part).collect();
        let entries = |case: &Case, expr: Expr| case.evaluate(expr).len() as f64 / case.batch() as f64;
        let positions = entries(&case, block.output) / selected / gamma.len() as f64;
        let found = factors(&mut case.graph, &block, ScaleMode::Analytic);
        let tolerance = if active { 0.08 } else { 1e-9 };
        let kept: f64 = parts.iter().zip(&norms).map(|(part, norm)| part * norm / (norm + eps)).sum();
        let m_z = kept * positions * selected / entries(&case, block.input);
        near(case.number(found.m_z), m_z, tolerance);
        let place = block.params.iter().position(|param| param.role == "weight").unwrap();
        let m_w =
            positions * selected * mean(parts.iter().zip(&norms).map(|(part, norm)| part / (norm + eps)));
        near(case.number(found.m_w[place]), m_w, tolerance);
    }
}

fn cases_named(name: &str) -> Case {
    cases().into_iter().find(|case| case.name == name).unwrap()
}

/// A maximum keeps H'W'/(HW), a mean over k entries H'W'/(HW k).
#[test]
fn pools_have_the_factors_of_their_geometry() {
    let cases = [
        ("maxpool", 1.0),
        ("maxpool_overlap", 1.0),
        ("avgpool", 4.0),
        ("avgpool_overlap", 9.0),
        ("global_avgpool", 12.0),
    ];
    for (name, averaged) in cases {
        let mut case = cases_named(name);
        let block = case.block_exprs().swap_remove(0);
        let entries = |expr: Expr| case.evaluate(expr).len() as f64;
        let expected = entries(block.output) / entries(block.input) / averaged;
        for mode in [ScaleMode::Trace, ScaleMode::Measured, ScaleMode::Analytic, ScaleMode::Paper] {
            let factor = factors(&mut case.graph, &block, mode).m_z;
            near(case.number(factor), expected, 1e-12);
        }
    }
}

/// dense + f with a smooth f: m_z = Σ ‖wᵢ‖² Eᵢ/n_in, m_W = mean Eᵢ with Eᵢ = E f′(bᵢ + ‖wᵢ‖u)².
#[test]
fn analytic_factors_of_a_smooth_activation() {
    let mut closed = Closed::new("dense_tanh", 0);
    let slope = |(norm, bias): (&f64, &f64)| {
        gaussian_mean(|u| (1.0 - (bias + norm.sqrt() * u).tanh().powi(2)).powi(2))
    };
    let slopes: Vec<f64> = closed.norms().iter().zip(&closed.shift).map(slope).collect();
    let (m_z, m_w) = closed.factors(ScaleMode::Analytic);
    near(m_z, dot(&slopes, &closed.norms()) / closed.rows[0].len() as f64, 0.03);
    near(m_w, mean(slopes), 0.03);
}

/// dense + batch norm + f on the batch, without the terms in 1/M: m_z = Σ γᵢ²‖wᵢ‖²/sᵢ² · mean f′²/n_in.
#[test]
fn measured_factors_of_a_normalized_block() {
    for (name, active) in [("dense_bn_affine", false), ("dense_bn_relu", true)] {
        let mut closed = Closed::new(name, 0);
        let part = |i: usize| {
            let a = closed.pre_activations(i);
            let center = mean(a.iter().copied());
            let s = (mean(a.iter().map(|x| (x - center).powi(2))) + 1e-5).sqrt();
            let on = |x: &f64| !active || closed.gamma[i] * (x - center) / s + closed.shift[i] > 0.0;
            let fraction = mean(a.iter().map(|x| f64::from(u8::from(on(x)))));
            closed.gamma[i].powi(2) * closed.norms()[i] / (s * s) * fraction
        };
        let total: f64 = (0..closed.rows.len()).map(part).sum();
        let expected = total / closed.rows[0].len() as f64;
        near(closed.factors(ScaleMode::Measured).0, expected, 1e-9);
    }
}

/// The head through cross entropy: m_W = Σⱼ (1 − ‖pⱼ‖²)‖zⱼ‖²/(m n_in n_out); with equal shares (1 − 1/n)/n, times
/// ‖W‖²/n_in for m_z.
#[test]
fn factors_of_a_softmax_head() {
    let mut closed = Closed::new("dense", 1);
    let logits = closed.case.evaluate(closed.block.output);
    let (n_in, n) = (closed.rows[0].len() as f64, closed.rows.len() as f64);
    let part = |(row, sample): (&[f64], &Vec<f64>)| {
        let exps: Vec<f64> = row.iter().map(|logit| logit.exp()).collect();
        let total: f64 = exps.iter().sum();
        (1.0 - dot(&exps, &exps) / (total * total)) * dot(sample, sample)
    };
    let expected = mean(logits.chunks(closed.rows.len()).zip(&closed.samples).map(part)) / (n_in * n);
    for mode in [ScaleMode::Trace, ScaleMode::Measured] {
        near(closed.factors(mode).1, expected, 1e-9);
    }
    let (m_z, m_w) = closed.factors(ScaleMode::Analytic);
    let curvature = (1.0 - 1.0 / n) / n;
    near(m_z, curvature * closed.norms().iter().sum::<f64>() / n_in, 1e-9);
    near(m_w, curvature, 1e-9);
}

/// A trace of a positive semidefinite matrix is not negative, nor is what a mode puts in its place.
#[test]
fn factors_are_not_negative() {
    for mut case in cases() {
        for block in case.block_exprs() {
            for mode in ScaleMode::ALL {
                let found = factors(&mut case.graph, &block, mode);
                for factor in found.m_w.iter().chain([&found.m_z]) {
                    let value = case.number(*factor);
                    assert!(value >= 0.0, "{} {} {}: {value}", case.name, block.name, mode.name());
                }
            }
        }
    }
}
