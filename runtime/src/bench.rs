//! Times training steps on synthetic data.

use std::fmt::Write;
use std::time::{Duration, Instant};

use clap::Args;
use serde::{Deserialize, Serialize};

use crate::busy::Watch;
use crate::clock::Clock;
use crate::data::{self, Wanted};
use crate::manifest::{Defaults, Manifest, Outline};
use crate::pool::Pool;
use crate::program::{Program, RoutineId, TRAIN, UPDATE};
use crate::settings::{LEARNING_RATE, Settings};
use crate::{Error, batch, peak, resident, train};

/// Run-time choices of `bench`.
#[derive(Args, Clone, Debug, Default)]
pub struct BenchOptions {
    /// Steps to time (default: as many as fit in two seconds, at least 20)
    #[arg(long, value_name = "N")]
    pub steps: Option<u64>,
    /// Threads (default: all that this machine has)
    #[arg(long, value_name = "N")]
    pub threads: Option<usize>,
}

/// What the caller knows, or wants to have measured here.
#[derive(Clone, Copy, Debug, Default)]
pub struct Known {
    /// Milliseconds from source to runnable code; zero for a built program.
    pub compile_ms: f64,
    /// Billions of operations per second that the machine can do in this precision.
    pub peak_gflops: Option<f64>,
}

/// Times in milliseconds; the keys of `bench --format json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Report {
    pub network: String,
    pub batch: usize,
    pub precision: String,
    /// How matrices were multiplied, in words.
    #[serde(default)]
    pub kernels: String,
    pub threads: usize,
    pub compile_ms: f64,
    /// Median over the timed steps.
    pub ms_per_step: f64,
    pub ms_min: f64,
    pub ms_p95: f64,
    pub samples_per_s: f64,
    pub gflops: f64,
    pub peak_gflops: f64,
    /// Fraction of the peak, from 0 to 1.
    pub share_of_peak: f64,
    /// Memory that a step touches: arena and scratch.
    pub peak_bytes: usize,
    /// What the process used at its peak, while it prepared and timed steps, beyond what it used before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub used_bytes: Option<usize>,
    pub blocks: Vec<BlockTimes>,
    /// What makes the numbers doubtful.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct BlockTimes {
    pub name: String,
    pub forward_ms: f64,
    pub backward_ms: f64,
    pub update_ms: f64,
}

const BUDGET: Duration = Duration::from_secs(2);
const WARM_UP: Duration = Duration::from_millis(300);
const LEAST_STEPS: u64 = 20;
/// Steps of the run in which groups of tasks are timed one by one.
const PROFILED_STEPS: usize = 10;

pub fn bench(program: &mut Program, options: &BenchOptions, known: Known) -> Result<Report, Error> {
    if options.threads == Some(0) || options.steps == Some(0) {
        return Err(Error::usage("bench needs at least one thread and one step"));
    }
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
    let blocks = profile(program, &mut pool)?;
    let peak_gflops = known.peak_gflops.unwrap_or_else(|| peak::measure_gflops(threads));
    let memory = program.manifest().arena_bytes + pool.scratch_bytes();
    Ok(report(
        program.manifest(),
        &times,
        Known { peak_gflops: Some(peak_gflops), ..known },
        blocks,
        warnings,
    )
    .on(threads, memory, used))
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

/// Time of every block and pass, from runs in which the groups of tasks go one after the other.
fn profile(program: &mut Program, pool: &mut Pool) -> Result<Vec<BlockTimes>, Error> {
    let manifest = program.manifest();
    let named = |name: &String| BlockTimes { name: name.clone(), ..BlockTimes::default() };
    let mut blocks: Vec<BlockTimes> = manifest.blocks.iter().map(|block| named(&block.name)).collect();
    for routine in routines(program)? {
        let mut seconds = Vec::new();
        for _ in 0..PROFILED_STEPS {
            program.run_timed(routine, pool, &mut seconds);
        }
        let groups = program.levels(routine).iter().flat_map(|level| &level.groups);
        for (group, seconds) in groups.zip(&seconds) {
            let Some(block) = group.block.and_then(|block| blocks.get_mut(block as usize)) else { continue };
            let milliseconds = seconds / PROFILED_STEPS as f64 * 1e3;
            match group.pass.as_str() {
                "backward" => block.backward_ms += milliseconds,
                "update" => block.update_ms += milliseconds,
                _ => block.forward_ms += milliseconds,
            }
        }
    }
    Ok(blocks)
}

fn report(
    manifest: &Manifest,
    times: &[f64],
    known: Known,
    blocks: Vec<BlockTimes>,
    warnings: Vec<String>,
) -> Report {
    let quantile =
        |q: f64| times.get(((times.len() as f64 - 1.0) * q).round() as usize).map_or(0.0, |s| s * 1e3);
    let median = quantile(0.5);
    let flops: u64 = manifest.blocks.iter().map(|block| block.flops_forward + block.flops_backward).sum();
    let gflops = flops as f64 / median.max(1e-9) / 1e6;
    let peak_gflops = known.peak_gflops.unwrap_or_default();
    Report {
        network: manifest.network.clone(),
        batch: manifest.batch,
        precision: manifest.precision.clone(),
        kernels: manifest.kernels.clone(),
        threads: 0,
        compile_ms: known.compile_ms,
        ms_per_step: median,
        ms_min: quantile(0.0),
        ms_p95: quantile(0.95),
        samples_per_s: manifest.batch as f64 / median.max(1e-9) * 1e3,
        gflops,
        peak_gflops,
        share_of_peak: if peak_gflops > 0.0 { gflops / peak_gflops } else { 0.0 },
        peak_bytes: 0,
        used_bytes: None,
        blocks,
        warnings,
    }
}

impl Report {
    fn on(self, threads: usize, peak_bytes: usize, used_bytes: Option<usize>) -> Self {
        Report { threads, peak_bytes, used_bytes, ..self }
    }

    /// For a person.
    pub fn text(&self) -> String {
        let threads = crate::error::counted(self.threads, "thread");
        let mut text = format!("{}: batch {}, {}, {threads}\n", self.network, self.batch, self.precision);
        let mut line = |name: &str, value: String| {
            let _ = writeln!(text, "  {name:<12} {value}");
        };
        if !self.kernels.is_empty() {
            line("products", self.kernels.clone());
        }
        line("step", format!("{:.4} ms (min {:.4}, p95 {:.4})", self.ms_per_step, self.ms_min, self.ms_p95));
        line("samples/s", format!("{:.0}", self.samples_per_s));
        line(
            "GFLOP/s",
            format!(
                "{:.1} of {:.1} ({:.0} % of this machine's peak)",
                self.gflops,
                self.peak_gflops,
                self.share_of_peak * 100.0
            ),
        );
        let megabytes = |bytes: usize| format!("{:.2} MB", bytes as f64 / 1e6);
        let used = self.used_bytes.map_or(String::new(), |used| format!(" (used {})", megabytes(used)));
        line("memory", megabytes(self.peak_bytes) + &used);
        if self.compile_ms > 0.0 {
            line("compiled in", format!("{:.0} ms", self.compile_ms));
        }
        self.table(&mut text);
        text
    }

    fn table(&self, text: &mut String) {
        let width = self.blocks.iter().map(|block| block.name.len()).max().unwrap_or_default().max(5);
        let _ = writeln!(text, "  {:<width$} {:>10} {:>10} {:>10}", "block", "forward", "backward", "update");
        for block in &self.blocks {
            let BlockTimes { name, forward_ms, backward_ms, update_ms } = block;
            let _ =
                writeln!(text, "  {name:<width$} {forward_ms:>10.4} {backward_ms:>10.4} {update_ms:>10.4}");
        }
    }
}
