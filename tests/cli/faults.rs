//! What goes wrong while a run goes on: signals, full disks, damaged files, numbers that explode.

use std::fs;
use std::io::{BufRead, BufReader};
use std::process::{Child, Stdio};

use crate::user::{User, finish, rows};

const RUN: &str = "train net.blk --data csv:points.csv --out run";

#[test]
fn places_that_cannot_hold_a_run_are_named() {
    let user = User::new();
    let to = |place: &str| user.blkc(&format!("train net.blk --data csv:points.csv --out {place}"));
    to("net.blk").refused(1, &["net.blk is a file; a run is a folder"]);
    to("net.blk/run").refused(1, &["cannot create net.blk/run"]);
    to("/proc/run").refused(1, &["cannot create /proc/run"]);
}

/// Starts a long run and waits until it has been saved by an epoch.
fn long_run(user: &User) -> Child {
    let arguments = format!("{RUN} --epochs 1000000");
    let mut command = user.command(env!("CARGO_BIN_EXE_blkc"));
    let mut child = command.args(arguments.split(' ')).stderr(Stdio::piped()).spawn().expect("started");
    let mut lines = BufReader::new(child.stderr.take().expect("piped")).lines();
    assert!(lines.by_ref().any(|line| line.expect("text").starts_with("epoch")), "no epoch was told of");
    // Read on, that the pipe stays open and never fills.
    std::thread::spawn(move || lines.for_each(drop));
    child
}

fn signal(child: &Child, name: &str) {
    let id = child.id().to_string();
    let sent = std::process::Command::new("kill").args(["-s", name, &id]).status().expect("kill");
    assert!(sent.success());
}

#[test]
fn interrupted_it_saves_and_goes_on() {
    for name in ["INT", "TERM"] {
        let user = User::new();
        let mut child = long_run(&user);
        signal(&child, name);
        assert_eq!(child.wait().expect("ended").code(), Some(130), "{name}");
        let run: serde_json::Value = serde_json::from_str(&user.text("run/run.json")).expect("JSON");
        let step = run["position"]["step"].as_u64().expect("a number");
        let more = format!("train net.blk --data csv:points.csv --resume run --steps {}", step + 3);
        let result = user.blkc(&more).good();
        assert!(result.stderr.contains(&format!("going on after step {step} ")), "{}", result.stderr);
    }
}

#[test]
fn killed_it_goes_on() {
    let user = User::new();
    let mut child = long_run(&user);
    child.kill().expect("killed");
    child.wait().expect("ended");
    let result = user.blkc("train net.blk --data csv:points.csv --resume run --epochs 1");
    assert_eq!(result.status, Some(0), "{}", result.stderr);
}

#[test]
fn a_full_disk_is_told_and_costs_nothing_that_was_saved() {
    let user = User::new();
    user.blkc(&format!("{RUN} --steps 8")).good();
    let before = user.read("run/state.safetensors");
    // In blocks of 512 bytes: less than the state.
    let blkc = env!("CARGO_BIN_EXE_blkc");
    let limited = format!("ulimit -f 1; exec {blkc} train net.blk --data csv:points.csv --resume run");
    let result = finish(user.command("sh").args(["-c", &limited]));
    result.refused(1, &["cannot write run/", "what was saved before is unchanged"]);
    assert!(user.read("run/state.safetensors") == before);
}

#[test]
fn damaged_files_are_named() {
    let user = User::new();
    user.blkc(RUN).good();
    let resume = || user.blkc("train net.blk --data csv:points.csv --resume run --epochs 4");
    for (name, damage) in
        [("run.json", "{"), ("run.json", "[]"), ("state.safetensors", "tensors"), ("state.safetensors", "")]
    {
        let path = format!("run/{name}");
        let good = user.read(&path);
        user.write(&path, damage);
        resume().refused(1, &[name, "damaged"]);
        user.write(&path, good);
    }
    let mut state = user.read("run/state.safetensors");
    *state.last_mut().expect("not empty") ^= 1;
    user.write("run/state.safetensors", &state);
    resume().refused(1, &["state.safetensors is damaged"]);
    fs::remove_file(user.path("run/state.safetensors")).expect("removed");
    resume().refused(1, &["state.safetensors"]);
}

#[test]
fn damaged_metrics_do_not_hinder_a_run() {
    let user = User::new();
    user.blkc(&format!("{RUN} --steps 16")).good();
    let text = user.text("run/metrics.jsonl");
    user.write("run/metrics.jsonl", format!("{text}{{\"step\": 17, \"lo"));
    user.blkc("train net.blk --data csv:points.csv --resume run").good();
    let steps: Vec<_> =
        rows(&user.text("run/metrics.jsonl")).iter().map(|row| row["step"].as_u64()).collect();
    assert_eq!(steps, [Some(8), Some(16), Some(24)]);
}

#[test]
fn a_run_that_explodes_names_the_step_and_keeps_what_was_good() {
    let user = User::new();
    user.blkc(&format!("{RUN} --steps 8")).good();
    let before = user.read("run/state.safetensors");
    let explode = user.blkc("train net.blk --data csv:points.csv --resume run --lr 1e39");
    explode.refused(
        1,
        &["step ", "(epoch 2)", "h.dense.W", "smaller learning rate", "run keeps the last good state"],
    );
    assert!(user.read("run/state.safetensors") == before);
}

#[test]
fn weights_that_the_last_step_ruined_are_not_saved() {
    let user = User::new();
    user.blkc(&format!("{RUN} --steps 8")).good();
    let before = user.read("run/last.safetensors");
    let ruined = user.blkc("train net.blk --data csv:points.csv --resume run --steps 9 --lr 1e39");
    ruined.refused(1, &["not finite after step 9 (epoch 2)", "h.dense.W"]);
    assert!(user.read("run/last.safetensors") == before);
}

#[test]
fn factors_that_vanish_leave_the_gradient_unscaled_and_are_told() {
    let user = User::new();
    // Without inputs there is nothing that the first block's curvature could come from.
    user.write("zeros.csv", "0,0,0\n0,0,1\n".repeat(16));
    let scaled = "scale_amended(lr = 1e-12, mode = measured";
    user.write("net.blk", user.text("net.blk").replace("sgd(lr = 0.5", scaled));
    let result = user.blkc("train net.blk --data csv:zeros.csv --epochs 2 --out run").good();
    assert!(
        result.stderr.contains("warning: scale factors") && result.stderr.contains("h.dense.W"),
        "{}",
        result.stderr
    );
    let rows = rows(&user.text("run/metrics.jsonl"));
    assert!(rows.iter().all(|row| row["loss"].as_f64().is_some_and(|loss| loss < 1.0)), "{rows:?}");
}
