//! check, summary, explain, bench, new, completions, and what all verbs share.

use crate::user::{User, finish, keys};

const VERBS: [&str; 12] = [
    "new",
    "check",
    "summary",
    "explain",
    "inspect",
    "verify",
    "train",
    "predict",
    "plot",
    "build",
    "bench",
    "completions",
];

const TWO: &str = "\
network a(x: f32[2]) -> class[2] { x |> block o { dense(2) } |> cross_entropy }
network b(x: f32[3]) -> class[2] { x |> block o { dense(2) } |> cross_entropy }
train b { batch = 2, optimizer = sgd(lr = 0.1) }
";

#[test]
fn every_verb_has_an_example() {
    let user = User::new();
    for verb in VERBS {
        let help = user.blkc(&format!("{verb} --help")).good();
        let examples = help.stdout.split_once("Example").map_or("", |(_, examples)| examples);
        assert!(examples.contains(&format!("blkc {verb} ")), "{}", help.stdout);
    }
}

#[test]
fn wrong_usage_has_status_2() {
    let user = User::new();
    user.blkc("").refused(2, &["Usage"]);
    user.blkc("fly").refused(2, &["unrecognized subcommand 'fly'"]);
    user.blkc("check").refused(2, &["<FILE>"]);
    user.blkc("check net.blk --format yaml").refused(2, &["text", "json"]);
    user.blkc("train net.blk --batch 0").refused(2, &["--batch"]);
    user.blkc("train net.blk --target-cpu skylake").refused(2, &["unknown target `skylake`", "x86-64-v3"]);
    user.blkc("train net.blk --target-features avx2").refused(2, &["+feature"]);
    user.blkc("train net.blk --target-features +warp").refused(2, &["unknown feature `warp`"]);
}

#[test]
fn a_reader_that_goes_away_is_no_error_and_a_full_disk_is_one() {
    let user = User::new();
    let blkc = env!("CARGO_BIN_EXE_blkc");
    for verb in ["check", "summary", "explain"] {
        // The reader has ended before anything is written.
        let gone = format!("{{ {blkc} {verb} net.blk; echo $? >&2; }} | sleep 0");
        let result = finish(user.command("sh").args(["-c", &gone]));
        assert_eq!(result.stderr, "0\n", "{verb}");
        let full = format!("{blkc} {verb} net.blk > /dev/full");
        finish(user.command("sh").args(["-c", &full])).refused(1, &["cannot write to stdout"]);
    }
}

#[test]
fn check_counts_blocks_and_parameters() {
    let result = User::new().blkc("check net.blk").good();
    assert_eq!((result.stdout.as_str(), result.stderr.as_str()), ("small: 2 blocks, 42 parameters\n", ""));
}

#[test]
fn check_shows_the_loops_of_the_precision_asked_for() {
    let user = User::new();
    user.write(
        "wide.blk",
        "network a(x: f32[64]) -> class[2] { x |> block h { dense(128) |> relu } |> block o { dense(2) } |> cross_entropy }
train a { batch = 64, optimizer = sgd(lr = 0.1) }
",
    );
    let loops =
        |precision| user.blkc(&format!("check wide.blk --emit loops --precision {precision}")).good().stdout;
    assert!(loops("bf16").contains("bf16") && !loops("f32").contains("bf16"));
}

#[test]
fn check_reports_all_errors_on_stderr() {
    let user = User::new();
    user.write(
        "bad.blk",
        "network a(x: f32[2]) -> class[2] { x |> block o { denze(2) } |> cross_entropy }\nlos x\n",
    );
    user.blkc("check bad.blk").refused(1, &["bad.blk:1", "did you mean `dense`", "bad.blk:2"]);
    user.blkc("check absent.blk").refused(1, &["cannot read `absent.blk`"]);
}

#[test]
fn diagnostics_as_json_are_all_that_stdout_holds() {
    let user = User::new();
    assert_eq!(user.blkc("check net.blk --format json").good().json(), serde_json::json!([]));
    user.write(
        "bad.blk",
        "network a(x: f32[2]) -> class[2] { x |> block o { denze(2) } |> cross_entropy }\n",
    );
    let result = user.blkc("check bad.blk --format json");
    assert_eq!((result.status, result.stderr.as_str()), (Some(1), ""));
    let json = result.json();
    assert_eq!(keys(&json[0]), ["code", "help", "labels", "message", "severity"]);
    assert_eq!((&json[0]["labels"][0]["line"], &json[0]["severity"]), (&1.into(), &"error".into()));
}

#[test]
fn summary_counts_what_the_network_has() {
    let user = User::new();
    let json = user.blkc("summary net.blk --format json").good().json();
    for key in ["network", "blocks", "parameters", "flops_per_step", "peak_bytes"] {
        assert!(keys(&json).contains(&key), "{json}");
    }
    let hidden = &json["blocks"][0];
    let of_block =
        ["activation_bytes", "flops_backward", "flops_forward", "name", "output_shape", "parameters"];
    assert_eq!(keys(hidden), of_block);
    assert_eq!(
        hidden["parameters"][0],
        serde_json::json!({"name": "h.dense.W", "shape": [8, 2], "role": "weight"})
    );
    assert_eq!((&hidden["name"], &hidden["output_shape"]), (&"h".into(), &serde_json::json!([8])));
    // Two per multiply-add: 8 samples, 2 inputs, 8 outputs; backwards the weights alone, there is nothing below.
    assert_eq!((&hidden["flops_forward"], &hidden["flops_backward"]), (&256.into(), &256.into()));
    assert_eq!((&json["parameters"], &json["network"]), (&42.into(), &"small".into()));
    assert!(json["peak_bytes"].as_u64() > Some(0));
    let text = user.blkc("summary net.blk").good().stdout;
    assert!(text.starts_with("small · batch 8\n") && text.contains("42 parameters"), "{text}");
}

#[test]
fn summary_takes_another_batch() {
    let user = User::new();
    let flops = |options: &str| {
        let json = user.blkc(&format!("summary net.blk --format json {options}")).good().json();
        json["flops_per_step"].as_u64().expect("a number")
    };
    assert_eq!(flops("--batch 16"), 2 * flops(""));
}

#[test]
fn one_of_several_networks_is_chosen_by_name() {
    let user = User::new();
    user.write("two.blk", TWO);
    assert_eq!(user.blkc("check two.blk").good().stdout.lines().count(), 2);
    user.blkc("summary two.blk").refused(1, &["several networks: a, b", "--network a"]);
    user.blkc("summary two.blk --network c").refused(1, &["no network `c`"]);
    let chosen = user.blkc("summary two.blk --network b --format json").good().json();
    assert_eq!(chosen["parameters"], 6);
    user.blkc("train two.blk --network a").refused(1, &["no `train` item for `a`", "train a {"]);
}

#[test]
fn a_file_without_a_network_is_refused() {
    let user = User::new();
    user.write("empty.blk", "");
    user.blkc("summary empty.blk").refused(1, &["empty.blk holds no network"]);
}

#[test]
fn explain_shows_what_is_asked_for() {
    let user = User::new();
    let all = user.blkc("explain net.blk").good().stdout;
    assert!(
        ["Q(W, z, γ)", "block h ", "block out ", "  H_z ", "  m_W "].iter().all(|part| all.contains(part)),
        "{all}"
    );
    let one = user
        .blkc("explain net.blk --block out --wrt W --mode trace --form gauss-newton --steps")
        .good()
        .stdout;
    assert!(one.contains("block out ") && one.contains("  H_W "), "{one}");
    assert!(!one.contains("block h ") && !one.contains("  H_z "), "{one}");
    for mode in ["paper", "analytic", "measured", "trace"] {
        user.blkc(&format!("explain net.blk --mode {mode}")).good();
    }
    user.blkc("explain net.blk --form paper").good();
}

#[test]
fn explain_refuses_by_name() {
    let user = User::new();
    user.blkc("explain net.blk --block none").refused(1, &["no block `none`", "h, out"]);
    user.blkc("explain net.blk --wrt V").refused(1, &["no block has a parameter `V`"]);
    user.blkc("explain net.blk --mode best").refused(2, &["paper, analytic, measured, trace"]);
    user.blkc("explain net.blk --format pdf").refused(2, &["text, latex, json, html"]);
    user.blkc("explain net.blk --form all").refused(2, &["gauss-newton, exact, paper"]);
}

#[test]
fn explain_writes_every_format() {
    let user = User::new();
    let exact = user.blkc("explain net.blk --form exact").good().stdout;
    assert!(exact.contains("R_z"), "{exact}");
    let begins =
        [("latex", "\\documentclass"), ("html", "<!DOCTYPE html>"), ("json", "{"), ("text", "network ")];
    for (format, begin) in begins {
        let page =
            user.blkc(&format!("explain net.blk --form exact --steps --format {format}")).good().stdout;
        assert!(page.starts_with(begin), "{format}: {page}");
    }
}

#[test]
fn verify_compares_every_formula_of_every_block() {
    let user = User::new();
    let text = user.blkc("verify net.blk").good().stdout;
    for part in [
        "small · batch 4 · seed 1",
        "Jacobian",
        "Gauss-Newton",
        "second-order",
        "exact",
        "trace factor",
        "W, b",
        "formulas hold",
    ] {
        assert!(text.contains(part), "no `{part}` in {text}");
    }
    let json = user.blkc("verify net.blk --format json --batch 3 --seed 5").good().json();
    let expected = ["batch", "blocks", "data", "network", "notes", "passes", "seed", "tolerance", "weights"];
    assert_eq!(keys(&json), expected);
    assert_eq!(
        (&json["batch"], &json["passes"], &json["blocks"][1]["name"]),
        (&3.into(), &true.into(), &"out".into())
    );
    let check = &json["blocks"][0]["checks"][0];
    assert_eq!(keys(check), ["compared", "error", "formula", "passes", "sampled", "worst", "wrt"]);
    assert!(check["error"].as_f64().is_some_and(|error| error < 1e-6), "{check}");
}

/// A wave shorter than any step: the exit status and the report say that differences decide nothing.
#[test]
fn verify_says_what_it_cannot_decide() {
    let user = User::new();
    user.write(
        "wild.blk",
        "op wild()(x) = sin(100000000 * x)\nnetwork n(x: f32[2]) -> f32[2] { x |> block a { wild } |> squared_error }\n",
    );
    let result = user.blkc("verify wild.blk");
    assert_eq!(result.status, Some(1));
    for part in ["undecided", "UNDECIDED  block a, Jacobian by z", "another --seed", "formulas do not hold"] {
        assert!(result.stdout.contains(part), "no `{part}` in {}", result.stdout);
    }
    let json = user.blkc("verify wild.blk --format json");
    assert_eq!((json.status, &json.json()["passes"]), (Some(1), &false.into()));
}

#[test]
fn verify_takes_weights_and_data_and_refuses_what_does_not_fit() {
    let user = User::new();
    user.blkc("train net.blk --data csv:points.csv --epochs 1 --out run").good();
    let text = user.blkc("verify net.blk --weights run/last.safetensors --data csv:points.csv").good().stdout;
    assert!(text.contains("run/last.safetensors; the first 4 training samples of csv:points.csv"), "{text}");
    user.blkc("verify net.blk --weights none.safetensors").refused(1, &["cannot read none.safetensors"]);
    user.blkc("verify net.blk --data csv:none.csv").refused(1, &["none.csv"]);
    user.blkc("verify net.blk --input x.npy").refused(2, &["--target"]);
    user.blkc("verify net.blk --input x.npy --target y.npy").refused(1, &["cannot read x.npy"]);
    for tolerance in ["0", "1e-12", "2", "x"] {
        user.blkc(&format!("verify net.blk --tol {tolerance}")).refused(2, &["from 1e-9 to 1"]);
    }
    user.blkc("verify net.blk --network other").refused(1, &["no network `other`"]);
    user.write("log.blk", "op bad()(x) = log(x - 1000)\nnetwork n(x: f32[2]) -> f32[2] { x |> block a { bad } |> squared_error }\n");
    user.blkc("verify log.blk").refused(1, &["n: a is not finite at this point", "another --seed"]);
}

#[test]
fn bench_reports_as_the_documents_say() {
    let user = User::new();
    for features in ["", "--target-features -avx512f", "--target-cpu portable"] {
        let json =
            user.blkc(&format!("bench net.blk --steps 3 --threads 1 --format json {features}")).good().json();
        let mut expected = vec![
            "network",
            "batch",
            "precision",
            "kernels",
            "threads",
            "compile_ms",
            "ms_per_step",
            "ms_min",
            "ms_p95",
            "samples_per_s",
            "gflops",
            "peak_gflops",
            "share_of_peak",
            "peak_bytes",
            "blocks",
            "machine",
            "peaks",
            "bytes_moved",
            "other_ms",
        ];
        expected.sort_unstable();
        let mut found = keys(&json);
        // The machine's, where it tells them.
        found.retain(|key| !["warnings", "used_bytes"].contains(key));
        assert_eq!(found, expected);
        assert_eq!(
            (&json["network"], &json["batch"], &json["threads"]),
            (&"small".into(), &8.into(), &1.into())
        );
        let block = [
            "backward_gflops",
            "backward_ms",
            "bytes_moved",
            "forward_gflops",
            "forward_ms",
            "name",
            "update_ms",
        ];
        assert_eq!(keys(&json["blocks"][0]), block);
        let positive = |value: &serde_json::Value| value.as_f64().is_some_and(|number| number > 0.0);
        for peak in ["f32_gflops", "copy_gb_per_s", "read_gb_per_s"] {
            assert!(positive(&json["peaks"][peak]), "{json}");
        }
        // At least the input, and the weights twice.
        assert!(json["bytes_moved"].as_u64().is_some_and(|bytes| bytes > 8 * 2 * 4 + 2 * 16 * 4), "{json}");
    }
    let text = user.blkc("bench net.blk --steps 3 --threads 1").good().stdout;
    assert!(text.starts_with("small: batch 8, f32, 1 thread\n"), "{text}");
    user.blkc("bench net.blk --steps 0").refused(2, &["at least one"]);
}

#[test]
fn bench_compares_with_a_saved_run() {
    let user = User::new();
    let before = user.blkc("bench net.blk --steps 3 --threads 1 --format json").good();
    user.write("before.json", before.stdout);
    let same = user.blkc("bench net.blk --steps 3 --threads 1 --compare before.json").good().stdout;
    assert!(same.contains("compared with the saved run") && !same.contains("differs in"), "{same}");
    let command = "bench net.blk --steps 3 --threads 1 --batch 4 --compare before.json";
    let other = user.blkc(command).good().stdout;
    assert!(other.contains("differs in batch: 8 then, 4 now"), "{other}");
    let json = user.blkc(&format!("{command} --format json")).good().json();
    assert!(json["comparison"]["ms_per_step"].as_f64().is_some_and(|ratio| ratio > 0.0), "{json}");
    assert_eq!(
        json["comparison"]["blocks"].as_array().map(Vec::len),
        json["blocks"].as_array().map(Vec::len)
    );
    user.blkc("bench net.blk --compare none.json").refused(1, &["cannot read none.json"]);
    user.blkc("bench net.blk --compare net.blk").refused(1, &["not a report", "--format json"]);
}

#[test]
fn a_new_project_trains() {
    let user = User::new();
    let told = user.blkc("new first").good().stdout;
    assert!(told.contains("blkc train first/first.blk"), "{told}");
    let result = user.blkc("train first/first.blk --epochs 3").good();
    let accuracy = result.stdout.lines().last().and_then(|line| line.strip_prefix("test accuracy: "));
    assert!(accuracy.is_some_and(|accuracy| accuracy.parse::<f64>().unwrap() > 0.9), "{}", result.stdout);
    user.blkc("new first").refused(1, &["first exists already"]);
    for name in ["1st", "a/b", "..", "größe"] {
        user.blkc(&format!("new {name}")).refused(2, &[name, "letter first"]);
    }
}

#[test]
fn a_project_cannot_be_named_by_a_word_of_the_language() {
    let user = User::new();
    for name in ["block", "if"] {
        user.blkc(&format!("new {name}")).refused(2, &[name, "word of the language"]);
        assert!(!user.path(name).exists());
    }
}

#[test]
fn shells_get_completions() {
    let user = User::new();
    for (shell, part) in
        [("bash", "complete -F _blkc"), ("zsh", "#compdef blkc"), ("fish", "complete -c blkc")]
    {
        let script = user.blkc(&format!("completions {shell}")).good().stdout;
        assert!(script.contains(part) && VERBS.iter().all(|verb| script.contains(verb)), "{shell}");
    }
    user.blkc("completions klingon").refused(2, &["bash"]);
}
