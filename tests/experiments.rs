//! The machinery of experiments/table1 on a tiny network: what is done is not done again, what was killed goes on to the same
//! bits, what diverges is a result, and what is wrong is named. Skipped, aloud, where there is no python3.
#![cfg(unix)]

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

const NETWORK: &str = "\
network tiny(x: f32[1, 8, 8]) -> class[10] {
    x
    |> block a { conv(4, kernel = 3, pad = 1) |> batch_norm |> relu }
    |> block head { flatten |> dense(10, bias = true) }
    |> cross_entropy
}

/// Not finite from the first step on.
network wild(x: f32[1, 8, 8]) -> class[10] {
    x |> block head { flatten |> dense(10) |> explode } |> cross_entropy
}

fn explode(t) = exp(1000 * t)
";

/// A folder with the network's file.
struct Place {
    folder: TempDir,
}

impl Place {
    /// None where there is no Python, which is said.
    fn new() -> Option<Self> {
        if Command::new("python3").arg("--version").output().is_err() {
            // Not by a macro, whose output a passing test keeps to itself.
            let _ = writeln!(std::io::stderr(), "tests/experiments: SKIPPED: there is no python3");
            return None;
        }
        let folder = tempfile::tempdir().expect("a temporary folder");
        fs::write(folder.path().join("net.blk"), NETWORK).expect("written");
        Some(Place { folder })
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The script with these words; the runs are in `runs`, the results in `results`.
    fn command(&self, words: &str) -> Command {
        let mut command = Command::new("python3");
        command.arg("-B").arg(format!("{}/experiments/table1/run.py", env!("CARGO_MANIFEST_DIR")));
        command.args(["--runs", "runs", "--results", "results", "--threads", "1"]).args(words.split(' '));
        if !words.contains("--blkc") {
            command.args(["--blkc", env!("CARGO_BIN_EXE_blkc")]);
        }
        command.current_dir(self.folder.path());
        command
    }

    fn run(&self, words: &str) -> Output {
        self.command(words).output().expect("python3 runs")
    }

    fn good(&self, words: &str) -> String {
        let output = self.run(words);
        assert!(output.status.success(), "{}", errors(&output));
        errors(&output)
    }

    fn refused(&self, words: &str, parts: &[&str]) {
        let output = self.run(words);
        assert_eq!(output.status.code(), Some(1), "{}", errors(&output));
        for part in parts {
            assert!(errors(&output).contains(part), "{part} in: {}", errors(&output));
        }
        assert!(!errors(&output).contains("Traceback"), "{}", errors(&output));
    }

    /// Kills the script, by SIGKILL, as soon as its last cell has passed some epochs.
    fn killed(&self, words: &str, metrics: &Path) {
        let mut child = Killed(self.command(words).stderr(Stdio::null()).spawn().expect("python3 runs"));
        let began = Instant::now();
        let epochs = || fs::read_to_string(metrics).unwrap_or_default().matches("\"epoch\",").count();
        while epochs() < 5 {
            assert!(began.elapsed() < Duration::from_secs(300), "the cell never began");
            assert!(
                child.0.try_wait().expect("its state").is_none(),
                "the cell ended before it could be killed"
            );
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

/// A process that does not outlive the test.
struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn errors(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// The folders below `place` in which there is a file of this name.
fn folders_with(place: &Path, name: &str) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(place) else { return vec![] };
    let mut found: Vec<PathBuf> = entries
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.is_dir())
        .flat_map(|path| folders_with(&path, name))
        .collect();
    found.extend(place.join(name).exists().then(|| place.to_path_buf()));
    found.sort();
    found
}

const CELL: &str =
    "--networks net.blk:tiny --data digits --optimizers scale_amended --precision f32 --seeds 1";

#[test]
fn a_killed_cell_goes_on_to_the_same_bits() {
    let Some(place) = Place::new() else { return };
    let words = format!("{CELL} --epochs 100");
    place.good(&format!("search {CELL}"));
    // The rate that the search chooses for this network, from the table of an earlier and shorter run.
    place.good(&format!("{CELL} --epochs 1"));
    let short = folders_with(&place.path("results/epochs1-f32"), "cell.json").remove(0);
    let cell = short.strip_prefix(place.path("results/epochs1-f32")).expect("below it").to_path_buf();
    let run = place.path("runs/epochs100-f32").join(&cell).join("run");
    place.killed(&words, &run.join("metrics.jsonl"));
    assert!(place.good(&words).contains("going on after step"));
    let broken = fs::read(run.join("last.safetensors")).expect("weights");
    let whole = place.path("whole");
    fs::rename(place.path("runs"), &whole).expect("moved");
    fs::remove_dir_all(place.path("results/epochs100-f32")).expect("removed");
    assert!(!place.good(&words).contains("going on"));
    assert_eq!(broken, fs::read(run.join("last.safetensors")).expect("weights"));
    // All is done: nothing is run again.
    assert!(!place.good(&words).contains("lr0."));
    let table = fs::read_to_string(place.path("results/table.md")).expect("a table");
    assert!(table.contains("## 100 epochs, f32") && table.contains("`scale_amended`"), "{table}");
    assert_eq!(folders_with(&place.path("results"), "curves-digits-tiny.svg").len(), 2);
}

#[test]
fn what_diverges_is_a_result() {
    let Some(place) = Place::new() else { return };
    let words = "--networks net.blk:wild --data digits --optimizers sgd --precision f32 --seeds 1 --epochs 1";
    place.refused(words, &["every rate of the search for sgd on digits, wild diverged"]);
    // Four rates and two smaller ones.
    let cells = folders_with(&place.path("results"), "cell.json");
    assert_eq!(cells.len(), 6);
    let cell = fs::read_to_string(cells[0].join("cell.json")).expect("a cell");
    assert!(cell.contains("\"status\": \"diverged\"") && cell.contains("the loss of step 1"), "{cell}");
    assert!(
        fs::read_to_string(place.path("results/table.md")).expect("a table").contains("0.001+: diverged")
    );
    // From the results alone, and to the same words.
    let before = fs::read(place.path("results/table.md")).expect("a table");
    place.good("--report");
    assert_eq!(before, fs::read(place.path("results/table.md")).expect("a table"));
}

#[test]
fn what_is_wrong_is_named() {
    let Some(place) = Place::new() else { return };
    place.refused("--networks vgg11", &["--data is missing"]);
    place.refused("--data cifar10", &["--data cifar10:DIR"]);
    place.refused("--data cifar10:nowhere", &["there is no", "nowhere", "docs/data.md"]);
    place.refused("--data digits --networks vgg12", &["no network `vgg12`", "vgg11"]);
    place.refused("--data digits --networks net.blk", &["net.blk:NAME", "tiny, wild"]);
    place.refused("--data digits --optimizers adam", &["no optimizer `adam`", "lars"]);
    place.refused("--data digits --blkc nothing", &["there is no blkc nothing", "make build"]);
    place.good(&format!("search {CELL}"));
    let words = format!("{CELL} --epochs 1");
    place.good(&words);
    let kept = folders_with(&place.path("results/epochs1-f32"), "cell.json").remove(0);
    let cell = place.path("runs").join(kept.strip_prefix(place.path("results")).expect("below it"));
    // A run without its state, and one whose state a disk has damaged.
    fs::remove_dir_all(&kept).expect("removed");
    let state = cell.join("run/state.safetensors");
    let bytes = fs::read(&state).expect("a state");
    fs::write(&state, &bytes[..bytes.len() / 2]).expect("written");
    place.refused(&words, &["state.safetensors", "remove it to run the cell anew"]);
    fs::remove_file(&state).expect("removed");
    place.refused(&words, &["is damaged: it has no state.safetensors", "remove"]);
    fs::remove_dir_all(&cell).expect("removed");
    place.good(&words);
    // Results that another program made.
    let program = fs::read_to_string(kept.join("cell.blk")).expect("a program");
    fs::write(kept.join("cell.blk"), program.replace("128", "64")).expect("written");
    place.refused(&words, &["was made by another program"]);
    fs::write(kept.join("cell.json"), "{").expect("written");
    place.refused("--report", &["cell.json is damaged"]);
}

#[test]
fn the_committed_table_says_what_the_results_say() {
    let script = format!("{}/experiments/table1/run.py", env!("CARGO_MANIFEST_DIR"));
    let Ok(output) = Command::new("python3").args(["-B", &script, "--check"]).output() else { return };
    assert!(output.status.success(), "{}", errors(&output));
}

#[test]
fn programs_of_the_spectra_are_sound() {
    let folder = format!("{}/experiments/spectra", env!("CARGO_MANIFEST_DIR"));
    let files = fs::read_dir(folder).expect("the folder").map(|entry| entry.expect("an entry").path());
    for file in files.filter(|file| file.extension().is_some_and(|extension| extension == "blk")) {
        let output =
            Command::new(env!("CARGO_BIN_EXE_blkc")).arg("check").arg(&file).output().expect("blkc runs");
        assert!(output.status.success(), "{}", errors(&output));
    }
}
