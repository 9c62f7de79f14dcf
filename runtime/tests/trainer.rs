//! The native trainer's command line, run as a process of its own.

mod common;

use std::process::{Command, Output};

use blk_runtime::trainer;
use common::{manifest, program_of};

const ARGUMENTS: &str = "BLK_TEST_ARGUMENTS";

/// No test of its own: the trainer that the test below runs. Without its variable it does nothing.
#[test]
fn child_process() {
    let Ok(arguments) = std::env::var(ARGUMENTS) else { return };
    let json = serde_json::to_vec(&manifest()).unwrap();
    let arguments = ["trainer"].into_iter().chain(arguments.split_whitespace()).map(Into::into);
    let status = trainer::main(arguments, &json, |manifest| Ok(program_of(manifest)));
    std::process::exit(i32::from(status))
}

fn trainer(arguments: &str) -> (Option<i32>, String, String) {
    let exe = std::env::current_exe().unwrap();
    let mut command = Command::new(exe);
    command.args(["child_process", "--exact", "--nocapture"]).env(ARGUMENTS, arguments);
    let Output { status, stdout, stderr } = command.output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (status.code(), text(stdout), text(stderr))
}

#[test]
fn trains_and_prints_the_accuracy_last() {
    for arguments in ["--epochs 2 --threads 1", "train --epochs 2"] {
        let (status, stdout, stderr) = trainer(arguments);
        assert_eq!(status, Some(0), "{stderr}");
        assert!(stdout.lines().last().unwrap().starts_with("test accuracy: 0.9"), "{stdout}");
        assert!(stderr.contains("epoch 2/2 loss") && stderr.contains("1437 training + 360 test"), "{stderr}");
    }
}

#[test]
fn benchmarks() {
    let (status, stdout, _) = trainer("bench --steps 20 --threads 1 --format json");
    let json = &stdout[stdout.find('{').unwrap()..];
    let report: serde_json::Value = serde_json::from_str(json).unwrap();
    assert_eq!((status, report["threads"].as_u64()), (Some(0), Some(1)));
}

#[test]
fn refuses_with_a_status_and_a_cure() {
    for (arguments, status, part) in [
        ("--batch 3", 2, "--batch is fixed when the program is built"),
        ("bench --precision bf16", 2, "--precision is fixed"),
        ("--set optimizer=1", 2, "the optimizer is fixed"),
        ("--set lr", 2, "KEY=VALUE"),
        ("--epochs many", 2, "--epochs"),
        ("--resume a --out b", 2, "--out"),
        ("--data nothing", 2, "unknown data `nothing`"),
        ("--data csv:/nowhere.csv", 1, "cannot read /nowhere.csv"),
        ("--resume /nowhere", 1, "/nowhere/run.json"),
    ] {
        let (code, _, stderr) = trainer(arguments);
        assert_eq!(code, Some(status), "{arguments}: {stderr}");
        assert!(stderr.contains(part), "{arguments}: {stderr}");
    }
    let (status, stdout, _) = trainer("--help");
    assert!(status == Some(0) && stdout.contains("--no-shuffle") && !stdout.contains("--batch"), "{stdout}");
}
