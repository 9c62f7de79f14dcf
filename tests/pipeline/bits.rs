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

/// What a finished run leaves behind that does not tell the time.
const FILES: [&str; 3] = ["last.safetensors", "best.safetensors", "state.safetensors"];

fn folder() -> &'static Path {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    FOLDER.get_or_init(|| {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("pipeline");
        fs::create_dir_all(&folder).expect("a folder");
        fs::write(folder.join("net.blk"), PROGRAM).expect("the program");
        folder
    })
}

fn blkc(verb: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_blkc"));
    command.arg(verb).arg(folder().join("net.blk"));
    command
}

/// The native trainer of [`PROGRAM`].
pub fn trainer() -> &'static Path {
    static TRAINER: OnceLock<PathBuf> = OnceLock::new();
    TRAINER.get_or_init(|| build("trainer", &[]))
}

fn build(name: &str, options: &[&str]) -> PathBuf {
    let path = folder().join(name);
    succeed(blkc("build").args(options).arg("-o").arg(&path));
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
fn another_batch_is_compiled_into_the_trainer() {
    let native = build("trainer33", &["--batch", "33"]);
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
fn go_on(run: &Path) -> Command {
    let mut command = Command::new(trainer());
    match run.join("run.json").exists() {
        true => command.arg("--resume").arg(run),
        false => command.args(["--epochs", "60"]).arg("--out").arg(run),
    };
    command
}

#[test]
fn a_run_killed_at_any_moment_goes_on_to_the_same_bits() {
    let whole = run(&mut Command::new(trainer()), &["--epochs", "60"]);
    let parts = tempfile::tempdir().expect("a folder");
    let path = parts.path().join("run");
    let mut kills = 0;
    for moment in [3, 11, 24, 57, 38, 91] {
        kills += usize::from(killed(&mut go_on(&path), Duration::from_millis(moment)));
    }
    assert!(kills > 0, "every run ended before it was killed");
    succeed(&mut go_on(&path));
    assert_same("after kills", whole.path(), parts.path());
}
