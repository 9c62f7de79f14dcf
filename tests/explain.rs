//! What `explain` prints: pages read by people, kept as snapshots; and that its factors are the ones training uses.
//!
//! A change of a page is reviewed as a page: `INSTA_UPDATE=always cargo test --test explain`, then read the difference.

use blkc::axes::BATCH;
use blkc::driver::{Front, FrontOptions, front};
use blkc::hessian::Form;
use blkc::hessian::explain::{self, Options, explain_block};
use blkc::hessian::factors::factors;
use blkc::hessian::program::derive;
use blkc::ir::ScaleMode;
use blkc::source::MemoryLoader;

fn program(source: &str) -> Front {
    let loader = MemoryLoader([("test.blk".to_string(), source.to_string())].into());
    let options = FrontOptions { batch: Some(16), ..FrontOptions::default() };
    let front = front("test.blk", &loader, &options);
    assert!(front.diagnostics.is_empty(), "{:?}", front.diagnostics);
    front
}

fn text(front: &Front, options: &Options) -> String {
    let network = &front.networks[0];
    let explanation = explain::explain(network, &derive(network), &front.sources, options).unwrap();
    explain::text::render(&explanation)
}

/// The page without the opening that all networks share.
fn page(source: &str, options: &Options) -> String {
    let front = program(source);
    let text = text(&front, options);
    let start = text.find("\nblock").unwrap();
    text[start..].to_string()
}

fn mode(mode: ScaleMode) -> Options {
    Options { mode, ..Options::default() }
}

const NORMALIZED: &str = "network n(x: f32[12]) -> class[4] {
    x |> block h { dense(8) |> batch_norm |> relu } |> block out { dense(4, bias = true) } |> cross_entropy
}";

/// The networks whose pages are snapshots.
const SOURCES: [(&str, &str); 6] = [
    ("normalized", NORMALIZED),
    ("linear", LINEAR),
    ("activations", ACTIVATIONS),
    ("residual", RESIDUAL),
    ("layer_norm", LAYER_NORM),
    ("own_activation", OWN_ACTIVATION),
];

#[test]
fn the_opening_states_the_objective_and_the_targets() {
    let front = program(NORMALIZED);
    let text = text(&front, &Options::default());
    insta::assert_snapshot!("opening", text.split("\nblock").next().unwrap());
}

#[test]
fn dense_batch_norm_relu_and_a_softmax_head() {
    for name in ScaleMode::ALL {
        insta::assert_snapshot!(format!("normalized_{}", name.name()), page(NORMALIZED, &mode(name)));
    }
}

#[test]
fn the_papers_form_with_its_steps() {
    let options = Options { mode: ScaleMode::Paper, form: Form::Paper, steps: true, ..Options::default() };
    insta::assert_snapshot!("paper_form", page(NORMALIZED, &options));
}

const LINEAR: &str = "network n(x: f32[6]) -> f32[3] {
        x |> block a { dense(5) } |> block b { dense(4, bias = true) } |> block c { dense(3) } |> squared_error
    }";

#[test]
fn a_linear_chain() {
    insta::assert_snapshot!("linear", page(LINEAR, &mode(ScaleMode::Measured)));
}

const ACTIVATIONS: &str = "network n(x: f32[6]) -> f32[3] {
        x |> block a { dense(5) |> tanh } |> block b { dense(5) |> softplus } |> block c { dense(5) |> silu }
          |> block d { dense(3) } |> squared_error
    }";

#[test]
fn smooth_activations() {
    for name in [ScaleMode::Measured, ScaleMode::Analytic] {
        insta::assert_snapshot!(format!("activations_{}", name.name()), page(ACTIVATIONS, &mode(name)));
    }
}

const RESIDUAL: &str = "network n(x: f32[6]) -> class[3] {
        x |> block same { residual(dense(9) |> relu |> dense(6)) }
          |> block projected { residual(dense(5) |> relu, shortcut = dense(5)) }
          |> block out { dense(3) } |> cross_entropy
    }";

#[test]
fn residual_blocks() {
    for name in [ScaleMode::Trace, ScaleMode::Analytic] {
        insta::assert_snapshot!(format!("residual_{}", name.name()), page(RESIDUAL, &mode(name)));
    }
}

const LAYER_NORM: &str = "network n(x: f32[6]) -> class[3] {
        x |> block a { dense(5) |> layer_norm |> gelu } |> block out { dense(3) } |> cross_entropy
    }";

#[test]
fn layer_norm() {
    insta::assert_snapshot!("layer_norm", page(LAYER_NORM, &mode(ScaleMode::Measured)));
}

const OWN: &str = "
op linear(n: int)(x: [d]) {
    param W: [n, d] ~ kaiming(fan_in = d) as weight
    W @ x
}
op whiten()(x: [c, ..]) {
    batch mu  = mean(x, over = [batch, ..]) running 0.1 from 0
    batch var = mean((x - mu)^2, over = [batch, ..]) running 0.1 from 1
    param gamma: [c] ~ ones  as scale
    param beta:  [c] ~ zeros as shift
    gamma * (x - mu) / sqrt(var + 1e-5) + beta
}
fn clipped(t) = max(t, 0)
network n(x: f32[12]) -> class[4] {
    x |> block h { linear(8) |> whiten |> clipped } |> block out { dense(4, bias = true) } |> cross_entropy
}";

/// A user's own ops that compute what the library's do are explained with the same words, in every mode.
#[test]
fn own_ops_are_explained_like_the_librarys() {
    for name in ScaleMode::ALL {
        let strip = |page: String| -> String {
            page.lines().filter(|line| !line.starts_with("  written")).collect::<Vec<&str>>().join("\n")
        };
        assert_eq!(strip(page(OWN, &mode(name))), strip(page(NORMALIZED, &mode(name))));
    }
}

const OWN_ACTIVATION: &str = "fn f(t) = t * tanh(t)
network n(x: f32[6]) -> f32[3] {
        x |> block a { dense(5) |> batch_norm |> f } |> block b { dense(3) } |> squared_error
    }";

#[test]
fn an_activation_of_ones_own() {
    insta::assert_snapshot!("own_activation", page(OWN_ACTIVATION, &mode(ScaleMode::Analytic)));
}

/// No formula shows an intrinsic's spelling, a name defined by itself, or a symbol without a meaning.
#[test]
fn pages_have_no_code_in_them() {
    for name in ScaleMode::ALL {
        let page = page(NORMALIZED, &mode(name));
        for code in ["where(", "gt(", "stop(", "batch", "NaN"] {
            // Notes are sentences.
            let formulas = page.split("\n\n").map(|block| block.split("\n  notes").next().unwrap_or(block));
            let page = formulas.collect::<Vec<&str>>().join("\n");
            let body: Vec<&str> =
                page.lines().filter(|l| !l.contains("written") && !l.contains("  if ")).collect();
            assert!(!body.join("\n").contains(code), "{code} in\n{page}");
        }
        for line in page.lines().filter_map(|line| line.split_once(" = ")) {
            assert_ne!(line.0.trim_start_matches("  where").trim(), line.1.trim(), "{page}");
        }
    }
}

/// The factors that are printed are the expressions that the training step writes: the same node of one graph.
#[test]
fn printed_factors_are_the_ones_that_train() {
    for name in ScaleMode::ALL {
        let train = format!(
            "{NORMALIZED}\ntrain n {{ optimizer = scale_amended(lr = 0.1, mode = {}, amend = all) }}",
            name.name()
        );
        let front = program(&train);
        let mut plan = derive(&front.networks[0]);
        let routine = plan.routines.iter().find(|routine| routine.name == "train").unwrap();
        let written: Vec<_> = routine.writes.iter().map(|write| (write.symbol, write.value)).collect();
        for (index, block) in plan.blocks.iter().enumerate() {
            let found = factors(&mut plan.graph, block, name);
            assert!(written.contains(&(plan.symbols.m_z[index], found.m_z)), "{} m_z", block.name);
            for (param, m_w) in block.params.iter().zip(found.m_w) {
                let symbol = plan.symbols.m_w[param.id.index()].unwrap();
                assert!(written.contains(&(symbol, m_w)), "{} m_{}", block.name, param.name);
            }
        }
    }
}

/// Equal blocks are explained once.
#[test]
fn equal_blocks_refer_to_the_first() {
    let source = "network n(x: f32[6]) -> class[6] {
        x |> for n in [6, 6, 6] { block h { dense(n) |> relu } } |> block out { dense(6) } |> cross_entropy
    }";
    let page = page(source, &mode(ScaleMode::Measured));
    assert_eq!(page.matches("  as block h[0]").count(), 2, "{page}");
}

/// A block of many layers is explained or told to be too large, and does not blow up.
#[test]
fn a_block_of_thirty_layers_stays_readable() {
    let layers = ["dense(6) |> tanh"; 30].join(" |> ");
    let source = format!(
        "network n(x: f32[6]) -> class[6] {{ x |> block deep {{ {layers} }} |> block out {{ dense(6) }} |> cross_entropy }}"
    );
    let page = page(&source, &mode(ScaleMode::Measured));
    assert!(page.len() < 100_000, "{} bytes", page.len());
    let front = program(&source);
    let mut plan = derive(&front.networks[0]);
    assert!(plan.graph.axes_of(plan.blocks[0].output).contains(&BATCH));
    let block = plan.blocks[0].clone();
    let explained = explain_block(&mut plan.graph, &block, &mode(ScaleMode::Paper));
    assert!(explain::text::block(&explained).contains("m_W₃₀"));
}

fn explained(source: &str, options: &Options) -> explain::Explanation {
    let front = program(source);
    let network = &front.networks[0];
    explain::explain(network, &derive(network), &front.sources, options).unwrap()
}

/// Everything at once: the exact form, steps, a mode with expectations.
fn full() -> Options {
    Options { mode: ScaleMode::Analytic, form: Form::Exact, steps: true, ..Options::default() }
}

#[test]
fn latex_is_reviewed_as_text() {
    insta::assert_snapshot!("latex", explain::latex::render(&explained(NORMALIZED, &full())));
}

/// Every document compiles, where there is a LaTeX.
#[test]
fn latex_compiles() {
    let installed = std::process::Command::new("pdflatex").arg("--version").output();
    if !installed.is_ok_and(|output| output.status.success()) {
        println!("SKIPPED: no pdflatex");
        return;
    }
    for (name, source) in SOURCES {
        for (form, mode) in [(Form::Exact, ScaleMode::Trace), (Form::Paper, ScaleMode::Paper)] {
            let options = Options { form, mode, ..full() };
            compile(name, &explain::latex::render(&explained(source, &options)));
        }
    }
}

fn compile(name: &str, document: &str) {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("page.tex"), document).unwrap();
    let run = std::process::Command::new("pdflatex")
        .args(["-interaction=nonstopmode", "-halt-on-error", "page.tex"])
        .current_dir(folder.path())
        .output()
        .unwrap();
    let log = String::from_utf8_lossy(&run.stdout);
    assert!(run.status.success(), "{name}: {log}");
    assert!(!log.contains("Missing character"), "{name}: {log}");
}

/// The page stands alone, and nesting is right: every element that is opened is closed in order.
#[test]
fn html_is_well_formed_and_needs_nothing_beside_it() {
    for (name, source) in SOURCES {
        let page = explain::html::render(&explained(source, &full()));
        for outside in ["http", "src=", "<link", "<script", "url("] {
            assert!(!page.contains(outside), "{name}: {outside}");
        }
        let mut open: Vec<&str> = Vec::new();
        for tag in page.split('<').skip(1).filter_map(|part| part.split_once('>')).map(|part| part.0) {
            let word = tag.split(' ').next().unwrap();
            match word.strip_prefix('/') {
                Some(closed) => assert_eq!(open.pop(), Some(closed), "{name}"),
                None if ["!DOCTYPE", "meta"].contains(&word) => {}
                None => open.push(word),
            }
        }
        assert!(open.is_empty(), "{name}: {open:?}");
    }
}

/// Text and HTML have the same rows in the same order.
#[test]
fn html_says_what_the_text_says() {
    let explained = explained(NORMALIZED, &full());
    let (text, html) = (explain::text::render(&explained), explain::html::render(&explained));
    let words =
        |line: &&str| line.contains("Remark") || line.contains("chain rule") || line.contains("quadrature");
    let wanted = text.lines().filter(words).count();
    assert!(wanted >= 8, "{text}");
    assert_eq!(html.lines().filter(words).count(), wanted);
    assert_eq!(html.matches("<section").count(), text.matches("\nblock ").count());
}

/// Blocks that compute the same are derived once, whatever they are called; others are not taken for them.
#[test]
fn blocks_alike_refer_to_the_first() {
    let source = |second: &str| {
        format!(
            "network n(x: f32[6]) -> class[6] {{
                x |> block a {{ dense(6) |> batch_norm |> relu }} |> block b {{ {second} }} |> block out {{ dense(6) }}
                  |> cross_entropy
            }}"
        )
    };
    let same = page(&source("dense(6) |> batch_norm |> relu"), &full());
    assert_eq!(same.matches("  as block a").count(), 1, "{same}");
    for other in ["dense(6) |> batch_norm(eps = 1e-4) |> relu", "dense(6) |> batch_norm", "dense(6) |> relu"]
    {
        assert!(!page(&source(other), &full()).contains("as block"), "{other}");
    }
}
