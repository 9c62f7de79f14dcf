//! Precisions of training on real data: bf16 learns as f32 does, and f32 is f32 whichever way it takes.

use std::path::Path;
use std::process::Command;

use serde_json::Value;

/// Every kind of kernel: windows at borders and in steps of two, pools, a dense head.
const IMAGES: &str = "network net(x: f32[1, 8, 8]) -> class[10] {
    x
    |> block c1 { conv(16, kernel = 3, pad = 1) |> batch_norm |> relu }
    |> block c2 { conv(32, kernel = 3, pad = 1) |> batch_norm |> relu |> max_pool(2) }
    |> block c3 { conv(32, kernel = 3, stride = 2, pad = 1) |> batch_norm |> relu }
    |> block out { flatten |> dense(10, bias = true) }
    |> cross_entropy
}

train net {
    data      = digits()
    batch     = 64
    epochs    = 4
    optimizer = sgd(lr = 0.05, momentum = 0.9, weight_decay = 5e-4)
    schedule  = cosine(warmup = 1)
    seed      = 7
}
";

const VECTORS: &str = "network net(x: f32[64]) -> class[10] {
    x
    |> block h1 { dense(128) |> batch_norm |> relu }
    |> block h2 { dense(128) |> batch_norm |> relu |> dropout(0.1) }
    |> block out { dense(10, bias = true) }
    |> cross_entropy
}

train net {
    data      = digits()
    batch     = 64
    epochs    = 8
    optimizer = scale_amended(lr = 0.02, momentum = 0.9, weight_decay = 5e-4)
    schedule  = cosine(warmup = 1)
    seed      = 7
}
";

/// What a run recorded of itself, and its epochs.
struct Run {
    description: Value,
    epochs: Vec<Value>,
}

impl Run {
    fn numbers(&self, key: &str) -> Vec<f64> {
        self.epochs.iter().map(|epoch| epoch[key].as_f64().expect("a number")).collect()
    }
}

fn train(program: &str, options: &str) -> Run {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("net.blk");
    std::fs::write(&file, program).expect("the program");
    let run = folder.path().join("run");
    let output = Command::new(env!("CARGO_BIN_EXE_blkc"))
        .arg("train")
        .arg(&file)
        .args(options.split_whitespace())
        .arg("--out")
        .arg(&run)
        .output()
        .expect("it starts");
    assert!(output.status.success(), "{options}: {}", String::from_utf8_lossy(&output.stderr));
    read(&run)
}

fn read(run: &Path) -> Run {
    let text = |name: &str| std::fs::read_to_string(run.join(name)).expect("a file of the run");
    let parse = |line: &str| serde_json::from_str::<Value>(line).expect("JSON");
    let lines = text("metrics.jsonl");
    let epochs = lines.lines().map(parse).filter(|record| record.get("test_loss").is_some()).collect();
    Run { description: parse(&text("run.json")), epochs }
}

/// Losses differ by a few percent, as they do between two orders of summation some hundred steps apart, and never more
/// than a trained network's last digits.
fn learns_alike(what: &str, found: &Run, expected: &Run) {
    for key in ["loss", "test_loss"] {
        let (found, expected) = (found.numbers(key), expected.numbers(key));
        assert_eq!(found.len(), expected.len());
        for (epoch, (a, b)) in found.iter().zip(&expected).enumerate() {
            assert!((a - b).abs() <= 0.08 * b + 0.005, "{what}: {key} {a}, f32 {b} in epoch {}", epoch + 1);
        }
    }
    let accuracy = |run: &Run| run.numbers("test_accuracy").last().copied().expect("epochs");
    assert!((accuracy(found) - accuracy(expected)).abs() <= 0.01, "{what}");
}

#[test]
fn bf16_learns_as_f32_does() {
    for program in [VECTORS, IMAGES] {
        let f32 = train(program, "--precision f32_strict");
        assert!(f32.numbers("test_accuracy").last().is_some_and(|&accuracy| accuracy > 0.95));
        // As this machine does it, and with no instructions for bf16.
        for options in ["--precision bf16", "--precision bf16 --target-features -avx512bf16,-amx-tile"] {
            let bf16 = train(program, options);
            assert_eq!(bf16.description["precision"], "bf16");
            learns_alike(options, &bf16, &f32);
            assert_ne!(bf16.numbers("loss"), f32.numbers("loss"), "nothing is rounded");
        }
    }
}

#[test]
fn tiles_learn_as_f32_does() {
    for program in [VECTORS, IMAGES] {
        let f32 = train(program, "--precision f32_strict --epochs 2");
        let bf16 = train(program, "--precision bf16 --target-features +emulate-amx --epochs 2");
        assert_eq!(bf16.description["kernels"], "bf16 by emulated AMX");
        learns_alike("bf16 by tiles", &bf16, &f32);
    }
}

/// Three planes of bf16 are another order of summation, not another precision.
#[test]
fn split_f32_is_f32() {
    for program in [VECTORS, IMAGES] {
        let options = "--epochs 1 --steps 12";
        let strict = train(program, &format!("--precision f32_strict {options}"));
        let split = train(program, &format!("--precision f32 --target-features +emulate-amx {options}"));
        let kernels = split.description["kernels"].as_str().expect("text");
        assert!(kernels.starts_with("f32 by three bf16 planes on emulated AMX, windows"), "{kernels}");
        for (a, b) in split.numbers("loss").iter().zip(strict.numbers("loss")) {
            assert!((a - b).abs() <= 1e-4 * b, "{a} by planes, {b} by multiply-adds");
        }
    }
}

#[test]
fn a_precision_stands_in_the_program_too() {
    let program = VECTORS.replace("seed      = 7", "seed = 7\n    precision = bf16");
    let (stated, asked) = (train(&program, "--epochs 1"), train(VECTORS, "--precision bf16 --epochs 1"));
    assert_eq!(stated.description["precision"], "bf16");
    assert_eq!(stated.numbers("loss"), asked.numbers("loss"));
    let over = train(&program, "--precision f32_strict --epochs 1");
    assert_eq!(over.description["precision"], "f32_strict");
}
