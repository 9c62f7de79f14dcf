//! The same bits from the just-in-time compiler and the native trainer, on any number of threads, and after any
//! interruption: through the command line, on real data.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::time::Duration;

use tempfile::TempDir;

/// Everything that could depend on order or randomness: batch statistics, dropout, a schedule, scale factors.
const PROGRAM: &str = "network net(x: f32[64]) -> class[10] {
    x
    |> block h1 { dense(96) |> batch_norm |> relu |> dropout(0.1) }
    |> block h2 { residual(dense(96) |> batch_norm |> gelu) }
    |> block out { dense(10, bias = true) }
    |> cross_entropy
}

train net {
    data      = digits()
    batch     = 50
    epochs    = 2
    optimizer = scale_amended(lr = 0.01)
    schedule  = cosine(warmup = 1)
    seed      = 3
}
";

/// Everything that a `train` item can say of its samples and steps.
const IMAGES: &str = "network net(x: f32[1, 8, 8]) -> class[10] {
    x
    |> block h1 { flatten |> dense(96) |> batch_norm |> relu |> dropout(0.1) }
    |> block out { dense(10, bias = true) }
    |> cross_entropy
}

train net {
    data       = digits()
    batch      = 25
    epochs     = 3
    augment    = [pad_crop(1), flip_horizontal, cutout(2)]
    validation = 0.2
    patience   = 40
    accumulate = 3
    clip       = 0.8
    decay      = weights
    checkpoint = 4
    optimizer  = adam(lr = 0.01, weight_decay = 1e-4)
    schedule   = cosine(warmup = 1)
    seed       = 3
}
";

/// What a finished run leaves behind that does not tell the time.
const FILES: [&str; 3] = ["last.safetensors", "best.safetensors", "state.safetensors"];

fn folder() -> &'static Path {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    FOLDER.get_or_init(|| {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("pipeline");
        fs::create_dir_all(&folder).expect("a folder");
        fs::write(folder.join("net.blk"), PROGRAM).expect("the program");
        fs::write(folder.join("images.blk"), IMAGES).expect("the program");
        folder
    })
}

fn blkc(verb: &str) -> Command {
    blkc_on("net.blk", verb)
}

fn blkc_on(file: &str, verb: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_blkc"));
    command.arg(verb).arg(folder().join(file));
    command
}

/// The native trainer of [`PROGRAM`].
pub fn trainer() -> &'static Path {
    static TRAINER: OnceLock<PathBuf> = OnceLock::new();
    TRAINER.get_or_init(|| build("net.blk", "trainer", &[]))
}

/// That of [`IMAGES`].
fn image_trainer() -> &'static Path {
    static TRAINER: OnceLock<PathBuf> = OnceLock::new();
    TRAINER.get_or_init(|| build("images.blk", "image-trainer", &[]))
}

fn build(file: &str, name: &str, options: &[&str]) -> PathBuf {
    let path = folder().join(name);
    succeed(blkc_on(file, "build").args(options).arg("-o").arg(&path));
    path
}

fn succeed(command: &mut Command) {
    let output = command.output().expect("it starts");
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// A run to its end in a folder of its own.
fn run(command: &mut Command, options: &[&str]) -> TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    succeed(command.args(options).arg("--out").arg(folder.path().join("run")));
    folder
}

fn assert_same(what: &str, first: &Path, second: &Path) {
    for file in FILES {
        let read = |folder: &Path| fs::read(folder.join("run").join(file)).expect("a file of the run");
        assert!(read(first) == read(second), "{what}: {file} differs");
    }
}

#[test]
fn the_native_trainer_gives_the_bits_of_the_jit_on_any_number_of_threads() {
    let reference = run(&mut blkc("train"), &["--threads", "1"]);
    for threads in ["1", "2", "3"] {
        let options = ["--threads", threads];
        let jit = run(&mut blkc("train"), &options);
        assert_same(&format!("JIT, {threads} threads"), reference.path(), jit.path());
        let native = run(&mut Command::new(trainer()), &options);
        assert_same(&format!("native, {threads} threads"), reference.path(), native.path());
    }
}

#[test]
fn bf16_has_the_same_bits_everywhere_too() {
    const BF16: [&str; 2] = ["--precision", "bf16"];
    let reference = run(&mut blkc("train"), &[&BF16[..], &["--threads", "1"]].concat());
    let native = build("net.blk", "trainer-bf16", &BF16);
    for threads in ["1", "2", "3"] {
        let jit = run(&mut blkc("train"), &[&BF16[..], &["--threads", threads]].concat());
        assert_same(&format!("JIT, {threads} threads"), reference.path(), jit.path());
        let native = run(&mut Command::new(&native), &["--threads", threads]);
        assert_same(&format!("native, {threads} threads"), reference.path(), native.path());
    }
}

#[test]
fn another_batch_is_compiled_into_the_trainer() {
    let native = build("net.blk", "trainer33", &["--batch", "33"]);
    let native = run(&mut Command::new(native), &["--epochs", "1"]);
    let jit = run(&mut blkc("train"), &["--batch", "33", "--epochs", "1"]);
    assert_same("batch 33", native.path(), jit.path());
}

/// Starts the command and kills it, with no chance to save, after a while; false when it had ended by itself.
fn killed(command: &mut Command, after: Duration) -> bool {
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("it starts");
    std::thread::sleep(after);
    let running = child.try_wait().expect("its status").is_none();
    child.kill().expect("its end");
    child.wait().expect("its status");
    running
}

/// The command that goes on with the run, or begins it where there is nothing to go on with.
fn go_on(trainer: &Path, run: &Path) -> Command {
    let mut command = Command::new(trainer);
    match run.join("run.json").exists() {
        true => command.arg("--resume").arg(run),
        false => command.args(["--epochs", "60"]).arg("--out").arg(run),
    };
    command
}

fn killed_at(trainer: &Path, moments: &[u64]) {
    let whole = run(&mut Command::new(trainer), &["--epochs", "60"]);
    let parts = tempfile::tempdir().expect("a folder");
    let path = parts.path().join("run");
    let mut kills = 0;
    for moment in moments {
        kills += usize::from(killed(&mut go_on(trainer, &path), Duration::from_millis(*moment)));
    }
    assert!(kills > 0, "every run ended before it was killed");
    succeed(&mut go_on(trainer, &path));
    assert_same("after kills", whole.path(), parts.path());
}

#[test]
fn a_run_killed_at_any_moment_goes_on_to_the_same_bits() {
    killed_at(trainer(), &[3, 11, 24, 57, 38, 91]);
}

#[test]
fn augmented_accumulated_clipped_steps_have_the_same_bits_everywhere() {
    let reference = run(&mut blkc_on("images.blk", "train"), &["--threads", "1"]);
    for threads in ["1", "2", "3"] {
        let options = ["--threads", threads];
        let jit = run(&mut blkc_on("images.blk", "train"), &options);
        assert_same(&format!("JIT, {threads} threads"), reference.path(), jit.path());
        let native = run(&mut Command::new(image_trainer()), &options);
        assert_same(&format!("native, {threads} threads"), reference.path(), native.path());
    }
}

#[test]
fn a_run_with_validation_and_patience_goes_on_to_the_same_bits() {
    killed_at(image_trainer(), &[5, 40, 17, 90]);
    let stopped = tempfile::tempdir().expect("a folder");
    let path = stopped.path().join("run");
    succeed(Command::new(image_trainer()).args(["--steps", "5"]).arg("--out").arg(&path));
    succeed(Command::new(image_trainer()).args(["--steps", "21"]).arg("--resume").arg(&path));
    succeed(Command::new(image_trainer()).arg("--resume").arg(&path));
    let whole = run(&mut Command::new(image_trainer()), &[]);
    assert_same("after limits", whole.path(), stopped.path());
}

/// Losses by step.
fn losses(run: &Path) -> Vec<f64> {
    let text = fs::read_to_string(run.join("run/metrics.jsonl")).expect("metrics");
    let records = text.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).expect("a record"));
    records
        .filter(|record| record["kind"] == "step")
        .map(|record| record["loss"].as_f64().expect("a loss"))
        .collect()
}

/// Through the whole machinery: samples in order, counting of steps, schedule, mean loss.
#[test]
fn two_batches_of_25_train_as_one_of_50() {
    let text = |batch: usize, accumulate: usize| {
        format!(
            "network net(x: f32[64]) -> class[10] {{
    x |> block h {{ dense(32) |> tanh }} |> block out {{ dense(10, bias = true) }} |> cross_entropy
}}
train net {{
    data = digits()
    batch = {batch}
    epochs = 2
    accumulate = {accumulate}
    clip = 0.4
    optimizer = adam(lr = 0.01)
    schedule = cosine(warmup = 1)
}}
"
        )
    };
    let runs = [(50, 1), (25, 2)].map(|(batch, accumulate)| {
        let file = format!("accumulate{accumulate}.blk");
        fs::write(folder().join(&file), text(batch, accumulate)).expect("the program");
        let run = run(&mut blkc_on(&file, "train"), &["--log-every", "1"]);
        losses(run.path())
    });
    assert_eq!((runs[0].len(), runs[1].len()), (56, 56));
    for (step, (whole, parts)) in runs[0].iter().zip(&runs[1]).enumerate() {
        assert!((whole - parts).abs() < 1e-4 * whole, "step {step}: {parts} instead of {whole}");
    }
}
