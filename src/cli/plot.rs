//! `blkc plot RUN…`.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use super::{Failure, Outcome, output};
use crate::plot::{self, MOST_RUNS, Run};

/// Draws the curves of runs on one sheet: loss, accuracy, learning rate and scale factors
#[derive(clap::Args)]
#[command(after_help = "Example: blkc plot runs/sgd runs/scaled -o curves.svg")]
pub struct Args {
    /// Folders that `train --out` wrote, or their metrics.jsonl
    #[arg(value_name = "RUN", required = true)]
    runs: Vec<PathBuf>,
    /// The SVG file to write (default: to stdout)
    #[arg(short, long, value_name = "SVG")]
    output: Option<PathBuf>,
}

pub fn run(args: &Args) -> Outcome {
    if args.runs.len() > MOST_RUNS {
        let count = args.runs.len();
        return Err(Failure::Usage(format!("{count} runs are too many for one sheet: at most {MOST_RUNS}")));
    }
    let runs = args.runs.iter().map(|place| plot::read(place)).collect::<Result<Vec<_>, _>>();
    let runs = runs.map_err(|message| Failure::Error {
        message,
        help: Some("a run is the folder that `blkc train --out RUN` writes".into()),
    })?;
    let svg = plot::sheet(&named(runs, &args.runs));
    match &args.output {
        None => output::result(svg),
        Some(path) => {
            std::fs::write(path, svg).map_err(|error| format!("cannot write {}: {error}", path.display()))?;
            output::note(format_args!("wrote {}", path.display()));
            Ok(())
        }
    }
}

/// Short names where they tell the runs apart, else the whole paths.
fn named(mut runs: Vec<Run>, places: &[PathBuf]) -> Vec<Run> {
    let short = |place: &Path| place.file_name().map(|name| name.to_string_lossy().into_owned());
    let names: Option<Vec<String>> = places.iter().map(|place| short(place)).collect();
    let names = names.filter(|names| names.iter().collect::<HashSet<_>>().len() == names.len());
    for (run, name) in runs.iter_mut().zip(names.into_iter().flatten()) {
        run.name = name;
    }
    runs
}
