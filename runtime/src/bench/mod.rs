//! Times training steps on synthetic data.

mod compare;
mod report;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use clap::Args;
use serde::Serialize;

use crate::busy::Watch;
use crate::clock::Clock;
use crate::data::{self, Wanted};
use crate::manifest::{Block, Defaults, Group, Manifest, Outline};
use crate::pool::Pool;
use crate::program::{Program, RoutineId, TRAIN, UPDATE};
use crate::settings::{LEARNING_RATE, Settings};
use crate::{Error, bandwidth, batch, peak, resident, train};

pub use compare::Comparison;
pub use report::{BlockTimes, Machine, Peaks, Report};

/// Run-time choices of `bench`.
#[derive(Args, Clone, Debug, Default)]
pub struct BenchOptions {
    /// Steps to time (default: as many as fit in two seconds, at least 20)
    #[arg(long, value_name = "N")]
    pub steps: Option<u64>,
    /// Threads (default: all that this machine has)
    #[arg(long, value_name = "N")]
    pub threads: Option<usize>,
    /// Compare with a run that was saved by --format json > FILE
    #[arg(long, value_name = "FILE")]
    pub compare: Option<PathBuf>,
}

/// What a run of `bench` found.
pub struct Outcome {
    pub report: Report,
    /// The saved run, and how this one compares with it.
    pub compared: Option<(Report, Comparison)>,
}

const BUDGET: Duration = Duration::from_secs(2);
const WARM_UP: Duration = Duration::from_millis(300);
const LEAST_STEPS: u64 = 20;
/// Steps of the run in which groups of tasks are timed one by one.
const PROFILED_STEPS: usize = 10;

/// Times the program's steps; `compile_ms` are the milliseconds from source to runnable code, zero for a built program.
pub fn bench(program: &mut Program, options: &BenchOptions, compile_ms: f64) -> Result<Outcome, Error> {
    if options.threads == Some(0) || options.steps == Some(0) {
        return Err(Error::usage("bench needs at least one thread and one step"));
    }
    let before = options.compare.as_deref().map(compare::read).transpose()?;
    let threads = options.threads.unwrap_or_else(Pool::available);
    let resident = resident::Watch::start();
    let mut pool = Pool::new(threads, program.manifest().scratch_bytes)?;
    prepare(program, &mut pool)?;
    let watch = Watch::start();
    let times = time_steps(program, &mut pool, options.steps)?;
    let used = resident.and_then(|resident| resident.peak());
    let mut warnings = Vec::new();
    if let Some(cores) = watch.and_then(|watch| watch.others()) {
        warnings.push(format!("other processes kept {cores:.1} cores busy; the times are not reliable"));
    }
    let profile = profile(program, &mut pool)?;
    let memory = program.manifest().arena_bytes + pool.scratch_bytes();
    let peaks = peaks(threads)?;
    let report = Report {
        compile_ms,
        threads,
        peak_bytes: memory,
        warnings,
        used_bytes: used,
        ..report(program.manifest(), &times, peaks, profile)
    };
    let compared = before.map(|before| {
        let comparison = compare::compare(&before, &report);
        (before, comparison)
    });
    Ok(Outcome { report, compared })
}

impl Outcome {
    /// For a person.
    pub fn text(&self) -> String {
        let compared = self.compared.as_ref();
        let compared = compared.map(|(before, comparison)| comparison.text(before, &self.report));
        self.report.text() + &compared.unwrap_or_default()
    }

    /// The report, with `comparison` where there is one.
    pub fn json(&self) -> Result<String, Error> {
        #[derive(Serialize)]
        struct Both<'a> {
            #[serde(flatten)]
            report: &'a Report,
            #[serde(skip_serializing_if = "Option::is_none")]
            comparison: Option<&'a Comparison>,
        }
        let comparison = self.compared.as_ref().map(|(_, comparison)| comparison);
        serde_json::to_string_pretty(&Both { report: &self.report, comparison })
            .map_err(|cause| Error::new(format!("cannot write the report: {cause}")))
    }
}

fn peaks(threads: usize) -> Result<Peaks, Error> {
    let memory = bandwidth::measure(threads)?;
    Ok(Peaks {
        f32_gflops: peak::measure_gflops(threads),
        bf16_gflops: peak::measure_bf16_gflops(threads),
        copy_gb_per_s: memory.copy,
        read_gb_per_s: memory.read,
    })
}

/// Initial weights and one batch. The learning rate is zero: every step then does the same work on the same numbers,
/// however long they run.
fn prepare(program: &mut Program, pool: &mut Pool) -> Result<(), Error> {
    let Defaults { seed, .. } = program.manifest().defaults;
    let hypers = program.manifest().hypers.iter().map(|hyper| (hyper.name.clone(), hyper.value));
    let mut settings = Settings { data: None, epochs: 1, seed, shuffle: false, hypers: hypers.collect() };
    settings.hypers.entry(LEARNING_RATE.to_string()).and_modify(|rate| *rate = 0.0);
    train::initialize(program, &settings, pool)?;
    let batch = program.manifest().batch;
    let samples = data::synthetic(batch, &Wanted::by(&Outline::from(program.manifest())))?;
    batch::fill(program, &samples, &(0..batch as u32).collect::<Vec<_>>());
    Clock::new(program, &settings, 1).set(program, pool, 0);
    Ok(())
}

/// What is timed as a step: one batch, and its update.
fn routines(program: &Program) -> Result<Vec<RoutineId>, Error> {
    Ok([Some(program.required(TRAIN)?), program.routine(UPDATE)].into_iter().flatten().collect())
}

/// Seconds of each step, sorted.
fn time_steps(program: &mut Program, pool: &mut Pool, steps: Option<u64>) -> Result<Vec<f64>, Error> {
    let routines = routines(program)?;
    let warm = Instant::now();
    let mut warm_steps = 0;
    while warm_steps < 3 || (warm.elapsed() < WARM_UP && steps.is_none_or(|steps| warm_steps < steps)) {
        routines.iter().for_each(|routine| program.run(*routine, pool));
        warm_steps += 1;
    }
    let mut times = Vec::new();
    let began = Instant::now();
    let enough = |done: u64| match steps {
        Some(steps) => done >= steps,
        None => done >= LEAST_STEPS && began.elapsed() >= BUDGET,
    };
    while !enough(times.len() as u64) {
        let start = Instant::now();
        routines.iter().for_each(|routine| program.run(*routine, pool));
        times.push(start.elapsed().as_secs_f64());
    }
    times.sort_by(f64::total_cmp);
    Ok(times)
}

/// Times by block and pass, and what belongs to none.
struct Profile {
    blocks: Vec<BlockTimes>,
    other_ms: f64,
    bytes_moved: u64,
}

/// Time of every block and pass, from runs in which the groups of tasks go one after the other.
fn profile(program: &mut Program, pool: &mut Pool) -> Result<Profile, Error> {
    let manifest = program.manifest();
    let named = |block: &Block| BlockTimes { name: block.name.clone(), ..BlockTimes::default() };
    let mut profile =
        Profile { blocks: manifest.blocks.iter().map(named).collect(), other_ms: 0.0, bytes_moved: 0 };
    for routine in routines(program)? {
        let mut seconds = Vec::new();
        for _ in 0..PROFILED_STEPS {
            program.run_timed(routine, pool, &mut seconds);
        }
        let groups = program.levels(routine).iter().flat_map(|level| &level.groups);
        for (group, seconds) in groups.zip(&seconds) {
            profile.add(group, seconds / PROFILED_STEPS as f64 * 1e3);
        }
    }
    for (times, block) in profile.blocks.iter_mut().zip(&program.manifest().blocks) {
        let gflops = |flops: u64, ms: f64| if ms > 0.0 { flops as f64 / ms / 1e6 } else { 0.0 };
        times.forward_gflops = gflops(block.flops_forward, times.forward_ms);
        times.backward_gflops = gflops(block.flops_backward, times.backward_ms);
    }
    Ok(profile)
}

impl Profile {
    fn add(&mut self, group: &Group, milliseconds: f64) {
        let moved = group.bytes_read + group.bytes_written;
        self.bytes_moved += moved;
        let Some(block) = group.block.and_then(|block| self.blocks.get_mut(block as usize)) else {
            self.other_ms += milliseconds;
            return;
        };
        block.bytes_moved += moved;
        match group.pass.as_str() {
            "backward" => block.backward_ms += milliseconds,
            "update" => block.update_ms += milliseconds,
            _ => block.forward_ms += milliseconds,
        }
    }
}

fn report(manifest: &Manifest, times: &[f64], peaks: Peaks, profile: Profile) -> Report {
    let quantile =
        |q: f64| times.get(((times.len() as f64 - 1.0) * q).round() as usize).map_or(0.0, |s| s * 1e3);
    let median = quantile(0.5);
    let flops: u64 = manifest.blocks.iter().map(|block| block.flops_forward + block.flops_backward).sum();
    let gflops = flops as f64 / median.max(1e-9) / 1e6;
    let half = peaks.bf16_gflops.filter(|_| manifest.precision == "bf16");
    let peak_gflops = half.unwrap_or(peaks.f32_gflops);
    Report {
        network: manifest.network.clone(),
        batch: manifest.batch,
        precision: manifest.precision.clone(),
        kernels: manifest.kernels.clone(),
        machine: machine(manifest),
        threads: 0,
        compile_ms: 0.0,
        ms_per_step: median,
        ms_min: quantile(0.0),
        ms_p95: quantile(0.95),
        samples_per_s: manifest.batch as f64 / median.max(1e-9) * 1e3,
        gflops,
        peak_gflops,
        share_of_peak: if peak_gflops > 0.0 { gflops / peak_gflops } else { 0.0 },
        bytes_moved: profile.bytes_moved,
        peak_bytes: 0,
        used_bytes: None,
        peaks,
        blocks: profile.blocks,
        other_ms: profile.other_ms,
        warnings: Vec::new(),
    }
}

fn machine(manifest: &Manifest) -> Machine {
    let text = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let name = text.lines().find_map(|line| line.strip_prefix("model name"));
    let name = name.map(|rest| rest.trim_start_matches([' ', '\t', ':']).to_string());
    Machine {
        processor: name.unwrap_or_else(|| std::env::consts::ARCH.into()),
        cores: Pool::available(),
        triple: manifest.target.triple.clone(),
        features: manifest.target.features.clone(),
    }
}
