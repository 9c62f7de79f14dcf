//! What goes wrong while a run goes on: signals, full disks, damaged files, numbers that explode.

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::process::{Child, Stdio};

use crate::user::{User, finish, names, rows};

thread_local! {
    static IS_ROOT: bool = fs::metadata("/proc/self").is_ok_and(|own| own.uid() == 0);
}

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

/// SplitMix64.
struct Draws(u64);

impl Draws {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % bound
    }
}

/// How often a run is killed.
const KILLS: u64 = 15;

#[test]
fn killed_at_any_moment_it_goes_on_to_the_same_bits() {
    let user = User::new();
    let options = "--epochs 60 --log-every 3";
    user.blkc(&format!("train net.blk --data csv:points.csv --out whole {options}")).good();
    let mut draws = Draws(7);
    for kill in 0..KILLS {
        // The first may die before there is a run: then it begins again.
        let place = if user.path("run/run.json").exists() { "--resume run" } else { "--out run" };
        let arguments = format!("train net.blk --data csv:points.csv {place} {options}");
        let mut command = user.command(env!("CARGO_BIN_EXE_blkc"));
        let mut child = command.args(arguments.split(' ')).stderr(Stdio::piped()).spawn().expect("started");
        let lines = BufReader::new(child.stderr.take().expect("piped")).lines();
        // Some epochs later, and a random while: in the midst of a step, of a file, between two of them.
        let epochs = draws.below(5) as usize;
        let told = lines.map_while(|line| line.ok()).filter(|line| line.starts_with("epoch"));
        let seen = told.take(epochs).count();
        if kill > 0 || epochs > 0 {
            std::thread::sleep(std::time::Duration::from_micros(draws.below(6_000)));
        }
        assert!(seen == epochs || kill > 0, "the run ended too early");
        child.kill().expect("killed");
        child.wait().expect("ended");
    }
    let place = if user.path("run/run.json").exists() { "--resume run" } else { "--out run" };
    user.blkc(&format!("train net.blk --data csv:points.csv {place} {options}")).good();
    for file in ["last", "best", "state"] {
        let read = |run: &str| user.read(&format!("{run}/{file}.safetensors"));
        assert!(read("whole") == read("run"), "{file}");
    }
    let told = |run: &str| -> Vec<_> {
        let rows = rows(&user.text(&format!("{run}/metrics.jsonl")));
        rows.iter().map(|row| (row["kind"].clone(), row["step"].clone(), row["loss"].clone())).collect()
    };
    assert_eq!(told("whole"), told("run"));
    assert!(
        names(&user.path("run")).iter().all(|name| !name.ends_with(".tmp")),
        "{:?}",
        names(&user.path("run"))
    );
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
fn what_can_be_made_anew_does_not_hinder_a_run() {
    let user = User::new();
    user.blkc(&format!("{RUN} --epochs 2")).good();
    let whole: Vec<(String, Vec<u8>)> = names(&user.path("run"))
        .into_iter()
        .map(|name| (name.clone(), user.read(&format!("run/{name}"))))
        .collect();
    let restore = || whole.iter().for_each(|(name, content)| user.write(&format!("run/{name}"), content));
    let resume = || user.blkc("train net.blk --data csv:points.csv --resume run --epochs 3");
    resume().good();
    let finished = user.read("run/state.safetensors");
    let needed = ["run.json", "state.safetensors"];
    for (name, content) in whole.iter().filter(|(name, _)| !needed.contains(&name.as_str())) {
        let path = format!("run/{name}");
        for damaged in [Some(&content[..content.len() / 2]), Some(&b"nonsense"[..]), None] {
            restore();
            match damaged {
                Some(bytes) => user.write(&path, bytes),
                None => fs::remove_file(user.path(&path)).expect("removed"),
            }
            let told = resume().good().stderr;
            assert_eq!(
                told.contains("warning: best.safetensors"),
                name.starts_with("best"),
                "{name}: {told}"
            );
            let last = user.read("run/last.safetensors");
            // What was best is only known by the epochs that follow.
            assert!(name.starts_with("best") || user.read("run/state.safetensors") == finished, "{name}");
            assert!(last.len() > 100 && user.read("run/best.safetensors").len() > 100, "{name}");
        }
    }
}

#[test]
fn damaged_metrics_keep_what_is_whole() {
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
fn a_disk_that_fills_up_ends_the_run_where_it_can_go_on() {
    let user = User::new();
    let options = "--epochs 40 --log-every 1";
    user.blkc(&format!("train net.blk --data csv:points.csv --out whole {options}")).good();
    // The metrics outgrow the limit after some epochs; the state does not.
    let limit = fs::metadata(user.path("whole/metrics.jsonl")).expect("there").len() / 512 / 2;
    let blkc = env!("CARGO_BIN_EXE_blkc");
    let limited = format!("ulimit -f {limit}; exec {blkc} {RUN} {options}");
    let result = finish(user.command("sh").args(["-c", &limited]));
    assert!(result.stderr.contains("epoch  5/40"), "{}", result.stderr);
    result.refused(1, &["cannot write run/metrics.jsonl"]);
    user.blkc("train net.blk --data csv:points.csv --resume run --log-every 1").good();
    let read = |run: &str| user.read(&format!("{run}/state.safetensors"));
    assert!(read("whole") == read("run"));
}

#[test]
fn a_folder_without_permission_is_named() {
    let user = User::new();
    user.blkc(&format!("{RUN} --steps 8")).good();
    let before = user.read("run/state.safetensors");
    let command = |arguments: &str| {
        let mut command = user.command(env!("CARGO_BIN_EXE_blkc"));
        command.args(arguments.split(' '));
        if IS_ROOT.with(|is_root| *is_root) {
            // Nothing is forbidden to root: somebody else runs it.
            command.uid(65_534).gid(65_534);
        }
        command
    };
    fs::set_permissions(user.path("."), fs::Permissions::from_mode(0o755)).expect("changed");
    if command("--version").output().map_or(true, |output| !output.status.success()) {
        eprintln!("skipped: nobody else may run {}", env!("CARGO_BIN_EXE_blkc"));
        return;
    }
    let read_only = fs::Permissions::from_mode(0o555);
    fs::set_permissions(user.path("run"), read_only.clone()).expect("changed");
    fs::set_permissions(user.path("."), read_only).expect("changed");
    let denied = "Permission denied";
    finish(&mut command("train net.blk --data csv:points.csv --out other"))
        .refused(1, &["cannot create other", denied]);
    finish(&mut command("train net.blk --data csv:points.csv --resume run")).refused(1, &["run/", denied]);
    fs::set_permissions(user.path("."), fs::Permissions::from_mode(0o755)).expect("changed");
    fs::set_permissions(user.path("run"), fs::Permissions::from_mode(0o755)).expect("changed");
    assert!(user.read("run/state.safetensors") == before);
}

#[test]
fn a_run_that_explodes_names_the_step_and_keeps_what_was_good() {
    let user = User::new();
    user.blkc(&format!("{RUN} --steps 8")).good();
    let before = user.read("run/state.safetensors");
    let explode = user.blkc("train net.blk --data csv:points.csv --resume run --lr 1e39");
    explode.refused(
        1,
        &[
            "the loss of step 1",
            "(epoch 2)",
            "it began in step 9 in block `",
            "dense.",
            "smaller learning rate",
            "run keeps the last good state",
        ],
    );
    assert!(user.read("run/state.safetensors") == before);
}

#[test]
fn weights_that_the_last_step_ruined_are_not_saved() {
    let user = User::new();
    user.blkc(&format!("{RUN} --steps 8")).good();
    let before = user.read("run/last.safetensors");
    let ruined = user.blkc("train net.blk --data csv:points.csv --resume run --steps 9 --lr 1e39");
    ruined.refused(
        1,
        &["not finite after step 9 (epoch 2): h.dense.W", "it began in step 9 in block `", "(update)"],
    );
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

#[test]
fn the_first_number_that_is_not_finite_is_found() {
    let user = User::new();
    let net = user.text("net.blk");
    for (body, batches, parts) in [
        // exp leaves the range of f32 in the block in the middle, though the one before it grows.
        (
            "block a { dense(4) } |> block b { dense(4, bias = true) |> power } |> block c { dense(2) }",
            "",
            &["in block `b` (forward)", "holds inf"][..],
        ),
        // The slope of a root at zero.
        (
            "block a { dense(4) |> root } |> block b { dense(2) }",
            "",
            &["in step 1 in block `a` (", "holds NaN"],
        ),
        (
            "block a { dense(4) } |> block b { dense(2) }",
            "--lr 1e39",
            &["in step 1 in block `", "(update)", "dense.W"],
        ),
    ] {
        let whole = "block h { dense(8, bias = true) |> tanh } |> block out { dense(2, bias = true) }";
        let program =
            net.replace(whole, body) + "fn power(t) = exp(200 * t)\nfn root(t) = sqrt(max(t - 100, 0))\n";
        user.write("bad.blk", program);
        let told = user.blkc(&format!("train bad.blk --data csv:points.csv {batches}"));
        told.refused(1, parts);
    }
}

/// What a terminal gets to see of a run.
fn on_a_terminal(user: &User, arguments: &str) -> Option<String> {
    let command = format!("{} {arguments}", env!("CARGO_BIN_EXE_blkc"));
    let script = user.command("script").args(["-qec", &command, "/dev/null"]).output();
    Some(String::from_utf8_lossy(&script.ok()?.stdout).into_owned())
}

#[test]
fn a_bar_is_for_terminals_only() {
    let user = User::new();
    let arguments = "train net.blk --data csv:points.csv --epochs 2000";
    let piped = user.blkc(arguments).good();
    assert!(!piped.stderr.contains(['\u{1b}', '\r']) && !piped.stderr.contains("ETA"), "{}", piped.stderr);
    assert_eq!(piped.stderr.matches("\nepoch ").count(), 2000);
    let Some(seen) = on_a_terminal(&user, arguments) else {
        eprintln!("skipped: no command `script` to make a terminal");
        return;
    };
    assert!(["ETA", "samples/s", "loss ", "accuracy "].iter().all(|part| seen.contains(part)), "{seen}");
    // Lines of epochs stay.
    assert_eq!(seen.matches("/2000 loss").count(), 2000);
}
