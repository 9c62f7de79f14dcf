//! What `inspect` is made of: estimates against full spectra, the law of Marchenko and Pastur on random matrices, planted
//! shortcuts, and which matrices fall into blocks.

use blk_runtime::random::SplitMix64;
use blkc::driver::{FrontOptions, front};
use blkc::hessian::Form;
use blkc::hessian::program::derive;
use blkc::ir::Network;
use blkc::numeric::batch::Batch;
use blkc::numeric::eigen;
use blkc::numeric::inspect::marchenko::{self, Law};
use blkc::numeric::inspect::skip;
use blkc::numeric::inspect::{Options, Origin, Report, inspect};
use blkc::numeric::lanczos::{Effort, estimate};
use blkc::numeric::point::{Parameters, Point, initial_parameters};
use blkc::numeric::products::Products;
use blkc::numeric::spectrum::{Known, Spectrum};
use blkc::source::MemoryLoader;
use ndarray::{Array1, Array2};

fn network(source: &str, batch: usize) -> Network {
    let loader = MemoryLoader([("test.blk".to_string(), source.to_string())].into());
    let mut front = front("test.blk", &loader, &FrontOptions { batch: Some(batch), network: None });
    assert!(front.diagnostics.is_empty(), "{:?}", front.diagnostics);
    front.networks.remove(0)
}

fn point_at(network: &Network, change: impl FnOnce(&mut Parameters)) -> Point {
    let plan = derive(network);
    let mut parameters = initial_parameters(&plan, 1);
    change(&mut parameters);
    Point::new(network, plan, &parameters, 1, &Batch::standard_normal(network, 1))
}

fn report(network: &Network, options: &Options) -> Report {
    let origin = Origin { weights: "initial".into(), data: "random".into() };
    inspect(network, &mut point_at(network, |_| ()), origin, options).unwrap()
}

const NORMALIZED: &str = "network n(x: f32[10]) -> class[4] {
    x |> block a { dense(12) |> batch_norm |> tanh } |> block b { dense(9) |> batch_norm |> relu }
    |> block out { dense(4, bias = true) } |> cross_entropy
}";

/// The taps of a 1 × 1 kernel on a 1 × 1 image are neither rows nor columns of its matrix.
#[test]
fn kernels_on_single_pixels_are_matrices() {
    let network = network(
        "network n(x: f32[6, 1, 1]) -> f32[3] {
            x |> block a { conv(5, kernel = 1) } |> block out { flatten |> dense(3) } |> squared_error
        }",
        4,
    );
    let report = report(&network, &Options::new(&network));
    assert!(report.blocks[0].marchenko.is_some());
}

fn near(found: f64, expected: f64, tolerance: f64) -> bool {
    (found - expected).abs() <= tolerance
}

/// Every spectrum once in full and once from products alone.
#[test]
fn estimates_agree_with_full_spectra() {
    let network = network(NORMALIZED, 8);
    let full = report(&network, &Options::new(&network));
    let effort = Effort { probes: 16, least: 72, most: 72, ..Effort::default() };
    let estimated =
        report(&network, &Options { largest_block: 0, effort, seed: 3, ..Options::new(&network) });
    for (full, estimated) in full.blocks.iter().zip(&estimated.blocks) {
        for ((letter, full), (_, estimated)) in full.hessians().into_iter().zip(estimated.hessians()) {
            for form in [Form::GaussNewton, Form::Exact] {
                let (full, found) = (full.of(form).unwrap(), estimated.of(form).unwrap());
                estimate_agrees(&format!("{letter} {}", form.name()), full, found);
            }
        }
    }
}

fn estimate_agrees(what: &str, full: &Spectrum, found: &Spectrum) {
    let (Known::Full { eigenvalues, .. }, Known::Estimated { estimate, trace_is_exact }) =
        (&full.known, &found.known)
    else {
        panic!("{what}: {full:?} {found:?}");
    };
    let scale = full.max.abs().max(full.min.abs());
    for end in [estimate.max, estimate.min] {
        let nearest = eigenvalues.iter().map(|value| (value - end.value).abs()).fold(f64::INFINITY, f64::min);
        assert!(nearest <= end.error + 1e-12 * scale, "{what}: {end:?} is {nearest} off");
    }
    assert!(near(found.max, full.max, 1e-8 * scale), "{what}: {} {}", found.max, full.max);
    assert!(found.min >= full.min - 1e-12 * scale, "{what}");
    if *trace_is_exact {
        assert!(near(found.trace, full.trace, 1e-10 * scale * full.dim as f64), "{what}");
    }
    // Five standard errors of the mean over 16 probes.
    let slack = 5.0 * estimate.trace.error + 1e-10 * scale;
    assert!(near(estimate.trace.value, full.trace, slack), "{what}: {:?} {}", estimate.trace, full.trace);
    let mass: f64 = estimate.nodes.iter().map(|node| node.1).sum();
    assert!(near(mass, 1.0, 1e-10), "{what}: {mass}");
    // What cannot be told from zero counts as zero: an estimated rank errs to the low side.
    let (most, least) = (full.rank + 0.1 * full.dim as f64, 0.6 * full.rank);
    assert!((least..=most).contains(&found.rank), "{what}: {} {}", found.rank, full.rank);
}

/// A matrix with a known, partly negative spectrum.
#[test]
fn lanczos_finds_both_ends_of_an_indefinite_matrix() {
    let n = 300;
    let mut random = SplitMix64::new(4);
    let reflector = Array1::from_shape_fn(n, |_| random.gaussian());
    let reflector = &reflector / reflector.dot(&reflector).sqrt();
    let values =
        Array1::from_shape_fn(n, |i| if i == 0 { -3.0 } else { 1.0 + 4.0 * (i as f64 / n as f64).powi(8) });
    // H = Q diag(values) Q with the reflection Q = I − 2 r rᵀ.
    let reflect = |v: Array1<f64>| {
        let along = 2.0 * reflector.dot(&v);
        v - along * &reflector
    };
    let mut apply = |vectors: &Array2<f64>| {
        let mut images = vectors.clone();
        for mut row in images.rows_mut() {
            let image = reflect(reflect(row.to_owned()) * &values);
            row.assign(&image);
        }
        images
    };
    let found = estimate(n, &mut apply, 7, Effort { most: 120, ..Effort::default() });
    assert!(near(found.min.value, -3.0, 1e-8), "{:?}", found.min);
    assert!(near(found.max.value, values[n - 1], found.max.error + 1e-8), "{:?}", found.max);
    assert!(
        near(found.trace.value, values.sum(), 5.0 * found.trace.error),
        "{:?} {}",
        found.trace,
        values.sum()
    );
    assert_eq!(found, estimate(n, &mut apply, 7, Effort { most: 120, ..Effort::default() }));
}

#[test]
fn an_exhausted_krylov_space_ends_the_search() {
    let mut twice = |vectors: &Array2<f64>| vectors * 2.0;
    let found = estimate(50, &mut twice, 1, Effort::default());
    assert_eq!(found.steps, 1);
    assert!(near(found.max.value, 2.0, 1e-12) && near(found.min.value, 2.0, 1e-12) && found.max.error == 0.0);
}

#[test]
fn matrices_fall_into_the_blocks_that_their_structure_allows() {
    let network = network(NORMALIZED, 6);
    let mut point = point_at(&network, |_| ());
    let groups = |point: &mut Point, block: usize| {
        let input = [point.blocks[block].input];
        let (of_z, wrt) = (Products::local(point, block, &input, true), point.parameters_of(block));
        let of_w = Products::local(point, block, &wrt, true);
        (of_z.groups().count(), of_w.groups().count())
    };
    // Batch norm joins the samples and keeps the features of W apart; Hess(l) joins the classes.
    assert_eq!(groups(&mut point, 0), (1, 12));
    assert_eq!(groups(&mut point, 2), (6, 1));
    for block in 0..3 {
        let wrt = point.parameters_of(block);
        let products = Products::local(&mut point, block, &wrt, true);
        let blocks = products.blocks(&mut point);
        let jacobian = point.jacobians(block, &wrt);
        let whole = point.gauss_newton(block, &jacobian) + point.residual(block, &wrt);
        let scattered: f64 = blocks.iter().flatten().map(|entry| entry * entry).sum();
        let all: f64 = whole.iter().map(|entry| entry * entry).sum();
        assert!(near(scattered, all, 1e-10 * all), "block {block}: entries are lost");
    }
}

fn gaussian(rows: usize, columns: usize, seed: u64) -> Array2<f64> {
    let mut random = SplitMix64::new(seed);
    Array2::from_shape_fn((rows, columns), |_| 0.3 * random.gaussian())
}

/// The reference: MATH of the law at q = ¼ … 4, n = 200; a Kolmogorov–Smirnov distance of a few 1/n is all there is.
#[test]
fn random_matrices_follow_the_law() {
    for (rows, columns) in [(50, 200), (100, 200), (200, 200), (400, 200), (800, 200)] {
        let found = marchenko::compare("W", &gaussian(rows, columns, 9)).unwrap();
        assert_eq!((found.below, found.above), (0, 0), "{rows}×{columns}: {found:?}");
        assert!(
            found.distance < 4.0 / found.eigenvalues.len() as f64,
            "{rows}×{columns}: {}",
            found.distance
        );
        assert_eq!(found.eigenvalues.len(), rows.min(columns));
        let mean = found.eigenvalues.iter().sum::<f64>() / columns as f64;
        assert!(near(mean, found.law.variance * rows as f64, 1e-9 * mean), "the mean eigenvalue is σ² n_out");
    }
    let mut planted = gaussian(100, 200, 9);
    planted.row_mut(0).fill(3.0);
    let found = marchenko::compare("W", &planted).unwrap();
    assert_eq!(found.above, 1, "{found:?}");
    assert!(found.distance > 0.1, "{}", found.distance);
    assert!(marchenko::compare("W", &Array2::zeros((3, 4))).is_none());
}

#[test]
fn the_law_has_mass_one_between_its_edges() {
    for (outputs, inputs) in [(30, 100), (100, 100), (100, 30)] {
        let law = Law { outputs, inputs, variance: 0.5 };
        let (low, high) = law.edges();
        let step = (high - low) / 200_000.0;
        let mass: f64 = (0..200_000).map(|i| law.density(low + (f64::from(i) + 0.5) * step) * step).sum();
        assert!(near(mass, 1.0, 5e-3), "{outputs}×{inputs}: {mass}");
        let middle = 0.5 * (low + high);
        let below: f64 = (0..100_000).map(|i| law.density(low + (f64::from(i) + 0.5) * step) * step).sum();
        assert!(near(law.shares(&[middle])[0], below / mass, 5e-3), "{outputs}×{inputs}");
    }
}

const SHORTCUT: &str = "network n(x: f32[3]) -> class[3] {
    x |> block a { residual(dense(3)) } |> block out { dense(3, bias = true) } |> cross_entropy
}";

/// A branch with a planted Jacobian: the counterexample to the remark as printed, and one that fits the corrected one.
#[test]
fn planted_shortcuts_are_judged() {
    let network = network(SHORTCUT, 4);
    let judged = |diagonal: [f64; 3]| {
        let mut point = point_at(&network, |parameters| {
            let weight = network.params.iter().position(|param| param.name.starts_with("a.")).unwrap();
            let entries = (0..9).map(|i| if i % 4 == 0 { diagonal[i / 4] } else { 0.0 }).collect();
            parameters.insert(blkc::ir::ParamId(weight as u32), entries);
        });
        assert!(skip::inspect(&mut point, 1).is_none(), "a dense block has no shortcut");
        let found = skip::inspect(&mut point, 0).unwrap();
        assert!(found.identity && found.per_sample && found.jacobians.len() == 4);
        found.jacobians[0]
    };
    let counterexample = judged([-0.89, 0.89, 0.70]);
    assert!(near(counterexample.branch, 0.89 / 0.70, 1e-12) && near(counterexample.whole, 1.89 / 0.11, 1e-9));
    assert!(counterexample.printed() && !counterexample.corrected() && counterexample.contradicts());
    let good = judged([0.3, 0.1, 0.01]);
    assert!(good.corrected() && good.improves() && !good.contradicts());
    assert!(near(good.bound(), 1.3 / 0.7, 1e-12) && good.whole <= good.bound());
    let strong = judged([2.0, 0.5, 0.1]);
    assert!(!strong.printed() && !strong.corrected() && strong.bound().is_infinite());
}

#[test]
fn shortcuts_are_found_by_structure() {
    let shape = |body: &str| {
        let source = format!(
            "network n(x: f32[4]) -> class[3] {{ x |> block a {{ {body} }} |> block out {{ dense(3) }} |> cross_entropy }}"
        );
        let network = network(&source, 5);
        skip::inspect(&mut point_at(&network, |_| ()), 0).map(|skip| (skip.identity, skip.per_sample))
    };
    assert_eq!(shape("residual(dense(4) |> relu |> dense(4))"), Some((true, true)));
    assert_eq!(shape("residual(dense(4) |> batch_norm) |> relu"), Some((true, false)));
    assert_eq!(shape("residual(dense(6) |> tanh |> dense(2), shortcut = dense(2))"), Some((false, true)));
    for plain in
        ["dense(4, bias = true)", "dense(4) |> batch_norm |> relu", "layer_norm", "tanh", "dense(4) |> gelu"]
    {
        assert_eq!(shape(plain), None, "{plain}");
    }
}

/// Exact identities of the whole network's Gauss–Newton blocks hold to rounding; the heuristic at b = B as well.
#[test]
fn identities_of_the_global_matrix_hold() {
    let network = network(NORMALIZED, 8);
    let report = report(&network, &Options::new(&network));
    for block in &report.blocks {
        let global = block.global.as_ref().unwrap();
        let exact = global.identities.unwrap();
        assert!(exact.spectra_differ < 1e-10, "{}: {exact:?}", block.name);
        let sum = exact.product + exact.correlation;
        assert!(near(sum, exact.below, 1e-12 * exact.below.abs()), "{}: {exact:?}", block.name);
    }
    let last = report.blocks.last().unwrap();
    let head = last.global.as_ref().unwrap();
    assert!(near(head.mean, head.heuristic, 1e-10 * head.mean));
    let local = last.of_weights.of(Form::GaussNewton).unwrap();
    assert!(near(head.spectrum.max, local.max, 1e-10 * local.max), "G_B is H_W of the last block");
}

#[test]
fn singular_values_are_roots_of_eigenvalues() {
    let matrix = gaussian(12, 7, 2);
    let values = eigen::eigenvalues(&matrix.t().dot(&matrix));
    let singular = eigen::singular_values(&matrix);
    for (value, singular) in values.iter().rev().zip(&singular) {
        assert!(near(*value, singular * singular, 1e-12));
    }
    let (values, vectors) = eigen::symmetric(&matrix.t().dot(&matrix));
    let back = vectors.dot(&Array2::from_diag(&Array1::from(values))).dot(&vectors.t());
    assert!((back - matrix.t().dot(&matrix)).iter().all(|entry| entry.abs() < 1e-12));
}
