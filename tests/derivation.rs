//! The derivation against arrays from automatic differentiation (tests/fixtures/oracle): gradients, traces of local
//! Hessians, scale factors, and the claim that back-propagation is a gradient step on the back-matching losses.

mod oracle;

use blkc::axes::BATCH;
use blkc::hessian::explain::{Form, Options, block_text};
use blkc::hessian::factors::{Factors, factors};
use blkc::hessian::jacobian::{hessian, jacobian};
use blkc::hessian::trace::gauss_newton_trace;
use blkc::ir::ScaleMode;
use blkc::sym::Expr;
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
    assert_eq!(ran, 2, "both optimizer cases carry {name}");
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
    block_text(&mut case.graph, &block, options)
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
    assert!(text.contains("Σᵢ wᵢ wᵢᵀ/Varᵢ"), "{text}");
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
                let formula = Printer::new(&case.graph).formula(*factor);
                assert!(measured || !reads_data, "{} {}: {formula}", case.name, block.name);
                let value = case.number(*factor);
                assert!(value.is_finite() && value >= 0.0, "{} {}: {value}", case.name, block.name);
            }
        }
    }
}
