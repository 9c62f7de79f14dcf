//! Runs that are killed, interrupted, and files that are damaged.

mod common;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use blk_runtime::report::Silent;
use blk_runtime::{Error, TrainOptions, train};
use common::{manifest, out, program, program_of, resume};

const FOLDER: &str = "BLK_TEST_RUN";
const EPOCHS: &str = "BLK_TEST_EPOCHS";

/// No test of its own: the process that the tests below kill. Without its variables it does nothing.
#[test]
fn child_process() {
    let Some(folder) = std::env::var_os(FOLDER).map(PathBuf::from) else { return };
    let started = folder.join("run.json").exists();
    let options = if started { resume(&folder) } else { out(&folder) };
    let epochs = std::env::var(EPOCHS).ok().and_then(|epochs| epochs.parse().ok());
    match train(&mut program(), &TrainOptions { epochs, ..options }, &mut Silent) {
        Ok(outcome) => std::process::exit(i32::from(outcome.exit_code())),
        Err(error) => {
            eprintln!("{error}");
            std::process::exit(1)
        }
    }
}

fn command(folder: &Path, epochs: u32, limits: &str) -> Command {
    let mut command = Command::new("sh");
    command
        .args(["-c", &format!("{limits} exec \"$0\" child_process --exact --nocapture")])
        .arg(std::env::current_exe().unwrap())
        .env(FOLDER, folder)
        .env(EPOCHS, epochs.to_string())
        .stdout(Stdio::null());
    command
}

fn spawn(folder: &Path, epochs: u32) -> Child {
    command(folder, epochs, "").spawn().unwrap()
}

/// Waits for the child until then; its exit status, if it has ended.
fn wait(child: &mut Child, limit: Duration) -> Option<std::process::ExitStatus> {
    let until = Instant::now() + limit;
    while Instant::now() < until {
        if let Some(status) = child.try_wait().unwrap() {
            return Some(status);
        }
        std::thread::sleep(Duration::from_millis(3));
    }
    None
}

#[test]
fn killed_at_any_instant_a_run_ends_at_the_same_bits() {
    let (whole, killed) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    assert!(spawn(whole.path(), 8).wait().unwrap().success());
    let mut kills = 0;
    loop {
        assert!(kills < 200, "no progress between kills");
        let mut child = spawn(killed.path(), 8);
        // Long enough for some epochs later on, and at another instant every time.
        let limit = Duration::from_millis(10 + kills * 37 % 150 + 10 * kills);
        if let Some(status) = wait(&mut child, limit) {
            assert!(status.success(), "{status}");
            break;
        }
        child.kill().unwrap();
        child.wait().unwrap();
        kills += 1;
    }
    assert!(kills > 0, "the run was over before the first kill");
    for file in ["last.safetensors", "best.safetensors", "state.safetensors", "run.json"] {
        let read = |folder: &Path| fs::read(folder.join(file)).unwrap();
        assert!(read(whole.path()) == read(killed.path()), "{file} differs after {kills} kills");
    }
}

#[test]
fn interrupts_save_and_leave() {
    for signal in ["INT", "TERM"] {
        let folder = tempfile::tempdir().unwrap();
        let mut child = spawn(folder.path(), 1_000_000);
        let started = Instant::now();
        while !folder.path().join("best.safetensors").exists() {
            assert!(started.elapsed() < Duration::from_secs(60), "the first epoch takes too long");
            std::thread::sleep(Duration::from_millis(5));
        }
        let sent =
            Command::new("kill").args([format!("-{signal}"), child.id().to_string()]).status().unwrap();
        assert!(sent.success());
        let status = wait(&mut child, Duration::from_secs(30)).expect("it leaves");
        assert_eq!(status.code(), Some(130), "{signal}");
        let run: serde_json::Value =
            serde_json::from_slice(&fs::read(folder.path().join("run.json")).unwrap()).unwrap();
        let step = run["position"]["step"].as_u64().unwrap();
        assert!(step >= 44);
        let options = TrainOptions { steps: Some(step + 3), ..resume(folder.path()) };
        assert_eq!(train(&mut program(), &options, &mut Silent).unwrap().steps, step + 3);
    }
}

/// A finished short run.
fn short_run() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    train(&mut program(), &TrainOptions { steps: Some(50), ..out(folder.path()) }, &mut Silent).unwrap();
    folder
}

fn resumed(folder: &Path) -> Error {
    train(&mut program(), &resume(folder), &mut Silent).expect_err("a damaged run is refused")
}

#[test]
fn damaged_files_are_named() {
    for file in ["state.safetensors", "run.json"] {
        let damages: [fn(Vec<u8>) -> Vec<u8>; 4] = [
            |_| Vec::new(),
            |bytes| bytes[..bytes.len() / 2].to_vec(),
            |bytes| [b"garbage!".as_slice(), &bytes].concat(),
            |bytes| bytes.into_iter().rev().collect(),
        ];
        for damage in damages {
            let folder = short_run();
            let path = folder.path().join(file);
            fs::write(&path, damage(fs::read(&path).unwrap())).unwrap();
            let error = resumed(folder.path());
            assert!(error.message.contains(file) && error.message.contains("damaged"), "{error}");
        }
        let folder = short_run();
        fs::remove_file(folder.path().join(file)).unwrap();
        assert!(resumed(folder.path()).message.contains(file));
    }
}

#[test]
fn a_flipped_bit_in_the_state_is_noticed() {
    let folder = short_run();
    let path = folder.path().join("state.safetensors");
    let mut bytes = fs::read(&path).unwrap();
    let last = bytes.len() - 1000;
    bytes[last] ^= 1;
    fs::write(&path, bytes).unwrap();
    assert!(resumed(folder.path()).message.contains("not those that were saved"));
}

#[test]
fn a_run_of_another_program_is_refused_with_the_difference() {
    let folder = short_run();
    let mut other = manifest();
    other.spec_hash = "def".into();
    other.spec[1] = "batch 16".into();
    let error = train(&mut program_of(other), &resume(folder.path()), &mut Silent).unwrap_err();
    assert!(
        error.message.contains("run:     batch 32") && error.message.contains("program: batch 16"),
        "{error}"
    );
    let seed = TrainOptions { seed: Some(8), ..resume(folder.path()) };
    assert!(train(&mut program(), &seed, &mut Silent).unwrap_err().message.contains("seed 7"));
}

#[test]
fn a_folder_with_a_run_is_not_overwritten() {
    let folder = short_run();
    let error = train(&mut program(), &out(folder.path()), &mut Silent).unwrap_err();
    assert!(error.message.contains("already holds a run") && error.help.unwrap().contains("--resume"));
}

#[test]
fn a_folder_that_cannot_be_written_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    fs::write(&file, "").unwrap();
    let error = train(&mut program(), &out(&file.join("run")), &mut Silent).unwrap_err();
    assert!(error.message.contains("file/run"), "{error}");
    // A folder in the way of the file that is written aside, as root may write anywhere else.
    let blocked = short_run();
    let before = fs::read(blocked.path().join("state.safetensors")).unwrap();
    fs::create_dir(blocked.path().join("state.safetensors.tmp")).unwrap();
    let error = resumed(blocked.path());
    assert!(error.message.contains("state.safetensors"), "{error}");
    assert_eq!(fs::read(blocked.path().join("state.safetensors")).unwrap(), before);
}

#[test]
fn a_full_disk_costs_nothing_that_was_saved() {
    let folder = short_run();
    let before = fs::read(folder.path().join("state.safetensors")).unwrap();
    // No file may grow beyond four blocks of 512 bytes (1024 in some shells): less than the state needs.
    let output = command(folder.path(), 4, "ulimit -f 4;").stderr(Stdio::piped()).output().unwrap();
    let message = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{message}");
    let place = folder.path().display().to_string();
    assert!(message.contains(&format!("cannot write {place}")) && message.contains("too large"), "{message}");
    assert_eq!(fs::read(folder.path().join("state.safetensors")).unwrap(), before);
    assert!(!folder.path().join("state.safetensors.tmp").exists());
    train(&mut program(), &resume(folder.path()), &mut Silent).expect("it goes on when there is room");
}

#[test]
fn weights_of_another_network_are_named() {
    let folder = short_run();
    let weights = |name: &str| TrainOptions { weights: Some(folder.path().join(name)), ..common::options() };
    let refused = |manifest, options: &TrainOptions| {
        train(&mut program_of(manifest), options, &mut Silent).expect_err("refused").message
    };
    let mut renamed = manifest();
    renamed.tensors[0].name = "out.dense.V".into();
    assert!(refused(renamed, &weights("last.safetensors")).contains("lacks out.dense.V"));
    assert!(refused(manifest(), &weights("state.safetensors")).contains("holds state.v.out.dense.W"));
    let mut misshapen = manifest();
    misshapen.tensors[0].shape = vec![64, 10];
    assert!(refused(misshapen, &weights("last.safetensors")).contains("shape [10, 64], not [64, 10]"));
    assert!(refused(manifest(), &weights("run.json")).contains("run.json"));
    let mut fewer = manifest();
    fewer.tensors.remove(1);
    let saved = tempfile::tempdir().unwrap();
    train(&mut program_of(fewer), &TrainOptions { steps: Some(1), ..out(saved.path()) }, &mut Silent)
        .unwrap();
    let without = TrainOptions {
        weights: Some(saved.path().join("last.safetensors")),
        steps: Some(1),
        ..common::options()
    };
    train(&mut program(), &without, &mut Silent).expect("running statistics start afresh");
}
