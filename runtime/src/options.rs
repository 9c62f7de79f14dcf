//! What can be chosen when a program runs, shared by the compiler's `train` and the native trainer.

use std::path::PathBuf;

use clap::Args;

/// Run-time choices. What is not given comes from the program's `train` item, or from the run that is resumed.
#[derive(Args, Clone, Debug, Default)]
pub struct TrainOptions {
    /// Data: digits, cifar10:DIR, cifar100:DIR, imagefolder:DIR, idx:DIR, npz:FILE, csv:FILE, synthetic
    #[arg(long, value_name = "DATA")]
    pub data: Option<String>,
    /// Passes over the training set
    #[arg(long, value_name = "N")]
    pub epochs: Option<u32>,
    /// Stop after this many steps in all
    #[arg(long, value_name = "N")]
    pub steps: Option<u64>,
    /// Seed of the initial weights, the order of the samples, and dropout
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    pub seed: Option<u64>,
    /// Threads (default: all that this machine has); the results do not depend on it
    #[arg(long, value_name = "N")]
    pub threads: Option<usize>,
    /// Start from the weights in this safetensors file
    #[arg(long, value_name = "FILE")]
    pub weights: Option<PathBuf>,
    /// Go on with the run in this folder
    #[arg(long, value_name = "RUN", conflicts_with_all = ["weights", "out"])]
    pub resume: Option<PathBuf>,
    /// Folder for weights, state and metrics of the run
    #[arg(long, value_name = "RUN")]
    pub out: Option<PathBuf>,
    /// Take the samples in file order
    #[arg(long)]
    pub no_shuffle: bool,
    /// Only evaluate the weights of --weights or --resume
    #[arg(long)]
    pub eval_only: bool,
    /// Set a number of the optimizer or the schedule (repeatable)
    #[arg(long, value_name = "KEY=VALUE", value_parser = parse_setting)]
    pub set: Vec<(String, f64)>,
    /// Learning rate: short for --set lr=RATE
    #[arg(long, value_name = "RATE", allow_negative_numbers = true, value_parser = parse_number)]
    pub lr: Option<f64>,
    /// Steps between two entries in metrics.jsonl [default: 50]
    #[arg(long, value_name = "N")]
    pub log_every: Option<u64>,
}

/// Steps between two entries of the metrics, unless said otherwise.
pub const LOG_EVERY: u64 = 50;

/// What is fixed when the code is made; asked of a built program, it gets this answer.
pub const FIXED: [&str; 4] = ["batch", "precision", "optimizer", "schedule"];

fn parse_setting(text: &str) -> Result<(String, f64), String> {
    let (key, value) = text.split_once('=').ok_or("write KEY=VALUE, as in momentum=0.9")?;
    let key = key.trim();
    if FIXED.contains(&key) {
        return Err(format!("the {key} is fixed when the program is compiled"));
    }
    Ok((key.to_string(), parse_number(value)?))
}

fn parse_number(text: &str) -> Result<f64, String> {
    match text.trim().parse::<f64>() {
        Ok(number) if number.is_finite() => Ok(number),
        _ => Err(format!("`{text}` is not a number")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_numbers_by_name() {
        assert_eq!(parse_setting("momentum = 0.9"), Ok(("momentum".into(), 0.9)));
        assert!(parse_setting("momentum").unwrap_err().contains("KEY=VALUE"));
        assert!(parse_setting("lr=fast").unwrap_err().contains("`fast`"));
        assert!(parse_setting("batch=3").unwrap_err().contains("fixed"));
    }
}
