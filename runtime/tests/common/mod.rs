//! A program written by hand in place of a compiled one: softmax regression on the digits, with momentum.
#![allow(dead_code, reason = "every test file takes what it needs")]

use std::path::Path;

use blk_runtime::manifest::*;
use blk_runtime::{Program, TrainOptions};

pub const BATCH: usize = 32;
pub const PIXELS: usize = 64;
pub const CLASSES: usize = 10;

const INPUT: usize = 0;
const TARGET: usize = 8192;
const STEP: usize = 8320;
const SEED: [usize; 2] = [8328, 8332];
const LOSS: usize = 8336;
const ACCURACY: usize = 8340;
const TIME: usize = 8344;
const TOTAL_TIME: usize = 8352;
const MULTIPLIER: usize = 8360;
const RATE: usize = 8368;
const MOMENTUM: usize = 8376;
const SAMPLE_LOSS: usize = 8448;
const SAMPLE_HIT: usize = 8576;
const OUTPUT: usize = 8704;
const WEIGHT: usize = 9984;
const VELOCITY: usize = 12544;
const SEEN: usize = 15104;
const FACTOR: usize = 15108;
const ARENA: usize = 15360;

unsafe fn floats<'a>(base: *mut u8, offset: usize, len: usize) -> &'a mut [f32] {
    unsafe { std::slice::from_raw_parts_mut(base.add(offset).cast(), len) }
}

unsafe fn double<'a>(base: *mut u8, offset: usize) -> &'a mut f64 {
    unsafe { &mut *base.add(offset).cast() }
}

/// Initial weights, a function of the seed.
unsafe extern "C" fn init(base: *mut u8, _: u32, _: *mut u8) {
    let seed = unsafe { *base.add(SEED[0]).cast::<u32>() };
    let weight = unsafe { floats(base, WEIGHT, CLASSES * PIXELS) };
    for (index, weight) in weight.iter_mut().enumerate() {
        let bits = (index as u32 + 1).wrapping_mul(2_654_435_761) ^ seed.wrapping_mul(40_503);
        *weight = (bits % 1000) as f32 / 5e4 - 0.01;
    }
}

/// One sample: logits, loss, hit; in the logits' place what is passed back.
unsafe fn forward(base: *mut u8, task: u32, gradient: bool) {
    unsafe {
        let at = task as usize;
        let x = floats(base, INPUT + 4 * at * PIXELS, PIXELS);
        let weight = floats(base, WEIGHT, CLASSES * PIXELS);
        let label = *base.add(TARGET + 4 * at).cast::<i32>() as usize;
        let z = floats(base, OUTPUT + 4 * at * CLASSES, CLASSES);
        for (z, row) in z.iter_mut().zip(weight.chunks_exact(PIXELS)) {
            *z = row.iter().zip(&*x).map(|(w, x)| w * x).sum();
        }
        let top = z.iter().copied().fold(f32::MIN, f32::max);
        let sum: f32 = z.iter().map(|z| (z - top).exp()).sum();
        floats(base, SAMPLE_LOSS, BATCH)[at] = sum.ln() + top - z[label];
        floats(base, SAMPLE_HIT, BATCH)[at] = f32::from(u8::from(z[label] == top));
        if gradient {
            z.iter_mut().for_each(|z| *z = (*z - top).exp() / sum);
            z[label] -= 1.0;
        }
    }
}

unsafe extern "C" fn train_forward(base: *mut u8, task: u32, _: *mut u8) {
    unsafe { forward(base, task, true) }
}

unsafe extern "C" fn eval_forward(base: *mut u8, task: u32, _: *mut u8) {
    unsafe { forward(base, task, false) }
}

/// One class: the gradient of its weights, and their update.
unsafe extern "C" fn update(base: *mut u8, task: u32, scratch: *mut u8) {
    unsafe {
        let class = task as usize;
        let gradient = floats(scratch, 0, PIXELS);
        gradient.fill(0.0);
        for sample in 0..BATCH {
            let error = floats(base, OUTPUT, BATCH * CLASSES)[sample * CLASSES + class] / BATCH as f32;
            let x = floats(base, INPUT + 4 * sample * PIXELS, PIXELS);
            gradient.iter_mut().zip(x).for_each(|(g, x)| *g += error * *x);
        }
        let (rate, momentum) = (*double(base, RATE) as f32, *double(base, MOMENTUM) as f32);
        let weight = floats(base, WEIGHT + 4 * class * PIXELS, PIXELS);
        let velocity = floats(base, VELOCITY + 4 * class * PIXELS, PIXELS);
        for ((w, v), g) in weight.iter_mut().zip(velocity).zip(gradient) {
            *v = momentum * *v + *g;
            *w -= rate * *v;
        }
    }
}

/// Mean loss, fraction of hits, and a statistic that knows how many steps it has seen.
unsafe extern "C" fn summary(base: *mut u8, _: u32, _: *mut u8) {
    unsafe {
        let mean = |offset| floats(base, offset, BATCH).iter().sum::<f32>() / BATCH as f32;
        floats(base, LOSS, 1)[0] = mean(SAMPLE_LOSS);
        floats(base, ACCURACY, 1)[0] = mean(SAMPLE_HIT);
        floats(base, SEEN, 1)[0] += *double(base, STEP) as f32;
        floats(base, FACTOR, 1)[0] = 0.5;
    }
}

/// Falls to half linearly.
unsafe extern "C" fn schedule(base: *mut u8, _: u32, _: *mut u8) {
    unsafe { *double(base, MULTIPLIER) = 1.0 - 0.5 * *double(base, TIME) / *double(base, TOTAL_TIME) }
}

/// Its levels: samples, classes, and one task.
unsafe extern "C" fn train(base: *mut u8, task: u32, scratch: *mut u8) {
    const UPDATE: u32 = BATCH as u32;
    const SUMMARY: u32 = UPDATE + CLASSES as u32;
    unsafe {
        match task {
            ..UPDATE => train_forward(base, task, scratch),
            UPDATE..SUMMARY => update(base, task - UPDATE, scratch),
            _ => summary(base, task - SUMMARY, scratch),
        }
    }
}

fn lookup(symbol: &str) -> Option<RoutineFn> {
    match symbol {
        "init" => Some(init),
        "train" => Some(train),
        "eval" => Some(eval_forward),
        "schedule" => Some(schedule),
        _ => None,
    }
}

fn level(label: &str, tasks: usize, pass: &str) -> Level {
    let group = Group {
        label: label.into(),
        tasks,
        block: Some(0),
        pass: pass.into(),
        bytes_read: 40,
        bytes_written: 8,
    };
    Level { serial: tasks == 1, groups: vec![group], exchanges: vec![], probes: vec![] }
}

fn tensor(name: &str, kind: TensorKind, role: &str, shape: &[usize], offset: usize) -> Tensor {
    Tensor { name: name.into(), kind, role: role.into(), shape: shape.to_vec(), order: vec![], offset }
}

fn routines() -> Vec<Routine> {
    let routine = |name: &str, levels: Vec<Level>| Routine { name: name.into(), symbol: name.into(), levels };
    let train = vec![
        level("train_forward", BATCH, "forward"),
        level("update", CLASSES, "update"),
        level("summary", 1, ""),
    ];
    vec![
        routine("init", vec![level("init", 1, "")]),
        routine("train", train),
        routine("eval", vec![level("eval_forward", BATCH, "forward")]),
        routine("schedule", vec![level("schedule", 1, "")]),
    ]
}

pub fn manifest() -> Manifest {
    let weights = [CLASSES, PIXELS];
    Manifest {
        format: FORMAT,
        compiler: "0.1.0".into(),
        network: "softmax".into(),
        spec_hash: "abc".into(),
        spec: vec!["network softmax".into(), "batch 32".into()],
        target: Target { triple: format!("{}-unknown-linux-gnu", std::env::consts::ARCH), features: vec![] },
        batch: BATCH,
        ranks: Ranks::Alone,
        accumulate: 1,
        precision: "f32".into(),
        kernels: "f32 by hand".into(),
        input_shape: vec![PIXELS],
        task: Task::Class { classes: CLASSES },
        softmax: true,
        arena_bytes: ARENA,
        scratch_bytes: 4 * PIXELS,
        routines: routines(),
        tensors: vec![
            tensor("out.dense.W", TensorKind::Parameter, "weight", &weights, WEIGHT),
            tensor("out.seen", TensorKind::Statistic, "", &[], SEEN),
            tensor("state.v.out.dense.W", TensorKind::State, "", &weights, VELOCITY),
        ],
        scalars: Scalars {
            input: INPUT,
            target: TARGET,
            step: STEP,
            seed: SEED,
            share: None,
            first_sample: None,
            loss: LOSS,
            accuracy: Some(ACCURACY),
            sample_loss: SAMPLE_LOSS,
            sample_hit: Some(SAMPLE_HIT),
            output: OUTPUT,
            time: TIME,
            total_time: TOTAL_TIME,
            multiplier: MULTIPLIER,
        },
        hypers: vec![
            Hyper { name: "lr".into(), value: 0.05, offset: RATE },
            Hyper { name: "momentum".into(), value: 0.9, offset: MOMENTUM },
        ],
        blocks: vec![Block {
            name: "out".into(),
            m_z: Some(FACTOR),
            m: None,
            m_w: vec![("dense.W".into(), FACTOR)],
            flops_forward: 40_960,
            flops_backward: 40_960,
        }],
        optimizer: "momentum".into(),
        defaults: Defaults {
            data: Some("digits".into()),
            epochs: 4,
            seed: 7,
            normalize: true,
            augment: vec![],
            validation: None,
            patience: None,
            checkpoint: None,
        },
    }
}

pub fn program_of(manifest: Manifest) -> Program {
    // SAFETY: the functions above fit every manifest that keeps the layout of `manifest()`.
    unsafe { Program::new(manifest, lookup) }.expect("a sound program")
}

pub fn program() -> Program {
    program_of(manifest())
}

/// Two threads, as quick as may be.
pub fn options() -> TrainOptions {
    TrainOptions { threads: Some(2), log_every: Some(10), ..TrainOptions::default() }
}

pub fn out(folder: &Path) -> TrainOptions {
    TrainOptions { out: Some(folder.to_path_buf()), ..options() }
}

pub fn resume(folder: &Path) -> TrainOptions {
    TrainOptions { resume: Some(folder.to_path_buf()), ..options() }
}
