//! `blkc verify FILE`.

use std::path::PathBuf;

use serde_json::{Value, json};

use super::common::{Arrays, Format, Source};
use super::{Failure, Outcome, output};
use crate::axes::BATCH;
use crate::hessian::{Plan, program};
use crate::ir::Network;
use crate::numeric::batch::Batch;
use crate::numeric::point::Parameters;
use crate::numeric::verify::{
    BlockReport, Check, Formula, Options, Report, TOLERANCE, generic_parameters, random_batch, verify,
};
use crate::numeric::weights;

/// Samples where the command line gives none: few, because differences evaluate the network thousands of times.
const BATCH_SIZE: u64 = 4;

/// Compares every derived gradient, Jacobian and Hessian formula with finite differences on this network
#[derive(clap::Args)]
#[command(after_help = "Example: blkc verify examples/digits.blk --batch 8 --seed 3

Exit status 1 when a formula is off by more than the tolerance, or cannot be decided at this point.")]
pub struct Args {
    /// The .blk program
    #[arg(value_name = "FILE")]
    file: String,
    /// Which network, where the file holds several
    #[arg(long, value_name = "NAME")]
    network: Option<String>,
    /// Samples [default: 4, or those of --input]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=1 << 20))]
    batch: Option<u64>,
    /// A safetensors file of weights, in place of initial ones moved at random
    #[arg(long, value_name = "FILE")]
    weights: Option<PathBuf>,
    /// Largest error relative to the largest magnitude of a formula
    #[arg(long, value_name = "T", default_value_t = TOLERANCE, value_parser = tolerance)]
    tol: f64,
    /// Of initial weights, random inputs, directions and random draws of the network
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// A data set whose first samples are taken, in place of random ones
    #[arg(long, value_name = "D", conflicts_with = "input")]
    data: Option<String>,
    #[command(flatten)]
    arrays: Arrays,
    /// How the result is written
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
}

/// Below, second differences resolve nothing.
const LEAST_TOLERANCE: f64 = 1e-9;

fn tolerance(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(value) if (LEAST_TOLERANCE..1.0).contains(&value) => Ok(value),
        _ => Err(format!("a number from {LEAST_TOLERANCE:e} to 1, such as 1e-6")),
    }
}

pub fn run(args: &Args) -> Outcome {
    let samples = args.arrays.read()?;
    let batch = Some(samples.batch(args.batch)?.unwrap_or(BATCH_SIZE));
    let (file, name) = (args.file.clone(), args.network.clone());
    let network = Source { file, network: name, batch, precision: None }.network()?;
    let plan = program::derive(&network);
    let (parameters, of_weights) = args.parameters(&network, &plan)?;
    let batch = match (&samples.0, &args.data) {
        (Some((input, target)), _) => Batch::of_arrays(&network, input, target)?,
        (None, Some(data)) => Batch::of_data(&network, data)?,
        (None, None) => random_batch(&network, args.seed),
    };
    let options = Options { tolerance: args.tol, seed: args.seed };
    let report = verify(&network, &plan, &parameters, &batch, options).map_err(|why| Failure::Error {
        message: format!("{}: {why}", network.name),
        help: Some("verify it at other values: --weights, --data, or another --seed".into()),
    })?;
    let point = Point { network: &network, weights: of_weights, batch: &batch, seed: args.seed };
    match args.format {
        Format::Text => output::result(text(&point, &report))?,
        Format::Json => output::result(format_args!("{:#}\n", as_json(&point, &report)))?,
    }
    if report.passes() { Ok(()) } else { Err(Failure::Status(1)) }
}

impl Args {
    /// Weights, and where they come from in words.
    fn parameters(&self, network: &Network, plan: &Plan) -> Result<(Parameters, String), Failure> {
        Ok(match &self.weights {
            Some(path) => (weights::read(network, path)?, path.display().to_string()),
            None => (generic_parameters(plan, self.seed), "initial weights, moved at random".into()),
        })
    }
}

/// Where the formulas were compared.
struct Point<'a> {
    network: &'a Network,
    weights: String,
    batch: &'a Batch,
    seed: u64,
}

fn text(point: &Point, report: &Report) -> String {
    let samples = point.network.axes.extent(BATCH);
    let mut text = format!("{} · batch {samples} · seed {}\n", point.network.name, point.seed);
    text += &format!("{}; {}\n", point.weights, point.batch.source);
    text += &format!(
        "errors relative to the largest magnitude of each formula, tolerance {:e}\n",
        report.tolerance
    );
    for block in &report.blocks {
        text += &table(block);
    }
    for note in &report.notes {
        text += &format!("\nnote: {note}\n");
    }
    if report.all().any(|(_, check)| check.sampled) {
        text += "\n* along random directions and some single entries: too many entries for all of them\n";
    }
    text + &verdict(report)
}

/// Arguments down, formulas across.
fn table(block: &BlockReport) -> String {
    let mut rows: Vec<&str> = Vec::new();
    for check in &block.checks {
        if !rows.contains(&check.wrt.as_str()) {
            rows.push(&check.wrt);
        }
    }
    let shown = |formula: &Formula| block.checks.iter().any(|check| check.formula == *formula);
    let columns: Vec<Formula> = Formula::ALL.into_iter().filter(shown).collect();
    let first = rows.iter().map(|row| row.chars().count()).max().unwrap_or(0).max(block.name.chars().count());
    let mut text = format!("\n{:first$}", block.name);
    for column in &columns {
        text += &format!("  {:>12}", column.name());
    }
    for row in rows {
        text += &format!("\n{row:first$}");
        for &column in &columns {
            let check = block.checks.iter().find(|check| check.formula == column && check.wrt == row);
            text += &format!("  {:>12}", check.map_or(String::new(), error_of));
        }
    }
    text.lines().map(str::trim_end).collect::<Vec<_>>().join("\n") + "\n"
}

fn error_of(check: &Check) -> String {
    let star = if check.sampled { "*" } else { "" };
    match check.error {
        Some(error) => format!("{error:.1e}{star}"),
        None => format!("undecided{star}"),
    }
}

fn verdict(report: &Report) -> String {
    let mut text = String::new();
    for (block, check) in report.failures() {
        let (name, wrt) = (check.formula.name(), &check.wrt);
        text += &format!("\nFAILED  block {}, {name} by {wrt}", block.name);
        if let Some(worst) = &check.worst {
            let (derived, differences) = (worst.derived, worst.differences);
            text += &format!(
                ": worst at {}, {derived:.9e} by the formula, {differences:.9e} by differences",
                worst.place
            );
        }
    }
    for (block, check) in report.undecided() {
        let (name, wrt) = (check.formula.name(), &check.wrt);
        text += &format!(
            "\nUNDECIDED  block {}, {name} by {wrt}: a kink too near, or lost in rounding; try another --seed or --batch",
            block.name
        );
    }
    let (count, bad) = (report.all().count(), report.failures().count() + report.undecided().count());
    let numbers: usize = report.all().map(|(_, check)| check.compared).sum();
    text += &match bad {
        0 => format!(
            "\n{count} formulas hold: {numbers} numbers compared, largest error {:.1e}\n",
            report.worst()
        ),
        _ => format!("\n{bad} of {count} formulas do not hold\n"),
    };
    text
}

fn as_json(point: &Point, report: &Report) -> Value {
    let check = |check: &Check| {
        let worst = check.worst.as_ref().map(
            |worst| json!({"at": worst.place, "derived": worst.derived, "differences": worst.differences}),
        );
        json!({
            "formula": check.formula.name(),
            "wrt": check.wrt,
            "compared": check.compared,
            "sampled": check.sampled,
            "error": check.error.map(|error| if error.is_finite() { json!(error) } else { json!(error.to_string()) }),
            "passes": check.error.is_some_and(|error| error <= report.tolerance),
            "worst": worst,
        })
    };
    let block = |block: &BlockReport| json!({"name": block.name, "checks": block.checks.iter().map(check).collect::<Vec<_>>()});
    json!({
        "network": point.network.name,
        "batch": point.network.axes.extent(BATCH),
        "seed": point.seed,
        "weights": point.weights,
        "data": point.batch.source,
        "tolerance": report.tolerance,
        "passes": report.passes(),
        "notes": report.notes,
        "blocks": report.blocks.iter().map(block).collect::<Vec<_>>(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::numeric::verify::Worst;

    #[test]
    fn a_failure_names_block_formula_and_place() {
        let worst = Worst { place: "z_b[0, 1] by W[2, 3]".into(), derived: 0.5, differences: 0.25 };
        let check = Check {
            formula: Formula::Jacobian,
            wrt: "W".into(),
            compared: 12,
            sampled: false,
            error: Some(0.5),
            worst: Some(worst),
        };
        let fine = Check { error: Some(1e-12), wrt: "b".into(), ..check.clone() };
        let blocks = vec![BlockReport { name: "h1".into(), checks: vec![check, fine] }];
        let report = Report { tolerance: 1e-6, blocks, notes: vec![] };
        let text = verdict(&report);
        let expected = "FAILED  block h1, Jacobian by W: worst at z_b[0, 1] by W[2, 3], 5.000000000e-1 by the formula, 2.500000000e-1 by differences";
        assert!(text.contains(expected) && text.ends_with("1 of 2 formulas do not hold\n"), "{text}");
        let rows: Vec<String> = table(&report.blocks[0]).lines().map(|line| line.replace("  ", "")).collect();
        assert_eq!(rows, ["", "h1Jacobian", "W 5.0e-1", "b1.0e-12"]);
    }
}
