//! A report beside an earlier one.

use std::fmt::Write;
use std::path::Path;

use serde::Serialize;

use super::report::{BlockTimes, Report};
use crate::Error;

/// Times relative to an earlier run's: below 1 is faster now.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Comparison {
    pub ms_per_step: f64,
    pub ms_min: f64,
    pub blocks: Vec<BlockRatio>,
    /// What was not the same then, so that the ratios say less.
    pub differences: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct BlockRatio {
    pub name: String,
    pub before_ms: f64,
    pub now_ms: f64,
    pub ratio: f64,
}

/// Reads what `bench --format json` wrote.
pub fn read(path: &Path) -> Result<Report, Error> {
    let text = std::fs::read(path).map_err(|cause| Error::file("read", path, cause))?;
    serde_json::from_slice(&text).map_err(|cause| {
        Error::new(format!("{} is not a report of this version's bench: {cause}", path.display()))
            .with_help("save one with bench --format json > FILE")
    })
}

pub fn compare(before: &Report, now: &Report) -> Comparison {
    let ratio = |now: f64, before: f64| now / before.max(1e-9);
    let block = |block: &BlockTimes| {
        let known = before.blocks.iter().find(|known| known.name == block.name)?;
        Some(BlockRatio {
            name: block.name.clone(),
            before_ms: known.ms(),
            now_ms: block.ms(),
            ratio: ratio(block.ms(), known.ms()),
        })
    };
    Comparison {
        ms_per_step: ratio(now.ms_per_step, before.ms_per_step),
        ms_min: ratio(now.ms_min, before.ms_min),
        blocks: now.blocks.iter().filter_map(block).collect(),
        differences: differences(before, now),
    }
}

fn differences(before: &Report, now: &Report) -> Vec<String> {
    let features = |report: &Report| report.machine.features.join(",");
    let pairs = [
        ("network", before.network.clone(), now.network.clone()),
        ("batch", before.batch.to_string(), now.batch.to_string()),
        ("precision", before.precision.clone(), now.precision.clone()),
        ("products", before.kernels.clone(), now.kernels.clone()),
        ("threads", before.threads.to_string(), now.threads.to_string()),
        ("processor", before.machine.processor.clone(), now.machine.processor.clone()),
        ("cores", before.machine.cores.to_string(), now.machine.cores.to_string()),
        ("features of the code", features(before), features(now)),
    ];
    let differ = pairs.into_iter().filter(|(_, before, now)| before != now);
    let mut found: Vec<String> =
        differ.map(|(what, before, now)| format!("{what}: {before} then, {now} now")).collect();
    let names = |report: &Report| report.blocks.iter().map(|block| block.name.clone()).collect::<Vec<_>>();
    if names(before) != names(now) {
        found.push("the blocks are not the same".into());
    }
    found
}

impl Comparison {
    /// For a person.
    pub fn text(&self, before: &Report, now: &Report) -> String {
        let mut text = String::from("compared with the saved run (below 1: faster now)\n");
        for difference in &self.differences {
            let _ = writeln!(text, "  differs in {difference}");
        }
        let width = self.blocks.iter().map(|block| block.name.len()).max().unwrap_or_default().max(5);
        let _ = writeln!(text, "  {:<width$} {:>10} {:>10} {:>7}", "block", "then", "now", "ratio");
        let mut row = |name: &str, before: f64, now: f64, ratio: f64| {
            let _ = writeln!(text, "  {name:<width$} {before:>10.4} {now:>10.4} {ratio:>7.2}");
        };
        for block in &self.blocks {
            row(&block.name, block.before_ms, block.now_ms, block.ratio);
        }
        row("step", before.ms_per_step, now.ms_per_step, self.ms_per_step);
        row("least", before.ms_min, now.ms_min, self.ms_min);
        text
    }
}

#[cfg(test)]
mod tests {
    use super::super::report::{Machine, Peaks};
    use super::*;

    fn report(network: &str, ms: f64, blocks: &[(&str, f64)]) -> Report {
        let block = |&(name, ms): &(&str, f64)| BlockTimes {
            name: name.into(),
            forward_ms: ms,
            ..BlockTimes::default()
        };
        Report {
            network: network.into(),
            batch: 8,
            precision: "f32".into(),
            kernels: "f32 by FMA".into(),
            machine: Machine::default(),
            threads: 1,
            compile_ms: 0.0,
            ms_per_step: ms,
            ms_min: ms,
            ms_p95: ms,
            samples_per_s: 1.0,
            gflops: 1.0,
            peak_gflops: 2.0,
            share_of_peak: 0.5,
            bytes_moved: 1,
            peak_bytes: 1,
            used_bytes: None,
            peaks: Peaks::default(),
            blocks: blocks.iter().map(block).collect(),
            other_ms: 0.0,
            warnings: vec![],
        }
    }

    #[test]
    fn ratios_are_now_over_then() {
        let (before, now) =
            (report("a", 4.0, &[("x", 1.0), ("y", 2.0)]), report("a", 2.0, &[("x", 0.5), ("y", 3.0)]));
        let found = compare(&before, &now);
        assert_eq!((found.ms_per_step, found.blocks[0].ratio, found.blocks[1].ratio), (0.5, 0.5, 1.5));
        assert_eq!(found.differences, Vec::<String>::new());
    }

    #[test]
    fn differences_are_named() {
        let mut now = report("b", 2.0, &[("z", 0.5)]);
        now.machine.processor = "new".into();
        let found = compare(&report("a", 4.0, &[("x", 1.0)]), &now);
        let text = found.differences.join("\n");
        assert!(text.contains("network: a then, b now") && text.contains("processor"), "{text}");
        assert!(text.contains("blocks") && found.blocks.is_empty());
    }
}
