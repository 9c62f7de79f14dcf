//! A run from its first step to its files, on real data.

mod common;

use std::fs;
use std::path::Path;

use blk_runtime::bench::{BenchOptions, bench};
use blk_runtime::data::augment::Augmentation;
use blk_runtime::manifest::{Defaults, FORMAT, Manifest};
use blk_runtime::metrics::{Kind, Record};
use blk_runtime::program::Program;
use blk_runtime::progress::result_lines;
use blk_runtime::report::{Outcome, Silent};
use blk_runtime::{Error, TrainOptions, train};
use common::{manifest, options, out, program, program_of, resume};

fn run(options: &TrainOptions) -> Result<Outcome, Error> {
    train(&mut program(), options, &mut Silent)
}

fn weights(folder: &Path) -> Vec<u8> {
    fs::read(folder.join("last.safetensors")).unwrap()
}

fn records(folder: &Path) -> Vec<Record> {
    let text = fs::read_to_string(folder.join("metrics.jsonl")).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Everything about a record that does not depend on the clock.
fn timeless(records: Vec<Record>) -> Vec<Record> {
    records.into_iter().map(|record| Record { samples_per_s: 0.0, ..record }).collect()
}

#[test]
fn digits_are_learned() {
    let folder = tempfile::tempdir().unwrap();
    let outcome = run(&out(folder.path())).unwrap();
    let accuracy = outcome.test.unwrap().accuracy.unwrap();
    assert!(accuracy > 0.93, "test accuracy {accuracy}");
    assert_eq!(result_lines(&outcome).pop().unwrap(), format!("test accuracy: {accuracy:.4}"));
    let records = records(folder.path());
    let epochs: Vec<&Record> = records.iter().filter(|record| record.kind == Kind::Epoch).collect();
    assert_eq!(epochs.iter().map(|record| record.step).collect::<Vec<_>>(), [44, 88, 132, 176]);
    assert_eq!(epochs[3].test_accuracy, Some(accuracy));
    assert!(epochs[3].loss < epochs[0].loss && epochs[3].lr.unwrap() < 0.03);
    assert_eq!(epochs[0].blocks["out"].m_w["dense.W"], 0.5);
    for file in ["best.safetensors", "state.safetensors", "run.json"] {
        assert!(folder.path().join(file).exists(), "{file}");
    }
}

#[test]
fn threads_do_not_change_a_bit() {
    let folders = [1, 2, 3].map(|threads| {
        let folder = tempfile::tempdir().unwrap();
        run(&TrainOptions { threads: Some(threads), steps: Some(50), ..out(folder.path()) }).unwrap();
        folder
    });
    assert_eq!(weights(folders[0].path()), weights(folders[1].path()));
    assert_eq!(weights(folders[0].path()), weights(folders[2].path()));
}

#[test]
fn a_run_that_stopped_anywhere_goes_on_to_the_same_bits() {
    let (whole, parts) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    run(&out(whole.path())).unwrap();
    run(&TrainOptions { steps: Some(20), ..out(parts.path()) }).unwrap();
    for steps in [44, 70, 132] {
        run(&TrainOptions { steps: Some(steps), ..resume(parts.path()) }).unwrap();
    }
    let outcome = run(&resume(parts.path())).unwrap();
    assert_eq!(outcome.steps, 176);
    for file in ["last.safetensors", "best.safetensors", "state.safetensors", "run.json"] {
        let read = |folder: &Path| fs::read(folder.join(file)).unwrap();
        assert!(read(whole.path()) == read(parts.path()), "{file} differs");
    }
    assert_eq!(timeless(records(whole.path())), timeless(records(parts.path())));
}

#[test]
fn seed_order_and_numbers_matter() {
    let results = [
        options(),
        TrainOptions { seed: Some(8), ..options() },
        TrainOptions { no_shuffle: true, ..options() },
        TrainOptions { lr: Some(0.01), ..options() },
        TrainOptions { set: vec![("momentum".into(), 0.5)], ..options() },
    ]
    .map(|options| run(&TrainOptions { steps: Some(5), ..options }).unwrap().loss.unwrap());
    for other in &results[1..] {
        assert_ne!(results[0], *other);
    }
}

#[test]
fn weights_are_evaluated_as_they_were_saved() {
    let folder = tempfile::tempdir().unwrap();
    let trained = run(&out(folder.path())).unwrap();
    let file = folder.path().join("last.safetensors");
    let evaluate = TrainOptions { eval_only: true, weights: Some(file), ..options() };
    assert_eq!(run(&evaluate).unwrap().test, trained.test);
    let from_run = TrainOptions { eval_only: true, ..resume(folder.path()) };
    assert_eq!(run(&from_run).unwrap().test, trained.test);
    let nothing = TrainOptions { eval_only: true, ..options() };
    assert!(run(&nothing).unwrap_err().usage);
}

#[test]
fn a_loss_that_is_not_finite_stops_the_run_and_keeps_what_was_saved() {
    let folder = tempfile::tempdir().unwrap();
    run(&TrainOptions { steps: Some(44), ..out(folder.path()) }).unwrap();
    let before = fs::read(folder.path().join("state.safetensors")).unwrap();
    let error = run(&TrainOptions { lr: Some(1e39), ..resume(folder.path()) }).unwrap_err();
    assert!(error.message.contains("the loss of step 4") && error.message.contains("out.dense.W"), "{error}");
    assert!(error.help.unwrap().contains("keeps the last good state"));
    assert_eq!(fs::read(folder.path().join("state.safetensors")).unwrap(), before);
}

#[test]
fn options_that_cannot_be_are_refused() {
    for (options, part) in [
        (TrainOptions { set: vec![("speed".into(), 1.0)], ..options() }, "no `speed`"),
        (TrainOptions { threads: Some(0), ..options() }, "at least one thread"),
        (TrainOptions { data: Some("digit".into()), ..options() }, "unknown data `digit`"),
    ] {
        let error = run(&options).unwrap_err();
        assert!(error.usage && error.message.contains(part), "{error}");
    }
}

#[test]
fn data_that_does_not_fit_is_refused_before_anything_is_written() {
    let folder = tempfile::tempdir().unwrap();
    let target = folder.path().join("run");
    let narrow = Manifest { input_shape: vec![63], ..manifest() };
    let error = train(&mut program_of(narrow), &out(&target), &mut Silent).unwrap_err();
    assert!(error.message.contains("[8, 8]") && error.message.contains("[63]"), "{error}");
    assert!(!target.exists());
}

#[test]
fn damaged_programs_are_refused() {
    let refused = |manifest| {
        // SAFETY: no function is ever run.
        unsafe { Program::new(manifest, |_| None) }.err().expect("an error").message
    };
    let mut other = manifest();
    other.format = FORMAT + 1;
    assert!(refused(other).contains("format"));
    let mut beyond = manifest();
    beyond.tensors[0].offset = 1 << 40;
    assert!(refused(beyond).contains("out.dense.W lies outside"));
    let mut halved = manifest();
    halved.accumulate = 2;
    assert!(refused(halved).contains("2 batches a step"));
    assert!(refused(manifest()).contains("no function `init`"));
}

#[test]
fn bench_reports_its_keys() {
    let options = BenchOptions { steps: Some(30), threads: Some(2), compare: None };
    let outcome = bench(&mut program(), &options, 12.5).unwrap();
    let report = &outcome.report;
    assert!(
        report.ms_min > 0.0 && report.ms_min <= report.ms_per_step && report.ms_per_step <= report.ms_p95
    );
    assert!((report.share_of_peak * report.peaks.f32_gflops - report.gflops).abs() < 1e-9);
    let groups = manifest()
        .routines
        .iter()
        .filter(|routine| routine.name == "train")
        .flat_map(|routine| routine.levels.clone())
        .map(|level| level.groups.len() as u64)
        .sum::<u64>();
    assert_eq!(report.bytes_moved, 48 * groups, "what the manifest says of each group");
    assert!(report.blocks[0].forward_ms > 0.0 && report.blocks[0].update_ms > 0.0);
    let json: serde_json::Value = serde_json::from_str(&outcome.json().unwrap()).unwrap();
    for key in ["network", "batch", "precision", "threads", "compile_ms", "samples_per_s", "peak_bytes"] {
        assert!(!json[key].is_null(), "{key}");
    }
    assert!(report.text().contains("backward"));
}

/// The program with a validation split, whose run ends when the validation loss has not fallen for two epochs.
fn patient() -> Manifest {
    let mut manifest = manifest();
    manifest.defaults =
        Defaults { validation: Some(0.25), patience: Some(2), epochs: 60, ..manifest.defaults.clone() };
    // Steps too long for the loss to fall for ever.
    manifest.hypers[0].value = 0.3;
    manifest
}

fn validation_losses(records: &[Record]) -> Vec<f64> {
    records.iter().filter_map(|record| record.validation_loss).collect()
}

/// Epochs since the smallest number.
fn since_least(losses: &[f64]) -> usize {
    let least = losses.iter().copied().fold(f64::INFINITY, f64::min);
    losses.len() - 1 - losses.iter().position(|loss| *loss == least).expect("a loss")
}

#[test]
fn a_run_ends_when_the_validation_loss_has_not_fallen_for_long_enough() {
    let folder = tempfile::tempdir().unwrap();
    let outcome = train(&mut program_of(patient()), &out(folder.path()), &mut Silent).unwrap();
    assert_eq!((outcome.stopped_early, outcome.interrupted), (Some(2), false));
    let records = records(folder.path());
    let losses = validation_losses(&records);
    assert!(losses.len() < 60 && since_least(&losses) == 2, "{losses:?}");
    assert!((1..losses.len()).all(|epochs| since_least(&losses[..epochs]) < 2), "{losses:?}");
    assert_eq!(outcome.validation.unwrap().loss, losses[losses.len() - 1]);
    assert!(
        outcome.test.is_some() && result_lines(&outcome).iter().any(|line| line.starts_with("validation "))
    );
    // A quarter of 1437 is held back.
    assert_eq!(outcome.validation.unwrap().samples, 359);
    assert_eq!(outcome.steps, losses.len() as u64 * ((1437 - 359) / 32));
}

#[test]
fn a_run_that_ended_early_stays_ended_and_counts_over_interruptions() {
    let (whole, parts) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let run = |options: &TrainOptions| train(&mut program_of(patient()), options, &mut Silent).unwrap();
    let ended = run(&out(whole.path()));
    run(&TrainOptions { steps: Some(40), ..out(parts.path()) });
    for steps in (1..ended.steps).step_by(33) {
        run(&TrainOptions { steps: Some(steps), ..resume(parts.path()) });
    }
    assert_eq!(run(&resume(parts.path())).steps, ended.steps);
    let again = run(&TrainOptions { epochs: Some(100), ..resume(parts.path()) });
    assert_eq!((again.steps, again.stopped_early), (ended.steps, Some(2)));
    for file in ["last.safetensors", "best.safetensors", "state.safetensors"] {
        let read = |folder: &Path| fs::read(folder.join(file)).unwrap();
        assert!(read(whole.path()) == read(parts.path()), "{file} differs");
    }
    assert_eq!(timeless(records(whole.path())), timeless(records(parts.path())));
}

/// The best weights are those of the epoch that does best in validation, whatever the test set says.
#[test]
fn validation_chooses_the_best_weights() {
    let folder = tempfile::tempdir().unwrap();
    train(&mut program_of(patient()), &out(folder.path()), &mut Silent).unwrap();
    let accuracies: Vec<f64> =
        records(folder.path()).iter().filter_map(|record| record.validation_accuracy).collect();
    let best = accuracies.iter().copied().fold(0.0, f64::max);
    let file = folder.path().join("best.safetensors");
    let evaluate = TrainOptions { eval_only: true, weights: Some(file), ..options() };
    let outcome = train(&mut program_of(patient()), &evaluate, &mut Silent).unwrap();
    assert_eq!(outcome.validation.unwrap().accuracy, Some(best));
    assert!(accuracies.iter().any(|accuracy| *accuracy < best), "{accuracies:?}");
}

#[test]
fn only_images_are_augmented() {
    let mut flat = manifest();
    flat.defaults.augment = vec![Augmentation::FlipHorizontal];
    let error = train(&mut program_of(flat), &options(), &mut Silent).unwrap_err();
    assert!(error.message.contains("images"), "{error}");
}

/// Changed samples train, and the same ones for any number of threads and after any interruption.
#[test]
fn augmented_runs_go_on_to_the_same_bits() {
    let images = || {
        let mut manifest = manifest();
        manifest.input_shape = vec![1, 8, 8];
        manifest.defaults.augment = vec![Augmentation::PadCrop(1), Augmentation::Cutout(2)];
        manifest.defaults.checkpoint = Some(7);
        program_of(manifest)
    };
    let (plain, whole, parts) =
        (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    train(&mut program(), &out(plain.path()), &mut Silent).unwrap();
    train(&mut images(), &out(whole.path()), &mut Silent).unwrap();
    assert_ne!(weights(plain.path()), weights(whole.path()));
    let limited = |options| TrainOptions { threads: Some(1), steps: Some(61), ..options };
    train(&mut images(), &limited(out(parts.path())), &mut Silent).unwrap();
    train(&mut images(), &resume(parts.path()), &mut Silent).unwrap();
    assert_eq!(weights(whole.path()), weights(parts.path()));
    assert_eq!(timeless(records(whole.path())), timeless(records(parts.path())));
}
