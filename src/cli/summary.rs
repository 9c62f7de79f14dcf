//! `blkc summary FILE`.

use serde_json::{Value, json};

use super::common::{Format, Source};
use super::{Outcome, output};
use crate::axes::{Axis, BATCH};
use crate::compile::{self, Planned};
use crate::ir::{Block, Network, Param};
use crate::sym::graph::{Pass, Tag};

/// Shows per block: output shape, parameters, FLOPs, activation bytes; and the exact peak memory of a training step
#[derive(clap::Args)]
#[command(after_help = "Example: blkc summary examples/mlp.blk --format json")]
pub struct Args {
    #[command(flatten)]
    source: Source,
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
}

pub fn run(args: &Args) -> Outcome {
    let network = args.source.network()?;
    let planned = compile::plan(&network)?;
    match args.format {
        Format::Json => output::result(format_args!("{:#}\n", as_json(&network, &planned))),
        Format::Text => output::result(as_text(&network, &planned)),
    }
}

/// Figures of one block; FLOPs count contractions, two per multiply-add, for one batch.
struct Row<'a> {
    block: &'a Block,
    shape: Vec<usize>,
    params: Vec<&'a Param>,
    flops_forward: u64,
    flops_backward: u64,
    activation_bytes: usize,
}

fn rows<'a>(network: &'a Network, planned: &Planned) -> Vec<Row<'a>> {
    let flops = |index: usize, pass| {
        planned.lowered.flops.get(&Tag { block: index as u32, pass }).copied().unwrap_or(0)
    };
    let row = |(index, block): (usize, &'a Block)| {
        let axes = &network.node(block.output).ty.axes;
        let shape: Vec<usize> = extents(network, axes).skip(1).collect();
        Row {
            block,
            params: block.params.iter().map(|&param| network.param(param)).collect(),
            flops_forward: flops(index, Pass::Forward),
            flops_backward: flops(index, Pass::Backward),
            activation_bytes: network.axes.size(axes) * size_of::<f32>(),
            shape,
        }
    };
    network.blocks.iter().enumerate().map(row).collect()
}

fn extents<'a>(network: &'a Network, axes: &'a [Axis]) -> impl Iterator<Item = usize> + 'a {
    axes.iter().map(|&axis| network.axes.extent(axis))
}

fn as_json(network: &Network, planned: &Planned) -> Value {
    let rows = rows(network, planned);
    let param = |param: &&Param| json!({"name": param.name, "shape": extents(network, &param.axes).collect::<Vec<_>>(), "role": param.role});
    let block = |row: &Row| {
        json!({
            "name": row.block.name,
            "output_shape": row.shape,
            "parameters": row.params.iter().map(param).collect::<Vec<_>>(),
            "flops_forward": row.flops_forward,
            "flops_backward": row.flops_backward,
            "activation_bytes": row.activation_bytes,
        })
    };
    let statistic = |stat: &crate::ir::Statistic| json!({"name": stat.name, "shape": extents(network, &stat.axes).collect::<Vec<_>>()});
    json!({
        "network": network.name,
        "batch": network.axes.extent(BATCH),
        "blocks": rows.iter().map(block).collect::<Vec<_>>(),
        "statistics": network.stats.iter().map(statistic).collect::<Vec<_>>(),
        "parameters": parameter_count(network),
        "flops_per_step": flops_per_step(&rows),
        "peak_bytes": planned.peak_bytes(),
    })
}

fn parameter_count(network: &Network) -> usize {
    network.params.iter().map(|param| network.axes.size(&param.axes)).sum()
}

fn flops_per_step(rows: &[Row]) -> u64 {
    rows.iter().map(|row| row.flops_forward + row.flops_backward).sum()
}

fn as_text(network: &Network, planned: &Planned) -> String {
    let rows = rows(network, planned);
    let width = rows.iter().map(|row| row.block.name.len()).max().unwrap_or(0).max(5);
    let mut text = format!(
        "{} · batch {}\n\n{:width$}  {:>14}  {:>12}  {:>12}  {:>12}  {:>12}\n",
        network.name,
        network.axes.extent(BATCH),
        "block",
        "output",
        "parameters",
        "forward",
        "backward",
        "activations"
    );
    for row in &rows {
        let shape = row.shape.iter().map(usize::to_string).collect::<Vec<_>>().join("×");
        let count: usize = row.params.iter().map(|param| network.axes.size(&param.axes)).sum();
        text += &format!(
            "{:width$}  {shape:>14}  {count:>12}  {:>12}  {:>12}  {:>12}\n",
            row.block.name,
            flops_text(row.flops_forward),
            flops_text(row.flops_backward),
            bytes_text(row.activation_bytes),
        );
    }
    text + &format!(
        "\n{} parameters · {} per step · {} peak memory of a step\n",
        parameter_count(network),
        flops_text(flops_per_step(&rows)),
        bytes_text(planned.peak_bytes()),
    )
}

fn flops_text(flops: u64) -> String {
    scaled(flops as f64, 1000.0, &["FLOP", "kFLOP", "MFLOP", "GFLOP", "TFLOP"])
}

fn bytes_text(bytes: usize) -> String {
    scaled(bytes as f64, 1024.0, &["B", "KiB", "MiB", "GiB", "TiB"])
}

fn scaled(mut value: f64, step: f64, units: &[&str]) -> String {
    let mut unit = 0;
    while value >= step && unit + 1 < units.len() {
        value /= step;
        unit += 1;
    }
    if unit == 0 { format!("{value:.0} {}", units[0]) } else { format!("{value:.1} {}", units[unit]) }
}
