//! The same training in PyTorch and here, and weights to and fro; skipped, aloud, where PyTorch is not installed.

use std::io::Write;
use std::process::Command;

/// What the scripts return when PyTorch is missing.
const MISSING: i32 = 77;

/// Runs a script of `tests/peers` on this compiler, a folder of its own, and `arguments`.
fn run(script: &str, arguments: &[&str]) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = format!("{}/tests/peers/{script}", env!("CARGO_MANIFEST_DIR"));
    let mut command = Command::new("python3");
    command.arg("-B").arg(path).arg(env!("CARGO_BIN_EXE_blkc")).arg(folder.path()).args(arguments);
    let Ok(output) = command.output() else { return skip("there is no python3") };
    if output.status.code() == Some(MISSING) {
        return skip("PyTorch is not installed");
    }
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// Not by a macro, whose output a passing test keeps to itself.
fn skip(reason: &str) {
    let _ = writeln!(std::io::stderr(), "tests/peers: skipped: {reason}");
}

#[test]
fn training_agrees_with_pytorch() {
    run("compare.py", &[]);
}

#[test]
fn weights_of_a_perceptron_go_to_and_fro() {
    run("exchange.py", &["mlp"]);
}

#[test]
fn weights_of_vgg11_go_to_and_fro() {
    run("exchange.py", &["vgg11"]);
}

#[test]
fn weights_of_resnet20_go_to_and_fro() {
    run("exchange.py", &["resnet20"]);
}
