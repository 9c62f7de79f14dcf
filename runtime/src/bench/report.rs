//! What `bench` reports, for programs and for people.

use std::fmt::Write;

use serde::{Deserialize, Serialize};

/// Times in milliseconds; the keys of `bench --format json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Report {
    pub network: String,
    pub batch: usize,
    pub precision: String,
    /// How matrices are multiplied, in words.
    pub kernels: String,
    pub machine: Machine,
    pub threads: usize,
    pub compile_ms: f64,
    /// Median over the timed steps.
    pub ms_per_step: f64,
    pub ms_min: f64,
    pub ms_p95: f64,
    pub samples_per_s: f64,
    pub gflops: f64,
    /// The machine's peak in the precision of the contractions.
    pub peak_gflops: f64,
    /// Fraction of the peak, from 0 to 1.
    pub share_of_peak: f64,
    /// Bytes that a step moves between memory and caches, counted in the program: every group of tasks reads and writes
    /// each of its buffers once.
    pub bytes_moved: u64,
    /// Memory that a step touches: arena and scratch.
    pub peak_bytes: usize,
    /// What the process used at its peak, while it prepared and timed steps, beyond what it used before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub used_bytes: Option<usize>,
    pub peaks: Peaks,
    pub blocks: Vec<BlockTimes>,
    /// Of work that belongs to no block.
    pub other_ms: f64,
    /// What makes the numbers doubtful.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
}

/// Where the numbers were measured.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Machine {
    pub processor: String,
    pub cores: usize,
    /// Of the compiled code.
    pub triple: String,
    pub features: Vec<String>,
}

/// What the machine can do on as many threads, measured at the same time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Peaks {
    /// Multiply-adds of f32 from registers, 10⁹ operations per second.
    pub f32_gflops: f64,
    /// The same for products of bf16, where the processor has instructions for them that can be measured.
    pub bf16_gflops: Option<f64>,
    /// 10⁹ bytes per second, read and written.
    pub copy_gb_per_s: f64,
    pub read_gb_per_s: f64,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct BlockTimes {
    pub name: String,
    pub forward_ms: f64,
    pub backward_ms: f64,
    pub update_ms: f64,
    pub forward_gflops: f64,
    pub backward_gflops: f64,
    pub bytes_moved: u64,
}

impl BlockTimes {
    pub fn ms(&self) -> f64 {
        self.forward_ms + self.backward_ms + self.update_ms
    }
}

impl Report {
    /// For a person.
    pub fn text(&self) -> String {
        let threads = crate::error::counted(self.threads, "thread");
        let mut text = format!("{}: batch {}, {}, {threads}\n", self.network, self.batch, self.precision);
        let mut line = |name: &str, value: String| {
            let _ = writeln!(text, "  {name:<12} {value}");
        };
        line("step", format!("{:.4} ms (min {:.4}, p95 {:.4})", self.ms_per_step, self.ms_min, self.ms_p95));
        line("samples/s", format!("{:.0}", self.samples_per_s));
        let share = self.share_of_peak * 100.0;
        line(
            "GFLOP/s",
            format!("{:.1} of {:.1} ({share:.0} % of this machine's peak)", self.gflops, self.peak_gflops),
        );
        line("products", self.kernels.clone());
        line("moved", self.moved());
        let megabytes = |bytes: usize| format!("{:.2} MB", bytes as f64 / 1e6);
        let used = self.used_bytes.map_or(String::new(), |used| format!(" (used {})", megabytes(used)));
        line("memory", megabytes(self.peak_bytes) + &used);
        if self.compile_ms > 0.0 {
            line("compiled in", format!("{:.0} ms", self.compile_ms));
        }
        self.table(&mut text);
        text
    }

    fn moved(&self) -> String {
        let Peaks { copy_gb_per_s, read_gb_per_s, .. } = self.peaks;
        format!(
            "{:.1} MB a step, {:.1} GB/s (memory here: copy {copy_gb_per_s:.1}, read {read_gb_per_s:.1} GB/s)",
            self.bytes_moved as f64 / 1e6,
            self.bytes_moved as f64 / self.ms_per_step.max(1e-9) / 1e6
        )
    }

    fn table(&self, text: &mut String) {
        let width = self.blocks.iter().map(|block| block.name.len()).max().unwrap_or_default().max(5);
        let _ = writeln!(
            text,
            "  {:<width$} {:>10} {:>10} {:>10} {:>16} {:>9}",
            "block", "forward", "backward", "update", "% of peak fw/bw", "MB moved"
        );
        let share = |gflops: f64| gflops / self.peak_gflops.max(1e-9) * 100.0;
        for block in &self.blocks {
            let BlockTimes { name, forward_ms, backward_ms, update_ms, .. } = block;
            let shares = format!("{:.0} / {:.0}", share(block.forward_gflops), share(block.backward_gflops));
            let moved = block.bytes_moved as f64 / 1e6;
            let _ = writeln!(
                text,
                "  {name:<width$} {forward_ms:>10.4} {backward_ms:>10.4} {update_ms:>10.4} {shares:>16} {moved:>9.2}"
            );
        }
        if self.other_ms > 0.0 {
            let _ = writeln!(text, "  {:<width$} {:>10.4}", "other", self.other_ms);
        }
    }
}
