//! What `explain` says of a block's structure: found for the blocks that have it, also when they are written with a user's
//! own ops, and not found where it does not hold.

use blkc::driver::{FrontOptions, front};
use blkc::hessian::Form;
use blkc::hessian::explain::{self, Options};
use blkc::hessian::program::derive;
use blkc::source::MemoryLoader;

/// The notes of the first block, one per line.
fn notes(block: &str) -> String {
    page(block, &Options::default()).split("\n  notes").nth(1).unwrap_or("").to_string()
}

fn page(block: &str, options: &Options) -> String {
    let source = format!(
        "network n(x: f32[6]) -> class[3] {{
            x |> block under {{ dense(6) |> tanh }} |> block b {{ {block} }} |> block out {{ dense(3) }} |> cross_entropy
        }}"
    );
    let loader = MemoryLoader([("test.blk".to_string(), source)].into());
    let front = front("test.blk", &loader, &FrontOptions { batch: Some(8), ..FrontOptions::default() });
    assert!(front.diagnostics.is_empty(), "{:?}", front.diagnostics);
    let network = &front.networks[0];
    let options = Options { blocks: vec!["b".into()], ..options.clone() };
    let explained = explain::explain(network, &derive(network), &front.sources, &options).unwrap();
    explain::text::render(&explained)
}

fn says(block: &str, words: &[&str]) {
    let notes = notes(block);
    for word in words {
        assert!(notes.contains(word), "no `{word}` for {block}:\n{notes}");
    }
}

fn does_not_say(block: &str, words: &[&str]) {
    let notes = notes(block);
    for word in words {
        assert!(!notes.contains(word), "`{word}` for {block}:\n{notes}");
    }
}

#[test]
fn batch_statistics_make_shifts_and_scales_vanish() {
    let shift = "H_z vec(1 vᵀ) = 0";
    says(
        "dense(5) |> batch_norm |> relu",
        &[shift, "H_{W,i} wᵢ = 0 at ε = 0", "Remark 1", "Remark 2", "Case 3"],
    );
    says("batch_norm", &[shift, "H_z vec(z) = 0 at ε = 0"]);
    says("dense(5) |> batch_norm(eps = 0)", &["H_{W,i} wᵢ = 0:"]);
    says("dense(5, bias = true) |> batch_norm", &["J_b = 0"]);
    does_not_say("dense(5) |> relu", &[shift, "= 0", "Remark"]);
    does_not_say(
        "dense(5, bias = true) |> batch_norm",
        &["H_z vec(z) = 0 at ε = 0: F does not change with the scale of b"],
    );
    does_not_say("dense(5, bias = true) |> relu", &["J_b = 0"]);
}

#[test]
fn layer_statistics_make_shifts_of_a_sample_vanish() {
    says("layer_norm", &["H_z 1 = 0"]);
    says("dense(5) |> layer_norm", &["H_W vec(W) = 0 at ε = 0"]);
    does_not_say("dense(5) |> layer_norm", &["H_z 1 = 0", "H_z vec(1 vᵀ) = 0"]);
}

#[test]
fn the_narrowest_value_bounds_the_rank() {
    says(
        "dense(2) |> tanh |> dense(5)",
        &["rank H_z ≤ 2 per sample of 6: all goes through a value of 2 features"],
    );
    says("dense(4)", &["rank H_z ≤ 4 per sample of 6: all goes through the block's output", "Case 1"]);
    does_not_say("residual(dense(2) |> tanh |> dense(6))", &["rank H_z"]);
    does_not_say("dense(9)", &["rank H_z"]);
}

#[test]
fn a_skip_is_case_2() {
    says(
        "residual(dense(9) |> relu |> dense(6))",
        &["Case 2", "cond(I + ∂φ) ≤ (1 + σ)/(1 − σ)", "σ < s for s < ½"],
    );
    does_not_say("dense(6)", &["Case 2"]);
}

#[test]
fn the_softmax_head_does_not_see_a_constant() {
    let source = "network n(x: f32[6]) -> class[3] { x |> block out { dense(3) } |> cross_entropy }";
    let loader = MemoryLoader([("test.blk".to_string(), source.to_string())].into());
    let front = front("test.blk", &loader, &FrontOptions { batch: Some(8), ..FrontOptions::default() });
    let network = &front.networks[0];
    let explained = explain::explain(network, &derive(network), &front.sources, &Options::default()).unwrap();
    let text = explain::text::render(&explained);
    assert!(text.contains("Hess(l) 1 = 0 in every sample") && text.contains("rank Hess(l) ≤ 2"), "{text}");
}

/// The exact form of the blocks of the paper.
#[test]
fn the_exact_form_reads_as_one_writes_it() {
    let exact = Options { form: Form::Exact, ..Options::default() };
    let tanh = page("dense(5) |> tanh", &exact);
    assert!(tanh.contains("H_z + R_z = Wᵀ diag(D² − 2·h·D·g) W"), "{tanh}");
    assert!(tanh.contains("H_W + R_W = Σⱼ diag(Dⱼ² − 2·hⱼ·Dⱼ·gⱼ) ⊗ zⱼ zⱼᵀ"), "{tanh}");
    let relu = page("dense(5) |> relu", &exact);
    assert_eq!(relu.matches("0, F is piecewise affine in").count(), 2, "{relu}");
    let two = page("dense(4) |> relu |> dense(5)", &exact);
    assert!(two.contains("cross    (R_{W₁,W₂})ₕₖᵢₕ′ = Σⱼ zⱼₖ·Dⱼₕ·gⱼᵢ, for h = h′, else 0"), "{two}");
    insta::assert_snapshot!(
        "exact_normalized",
        page("dense(5) |> batch_norm", &exact).split("block b").nth(1).unwrap()
    );
}
