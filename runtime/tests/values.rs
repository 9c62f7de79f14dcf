//! A network whose target is values: evaluation, and a last batch that is not full.

mod common;

use std::fs::File;

use blk_runtime::manifest::*;
use blk_runtime::progress::result_lines;
use blk_runtime::report::Silent;
use blk_runtime::{Program, TrainOptions, train};
use common::{manifest, options};
use ndarray::Array2;
use ndarray_npy::NpzWriter;

const INPUT: usize = 0;
const OUTPUT: usize = 32;
const SAMPLE_LOSS: usize = 64;

unsafe extern "C" fn nothing(_: *mut u8, _: u32, _: *mut u8) {}

/// The output is the input; the loss of a sample is its first input.
unsafe extern "C" fn eval(base: *mut u8, task: u32, _: *mut u8) {
    unsafe {
        let at = |offset: usize| base.add(offset).cast::<f32>();
        for entry in [2 * task as usize, 2 * task as usize + 1] {
            *at(OUTPUT).add(entry) = *at(INPUT).add(entry);
        }
        *at(SAMPLE_LOSS).add(task as usize) = *at(INPUT).add(2 * task as usize);
    }
}

fn routine(name: &str, tasks: usize) -> Routine {
    let group = Group {
        label: name.into(),
        tasks,
        block: None,
        pass: "forward".into(),
        bytes_read: 0,
        bytes_written: 0,
    };
    Routine {
        name: name.into(),
        symbol: name.into(),
        levels: vec![Level { serial: false, groups: vec![group], exchanges: vec![], probes: vec![] }],
    }
}

/// Batches of four samples of two inputs and two targets.
fn program() -> Program {
    let scalars = Scalars {
        input: INPUT,
        target: 96,
        output: OUTPUT,
        sample_loss: SAMPLE_LOSS,
        loss: 80,
        share: None,
        first_sample: None,
        accuracy: None,
        sample_hit: None,
        seed: [84, 88],
        step: 128,
        time: 136,
        total_time: 144,
        multiplier: 152,
    };
    let manifest = Manifest {
        batch: 4,
        ranks: Ranks::Alone,
        input_shape: vec![2],
        task: Task::Float { size: 2 },
        softmax: false,
        arena_bytes: 160,
        routines: vec![routine("init", 1), routine("train", 1), routine("eval", 4)],
        tensors: vec![],
        hypers: vec![],
        blocks: vec![],
        scalars,
        ..manifest()
    };
    // SAFETY: the functions keep to the layout above.
    unsafe {
        Program::new(manifest, |symbol| Some(if symbol == "eval" { eval as RoutineFn } else { nothing }))
    }
    .unwrap()
}

#[test]
fn the_error_is_averaged_over_the_samples_that_there_are() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("d.npz");
    let mut npz = NpzWriter::new(File::create(&path).unwrap());
    let inputs = Array2::from_shape_fn((5, 2), |(sample, entry)| (sample + entry) as f32);
    npz.add_array("x_train", &inputs).unwrap();
    npz.add_array("y_train", &inputs).unwrap();
    npz.add_array("x_test", &inputs).unwrap();
    // One entry of ten is off by 3.
    let mut targets = inputs.mapv(f64::from);
    targets[[4, 1]] += 3.0;
    npz.add_array("y_test", &targets).unwrap();
    npz.finish().unwrap();
    let data = Some(format!("npz:{}", path.display()));
    let outcome = train(&mut program(), &TrainOptions { data, ..options() }, &mut Silent).unwrap();
    let test = outcome.test.unwrap();
    assert_eq!((test.loss, test.accuracy, test.samples), (2.0, None, 5));
    assert!((test.rmse.unwrap() - (0.9f64).sqrt()).abs() < 1e-12, "{test:?}");
    assert_eq!(result_lines(&outcome), ["test loss: 2.0000", "test rmse: 0.9487"]);
    // One batch of four in an epoch, the fifth sample is left out.
    assert_eq!(outcome.steps, 4);
}
