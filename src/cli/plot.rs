//! `blkc plot RUN…`.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use super::{Failure, Outcome, output};
use crate::plot::{self, MOST_RUNS};

/// Draws the curves of runs on one sheet: loss, accuracy, learning rate and scale factors
#[derive(clap::Args)]
#[command(after_help = "Examples:\n  blkc plot runs/sgd runs/scaled -o curves.svg\n  \
    blkc plot sgd=runs/sgd1,runs/sgd2 scaled=runs/scaled1,runs/scaled2 -o curves.svg")]
pub struct Args {
    /// Folders that `train --out` wrote, or their metrics.jsonl; NAME=RUN,RUN,… draws runs as one, their mean in a band from the
    /// least to the greatest
    #[arg(value_name = "RUN", required = true)]
    runs: Vec<String>,
    /// The SVG file to write (default: to stdout)
    #[arg(short, long, value_name = "SVG")]
    output: Option<PathBuf>,
}

pub fn run(args: &Args) -> Outcome {
    if args.runs.len() > MOST_RUNS {
        let count = args.runs.len();
        return Err(Failure::Usage(format!("{count} runs are too many for one sheet: at most {MOST_RUNS}")));
    }
    let runs = named(&args.runs).into_iter().map(|(name, places)| plot::read(name, &places));
    let runs = runs.collect::<Result<Vec<_>, _>>().map_err(|message| Failure::Error {
        message,
        help: Some("a run is the folder that `blkc train --out RUN` writes".into()),
    })?;
    let svg = plot::sheet(&runs);
    match &args.output {
        None => output::result(svg),
        Some(path) => {
            std::fs::write(path, svg).map_err(|error| format!("cannot write {}: {error}", path.display()))?;
            output::note(format_args!("wrote {}", path.display()));
            Ok(())
        }
    }
}

/// Names and places: the given name, or short ones where they tell the runs apart, else the whole paths.
fn named(arguments: &[String]) -> Vec<(String, Vec<PathBuf>)> {
    let runs: Vec<_> = arguments.iter().map(|argument| split(argument)).collect();
    let short: Vec<String> = runs.iter().map(|(name, places)| short(name, &places[0])).collect();
    let distinct = short.iter().collect::<HashSet<_>>().len() == short.len();
    let long = arguments.iter().zip(&runs).map(|(argument, (name, _))| name.unwrap_or(argument).to_string());
    let names = if distinct { short } else { long.collect() };
    names.into_iter().zip(runs).map(|(name, (_, places))| (name, places)).collect()
}

fn short(name: &Option<&str>, place: &Path) -> String {
    let file = || place.file_name().unwrap_or(place.as_os_str()).to_string_lossy().into_owned();
    name.map_or_else(file, str::to_string)
}

/// `NAME=RUN,RUN`, unless there is a file or folder of this name.
fn split(argument: &str) -> (Option<&str>, Vec<PathBuf>) {
    match argument.split_once('=') {
        Some((name, places)) if !Path::new(argument).exists() => {
            (Some(name), places.split(',').map(PathBuf::from).collect())
        }
        _ => (None, vec![PathBuf::from(argument)]),
    }
}
