//! `blkc train`: the folder of a run, what can be set, weights, resumption, evaluation.

use crate::user::{Result, User, finish, keys, names, rows};

const DATA: &str = "--data csv:points.csv";

fn train(user: &User, options: &str) -> Result {
    user.blkc(&format!("train net.blk {DATA} {options}"))
}

#[test]
fn a_run_leaves_its_folder() {
    let user = User::new();
    let result = train(&user, "--out run --log-every 3").good();
    assert!(
        result.stderr.contains("small: 42 parameters, sgd, batch 8, 64 training samples"),
        "{}",
        result.stderr
    );
    let files = [
        "best.safetensors",
        "events.out.tfevents.000000000000.blkc",
        "last.safetensors",
        "metrics.jsonl",
        "run.json",
        "state.safetensors",
    ];
    assert_eq!(names(&user.path("run")), files);
    let run: serde_json::Value = serde_json::from_str(&user.text("run/run.json")).expect("JSON");
    for key in ["network", "optimizer", "spec_hash", "target", "settings", "position"] {
        assert!(keys(&run).contains(&key), "{key}");
    }
    assert!(run["target"]["triple"].as_str().is_some_and(|triple| triple.contains("linux")), "{run}");
}

/// What mpirun starts twice would write one folder twice.
#[cfg(not(feature = "mpi"))]
#[test]
fn several_ranks_without_mpi_are_refused() {
    let user = User::new();
    for variable in ["OMPI_COMM_WORLD_SIZE", "PMI_SIZE"] {
        let mut command = user.command(env!("CARGO_BIN_EXE_blkc"));
        let command = command.args(["train", "net.blk", "--data", "csv:points.csv", "--out", "run"]);
        finish(command.env(variable, "2")).refused(1, &["one of 2 ranks", "without MPI", "--features mpi"]);
        assert!(!user.path("run").exists());
        finish(command.env(variable, "1").env("OMPI_COMM_WORLD_SIZE", "1")).good();
        std::fs::remove_dir_all(user.path("run")).expect("a run");
    }
}

#[test]
fn metrics_have_a_row_per_interval_and_epoch() {
    let user = User::new();
    user.write("scaled.blk", user.text("net.blk").replace("sgd(lr = 0.5", "scale_amended(lr = 0.01"));
    user.blkc(&format!("train scaled.blk {DATA} --out run --log-every 3")).good();
    let rows = rows(&user.text("run/metrics.jsonl"));
    let of = |kind: &str| -> Vec<u64> {
        rows.iter().filter(|row| row["kind"] == kind).map(|row| row["step"].as_u64().unwrap()).collect()
    };
    assert_eq!(of("step"), [3, 6, 9, 12, 15, 18, 21, 24]);
    assert_eq!(of("epoch"), [8, 16, 24]);
    for row in &rows {
        for key in ["step", "epoch", "loss", "accuracy", "lr", "samples_per_s"] {
            assert!(row[key].is_number(), "{key} of {row}");
        }
        assert!(row["blocks"]["h"]["m_W"]["h.dense.W"].is_number(), "{row}");
    }
    assert!(rows.last().unwrap()["loss"].as_f64() < rows[0]["loss"].as_f64());
}

#[test]
fn steps_and_epochs_end_a_run() {
    let user = User::new();
    for (options, steps) in
        [("--epochs 2", "16 steps"), ("--steps 5", "5 steps"), ("--epochs 1 --steps 20", "8 steps")]
    {
        let result = train(&user, options).good();
        assert!(result.stderr.contains(&format!("\n{steps} in ")), "{}", result.stderr);
    }
}

fn weights_after(user: &User, name: &str, options: &str) -> Vec<u8> {
    train(user, &format!("--out {name} --steps 9 {options}")).good();
    user.read(&format!("{name}/last.safetensors"))
}

#[test]
fn numbers_can_be_set_and_the_rate_has_a_short_name() {
    let user = User::new();
    let plain = weights_after(&user, "plain", "");
    let set = weights_after(&user, "set", "--set lr=0.25 --set momentum=0.5");
    assert!(plain != set);
    assert!(set == weights_after(&user, "short", "--lr 0.25"));
    assert!(plain != weights_after(&user, "seed", "--seed 4"));
    assert!(plain != weights_after(&user, "order", "--no-shuffle"));
    train(&user, "--set speed=1").refused(2, &["no `speed`", "lr, momentum"]);
    train(&user, "--set lr").refused(2, &["KEY=VALUE"]);
    train(&user, "--set lr=fast").refused(2, &["`fast` is not a number"]);
    train(&user, "--lr nan").refused(2, &["`nan` is not a number"]);
    train(&user, "--set batch=3").refused(2, &["fixed"]);
    train(&user, "--threads 0").refused(2, &["at least one thread"]);
}

#[test]
fn threads_do_not_change_a_bit() {
    let user = User::new();
    assert!(weights_after(&user, "one", "--threads 1") == weights_after(&user, "three", "--threads 3"));
}

#[test]
fn a_run_goes_on_to_the_same_bits() {
    let user = User::new();
    train(&user, "--out whole").good();
    train(&user, "--out parts --steps 5").good();
    let result = train(&user, "--resume parts").good();
    assert!(result.stderr.contains("going on after step 5 of 24"), "{}", result.stderr);
    for file in ["last", "best", "state"] {
        let read = |run: &str| user.read(&format!("{run}/{file}.safetensors"));
        assert!(read("whole") == read("parts"), "{file}");
    }
    train(&user, "--out whole").refused(1, &["whole already holds a run", "--resume whole"]);
    train(&user, "--resume whole --out other").refused(2, &["--out"]);
    train(&user, "--resume nothing").refused(1, &["nothing/run.json"]);
    train(&user, "--resume parts --seed 9").refused(2, &["started with seed 3"]);
}

#[test]
fn the_run_of_another_network_is_refused_with_the_difference() {
    let user = User::new();
    train(&user, "--out run --steps 2").good();
    user.write("net.blk", user.text("net.blk").replace("dense(8", "dense(9"));
    train(&user, "--resume run").refused(1, &["made by another program", "param h.dense.W"]);
}

/// A safetensors file of f32 zeros.
fn tensors(shapes: &[(&str, &[usize])]) -> Vec<u8> {
    let (mut header, mut end) = (serde_json::Map::new(), 0);
    for (name, shape) in shapes {
        let start = end;
        end += 4 * shape.iter().product::<usize>();
        let entry = serde_json::json!({"dtype": "F32", "shape": shape, "data_offsets": [start, end]});
        header.insert((*name).to_string(), entry);
    }
    let header = serde_json::Value::Object(header).to_string();
    [&(header.len() as u64).to_le_bytes()[..], header.as_bytes(), &vec![0; end]].concat()
}

#[test]
fn weights_are_taken_by_name_and_shape() {
    let user = User::new();
    let fitting: [(&str, &[usize]); 4] =
        [("h.dense.W", &[8, 2]), ("h.dense.b", &[8]), ("out.dense.W", &[2, 8]), ("out.dense.b", &[2])];
    user.write("w.safetensors", tensors(&fitting));
    let result = train(&user, "--weights w.safetensors --eval-only").good();
    // All weights are zero: both classes are equally likely.
    assert!(result.stdout.starts_with("training loss: 0.6931\n"), "{}", result.stdout);
    user.write("w.safetensors", tensors(&fitting[1..]));
    train(&user, "--weights w.safetensors").refused(1, &["lacks h.dense.W"]);
    user.write("w.safetensors", tensors(&[&fitting[..], &[("extra.W", &[1])]].concat()));
    train(&user, "--weights w.safetensors").refused(1, &["extra.W", "does not have"]);
    user.write("w.safetensors", tensors(&[&[("h.dense.W", &[2, 8][..])], &fitting[1..]].concat()));
    train(&user, "--weights w.safetensors").refused(1, &["h.dense.W has shape [2, 8], not [8, 2]"]);
    user.write("w.safetensors", "no tensors at all");
    train(&user, "--weights w.safetensors").refused(1, &["w.safetensors is damaged or no safetensors file"]);
    train(&user, "--weights none.safetensors").refused(1, &["cannot read none.safetensors"]);
}

#[test]
fn saved_weights_are_evaluated_as_they_were() {
    let user = User::new();
    train(&user, "--out run").good();
    let by_run = train(&user, "--resume run --eval-only").good().stdout;
    let by_file = train(&user, "--weights run/last.safetensors --eval-only").good().stdout;
    assert_eq!(by_run, by_file);
    assert!(by_run.contains("training accuracy: "), "{by_run}");
    train(&user, "--eval-only").refused(2, &["no weights to evaluate", "--weights FILE or --resume RUN"]);
}

#[test]
fn many_classes_are_ranked_and_values_have_their_error() {
    let user = User::new();
    let many = user.text("net.blk").replace("class[2]", "class[12]").replace("dense(2,", "dense(12,");
    user.write("many.blk", many);
    let told = user.blkc(&format!("train many.blk {DATA} --out many --eval-only --weights none"));
    told.refused(1, &["cannot read none"]);
    // One column of points is a class of twelve.
    let rows: String = (0..96).map(|i| format!("{},{},{}\n", i % 12, (i * i) % 12, i % 12)).collect();
    user.write("twelve.csv", rows);
    user.blkc("train many.blk --data csv:twelve.csv --out many").good();
    let told = user.blkc("train many.blk --data csv:twelve.csv --resume many --eval-only").good().stdout;
    let of = |name: &str| -> f64 {
        let line =
            told.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_else(|| panic!("{name}: {told}"));
        line.parse().expect("a number")
    };
    let (first, five) = (of("training accuracy: "), of("training top-5 accuracy: "));
    assert!(five > first && five <= 1.0 && five > 5.0 / 12.0, "{told}");
    let values = "network net(x: f32[2]) -> f32[1] { x |> block o { dense(1) } |> squared_error }\n\
                  train net { batch = 4, epochs = 1, optimizer = sgd(lr = 0.01) }\n";
    user.write("net.blk", values);
    train(&user, "--out values").good();
    let told = train(&user, "--weights values/last.safetensors --eval-only").good().stdout;
    assert!(told.contains("training rmse: "), "{told}");
}

#[test]
fn a_run_that_changes_processors_is_warned_of() {
    let user = User::new();
    train(&user, "--out run --steps 8 --target-cpu x86-64-v2").good();
    let same = train(&user, "--resume run --steps 9 --target-cpu x86-64-v2").good();
    assert!(!same.stderr.contains("warning"), "{}", same.stderr);
    let other = train(&user, "--resume run --steps 10 --target-cpu x86-64").good();
    assert!(other.stderr.contains("another processor (without ") && other.stderr.contains("bits may differ"));
    // It is the processor of the last session that counts.
    let again = train(&user, "--resume run --steps 11 --target-cpu x86-64").good();
    assert!(!again.stderr.contains("warning"), "{}", again.stderr);
}

/// Reads the event files of a run as TensorBoard does; prints each scalar's steps.
const READ_EVENTS: &str = "\
import json, sys
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
events = EventAccumulator(sys.argv[1], size_guidance={'scalars': 0})
events.Reload()
print(json.dumps({tag: [[e.step, e.value] for e in events.Scalars(tag)] for tag in events.Tags()['scalars']}))
";

#[test]
fn tensorboard_reads_the_events_of_a_run_that_was_resumed() {
    let user = User::new();
    let python = std::env::var("BLKC_TENSORBOARD_PYTHON").unwrap_or_else(|_| "python3".into());
    let present = user.command(&python).args(["-c", "import tensorboard"]).output();
    if !present.is_ok_and(|output| output.status.success()) {
        eprintln!("skipped: {python} has no package `tensorboard`");
        return;
    }
    user.write("net.blk", user.text("net.blk").replace("sgd(lr = 0.5", "scale_amended(lr = 0.01"));
    train(&user, "--out run --log-every 4 --steps 10").good();
    train(&user, "--resume run --log-every 4").good();
    let read = finish(user.command(&python).args(["-c", READ_EVENTS, "run"])).good().json();
    let steps = |tag: &str| -> Vec<u64> {
        let events = read[tag].as_array().unwrap_or_else(|| panic!("no {tag}: {read}"));
        events.iter().map(|event| event[0].as_u64().expect("a step")).collect()
    };
    assert_eq!(steps("batch/loss"), [4, 8, 12, 16, 20, 24]);
    assert_eq!(steps("train/loss"), [8, 16, 24]);
    assert_eq!(steps("run/lr"), [4, 8, 12, 16, 20, 24]);
    assert_eq!(steps("m_W/h.dense.W"), [4, 8, 12, 16, 20, 24]);
    let rows = rows(&user.text("run/metrics.jsonl"));
    let last = rows.last().expect("a row")["loss"].as_f64().expect("a number");
    let event = read["train/loss"].as_array().and_then(|events| events.last()).expect("an event")[1].as_f64();
    assert!((event.expect("a number") - last).abs() < 1e-6);
}
