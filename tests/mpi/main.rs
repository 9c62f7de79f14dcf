//! Training on two ranks under `mpirun`: against one process with twice the batch, by code of both kinds, and what happens
//! when a rank is told to end, dies, or has nothing to read.

#[path = "../cli/user.rs"]
#[allow(dead_code, reason = "every test takes what it needs")]
mod user;

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use safetensors::SafeTensors;
use user::{Result, User, finish, rows};

/// Convolution and statistics of the batch.
const IMAGES: &str = "\
network net(x: f32[1, 8, 8]) -> class[10] {
    x
    |> block c { conv(6, pad = 1) |> batch_norm |> relu |> max_pool(2) }
    |> block h { flatten |> dense(24) |> batch_norm |> relu |> dropout(0.2) }
    |> block out { dense(10, bias = true) }
    |> cross_entropy
}
";
/// Samples do not meet.
const PLAIN: &str = "\
network net(x: f32[64]) -> class[10] {
    x |> block h { dense(32, bias = true) |> tanh |> dropout(0.2) } |> block out { dense(10, bias = true) } |> cross_entropy
}
";
const SGD: &str = "optimizer = sgd(lr = 0.1, momentum = 0.9, weight_decay = 5e-4)";
const SCALE_AMENDED: &str = "optimizer = scale_amended(lr = 0.02, momentum = 0.9)";
/// All that has to be decided for all ranks at once.
const LIFE: &str = "epochs = 4, validation = 0.2, patience = 3, accumulate = 2, clip = 0.5, checkpoint = 3";

fn program(user: &User, network: &str, settings: &str) {
    let text = format!("{network}train net {{ data = digits(), batch = 32, seed = 7, {settings} }}\n");
    user.write("net.blk", text);
}

/// A command on two ranks, on whatever machine this is.
fn mpirun(user: &User, program: &str, arguments: &str) -> Command {
    let mut command = user.command("mpirun");
    command.args(["-n", "2", program]).args(arguments.split_whitespace());
    let settings = [
        // In a container, as root, on one core, without ssh.
        ("OMPI_ALLOW_RUN_AS_ROOT", "1"),
        ("OMPI_ALLOW_RUN_AS_ROOT_CONFIRM", "1"),
        ("OMPI_MCA_rmaps_base_oversubscribe", "1"),
        ("PRTE_MCA_rmaps_default_mapping_policy", ":oversubscribe"),
        ("OMPI_MCA_btl_vader_single_copy_mechanism", "none"),
        ("OMPI_MCA_plm_rsh_agent", "sh"),
    ];
    command.envs(settings);
    command
}

const BLKC: &str = env!("CARGO_BIN_EXE_blkc");

fn two_ranks(user: &User, arguments: &str) -> Result {
    finish(&mut mpirun(user, BLKC, arguments))
}

fn losses(user: &User, run: &str) -> Vec<f64> {
    let rows = rows(&user.text(&format!("{run}/metrics.jsonl")));
    rows.iter().map(|row| row["loss"].as_f64().expect("a number")).collect()
}

fn weights(user: &User, run: &str) -> BTreeMap<String, Vec<f32>> {
    let file = user.read(&format!("{run}/last.safetensors"));
    let tensors = SafeTensors::deserialize(&file).expect("weights");
    let floats = |bytes: &[u8]| {
        bytes.chunks_exact(4).map(|bytes| f32::from_le_bytes(bytes.try_into().expect("four bytes"))).collect()
    };
    tensors.tensors().into_iter().map(|(name, tensor)| (name, floats(tensor.data()))).collect()
}

/// Up to the order of sums.
fn assert_near(user: &User, one: &str, other: &str) {
    let (one_losses, other_losses) = (losses(user, one), losses(user, other));
    assert_eq!(one_losses.len(), other_losses.len());
    for (step, (a, b)) in one_losses.iter().zip(&other_losses).enumerate() {
        assert!((a - b).abs() <= 1e-4 * a.abs(), "{one}, {other}: loss {step}: {a} and {b}");
    }
    let (one_weights, other_weights) = (weights(user, one), weights(user, other));
    assert!(one_weights.keys().eq(other_weights.keys()));
    for (name, a) in &one_weights {
        let largest = a.iter().fold(1e-2f32, |largest, x| largest.max(x.abs()));
        for (a, b) in a.iter().zip(&other_weights[name]) {
            assert!((a - b).abs() <= 1e-3 * largest, "{one}, {other}: {name}: {a} and {b}");
        }
    }
}

#[test]
fn two_ranks_are_one_process_with_twice_the_batch() {
    let user = User::new();
    for (network, settings, options, ranks) in [
        (PLAIN, SGD, "", ""),
        (PLAIN, SCALE_AMENDED, "", ""),
        (IMAGES, SGD, "--sync-statistics", "--ranks 2"),
        (IMAGES, SCALE_AMENDED, "--sync-statistics", "--ranks 2"),
    ] {
        let here = format!("{settings} {options}");
        program(&user, network, settings);
        let train = "--steps 8 --log-every 1 --threads 1";
        for run in ["whole", "jit", "native"] {
            let _ = std::fs::remove_dir_all(user.path(run));
        }
        user.blkc(&format!("train net.blk --batch 64 {train} --out whole")).good();
        let jit = two_ranks(&user, &format!("train net.blk {train} {options} --out jit")).good();
        assert!(jit.stderr.contains("batch 32 × 2 ranks"), "{here}: {}", jit.stderr);
        assert_eq!(jit.stdout.matches("test accuracy").count(), 1, "{here}: one rank tells: {}", jit.stdout);
        assert_near(&user, "jit", "whole");
        user.blkc(&format!("build net.blk -o trainer {options} {ranks}")).good();
        finish(&mut mpirun(&user, "./trainer", &format!("{train} --out native"))).good();
        let file = |run: &str| user.read(&format!("{run}/last.safetensors"));
        assert_eq!(file("jit"), file("native"), "{here}: bits");
    }
}

#[test]
fn a_trainer_runs_alone_too() {
    let user = User::new();
    program(&user, IMAGES, SGD);
    user.blkc("build net.blk -o trainer").good();
    user.run("./trainer", "--steps 5 --out native").good();
    user.blkc("train net.blk --steps 5 --out jit").good();
    assert_eq!(user.read("native/last.safetensors"), user.read("jit/last.safetensors"));
    user.blkc("build net.blk -o pair --sync-statistics --ranks 2").good();
    user.run("./pair", "--steps 5").refused(1, &["built for 2 ranks", "started on 1", "mpirun -n 2"]);
    user.blkc("build net.blk -o pair --sync-statistics").refused(2, &["--ranks N"]);
}

/// Statistics are each rank's own, and everything else of a run's life is decided together.
#[test]
fn a_run_goes_on_with_the_same_bits_on_as_many_ranks() {
    let user = User::new();
    program(&user, IMAGES, &format!("{SGD}, {LIFE}"));
    two_ranks(&user, "train net.blk --out through").good();
    two_ranks(&user, "train net.blk --out run --steps 11").good();
    user.blkc("train net.blk --resume run")
        .refused(1, &["made by 2 ranks", "batch of 32 each", "mpirun -n 2"]);
    two_ranks(&user, "train net.blk --resume run").good();
    for file in ["last", "best", "state"] {
        let bytes = |run: &str| user.read(&format!("{run}/{file}.safetensors"));
        assert!(bytes("run") == bytes("through"), "{file}.safetensors");
    }
    let evaluated = two_ranks(&user, "train net.blk --eval-only --resume run").good().stdout;
    let alone = user.blkc("train net.blk --eval-only --weights run/last.safetensors").good().stdout;
    assert_eq!(evaluated, alone);
}

/// Synchronized ranks are a way to run the program of the whole batch, which any number of ranks goes on with.
#[test]
fn a_synchronized_run_goes_on_in_one_process() {
    let user = User::new();
    program(&user, IMAGES, SGD);
    two_ranks(&user, "train net.blk --out run --steps 5 --sync-statistics").good();
    user.blkc("train net.blk --batch 64 --resume run --steps 8").good();
    two_ranks(&user, "train net.blk --resume run --steps 9")
        .refused(1, &["made by another program", "batch"]);
}

/// Starts a run that does not end by itself, and waits for its first epoch.
fn long_run(user: &User) -> Child {
    let mut command = mpirun(user, BLKC, "train net.blk --epochs 1000000 --out run");
    let mut child =
        command.process_group(0).stderr(Stdio::piped()).stdout(Stdio::null()).spawn().expect("mpirun starts");
    let mut lines = BufReader::new(child.stderr.as_mut().expect("piped")).lines();
    assert!(lines.any(|line| line.expect("text").starts_with("epoch")), "no epoch was told of");
    child
}

/// Ends a rank by a signal; what mpirun came to, and what was told.
fn signalled(mut child: Child, rank: usize, signal: &str) -> (Option<i32>, String) {
    let id = child.id();
    let children = std::fs::read_to_string(format!("/proc/{id}/task/{id}/children")).expect("Linux");
    let ranks: Vec<&str> = children.split_whitespace().collect();
    assert_eq!(ranks.len(), 2, "{children}");
    let sent = Command::new("kill").args(["-s", signal, ranks[rank]]).status().expect("kill");
    assert!(sent.success());
    let mut text = String::new();
    let lines = BufReader::new(child.stderr.take().expect("piped")).lines();
    for line in lines.map_while(std::result::Result::ok) {
        text += &(line + "\n");
    }
    // The pipe is closed: every rank has ended.
    let until = Instant::now() + Duration::from_secs(60);
    let status = loop {
        match child.try_wait().expect("a child") {
            Some(status) => break status,
            None => assert!(Instant::now() < until, "mpirun hangs: {text}"),
        }
        std::thread::sleep(Duration::from_millis(50));
    };
    (status.code(), text)
}

/// The step that a run goes on after: what its state says. `run.json` is written later, and a kill can come between the two.
fn saved_step(user: &User, run: &str) -> u64 {
    let file = user.read(&format!("{run}/state.safetensors"));
    let (_, header) = SafeTensors::read_metadata(&file).expect("a state");
    let notes = header.metadata().as_ref().expect("metadata")["blk"].clone();
    let notes: serde_json::Value = serde_json::from_str(&notes).expect("JSON");
    notes["position"]["step"].as_u64().expect("a number")
}

#[test]
fn a_rank_that_dies_takes_the_others_along_and_the_run_goes_on() {
    let user = User::new();
    program(&user, IMAGES, SGD);
    for rank in [0, 1] {
        let _ = std::fs::remove_dir_all(user.path("run"));
        let _ = std::fs::remove_dir_all(user.path("through"));
        let (status, text) = signalled(long_run(&user), rank, "KILL");
        assert_ne!(status, Some(0), "{text}");
        assert!(text.contains("signal 9"), "{text}");
        let step = saved_step(&user, "run") + 3;
        two_ranks(&user, &format!("train net.blk --resume run --steps {step}")).good();
        two_ranks(&user, &format!("train net.blk --epochs 1000000 --steps {step} --out through")).good();
        let state = |run: &str| user.read(&format!("{run}/last.safetensors"));
        assert!(state("run") == state("through"), "after rank {rank} had died");
    }
}

#[test]
fn a_rank_that_is_told_to_end_ends_all_saved() {
    let user = User::new();
    program(&user, IMAGES, SGD);
    let (status, text) = signalled(long_run(&user), 1, "TERM");
    assert_eq!(status, Some(130), "{text}");
    assert!(!text.contains("error:"), "{text}");
    let result = two_ranks(&user, "train net.blk --resume run --steps 1").good();
    assert!(result.stderr.contains("going on after step"), "{}", result.stderr);
}

#[test]
fn what_is_wrong_is_told_once() {
    let user = User::new();
    program(&user, IMAGES, SGD);
    let told = |arguments: &str, message: &str| {
        let result = two_ranks(&user, arguments);
        assert_eq!(result.status, Some(1), "{}", result.stderr);
        assert_eq!(result.stderr.matches(message).count(), 1, "{}", result.stderr);
    };
    told("train net.blk --data csv:nowhere.csv", "nowhere.csv");
    told("train nothing.blk", "cannot read `nothing.blk`");
    told("train net.blk --lr 1e30 --out run", "it began in step");
    told("train net.blk --out net.blk", "net.blk is a file");
    user.write(
        "wrong.blk",
        "network net(x: f32[64]) -> class[10] { x |> block b { dense(\"x\") } |> cross_entropy }",
    );
    let result = two_ranks(&user, "train wrong.blk");
    assert_eq!(
        (result.status, result.stderr.matches("wrong.blk").count()),
        (Some(1), 1),
        "{}",
        result.stderr
    );
    let result = two_ranks(&user, "bench net.blk");
    assert_eq!(result.status, Some(2), "{}", result.stderr);
    assert!(result.stderr.contains("one process, not in 2"), "{}", result.stderr);
}
