//! The folder of a run: `run.json` (what it is), `state.safetensors` (where it is, complete and alone sufficient),
//! `last.safetensors` and `best.safetensors` (weights), `metrics.jsonl`.

use std::fs;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::Error;
use crate::checkpoint::{self, Content};
use crate::data::Normalization;
use crate::error::counted;
use crate::events::Events;
use crate::manifest::{Manifest, Outline, Ranks, Target};
use crate::metrics::{Metrics, Record};
use crate::program::Program;
use crate::ranks;
use crate::settings::Settings;

/// Meaning of `run.json`.
const FORMAT: u32 = 1;

/// How far a run is. With the seed it determines everything that follows: orders of samples and random numbers are
/// functions of seed and step.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Position {
    /// Steps done.
    pub step: u64,
    /// Sums over the steps of the epoch that has begun.
    pub loss_sum: f64,
    pub accuracy_sum: f64,
    /// Best score of an epoch so far; higher is better.
    pub best: Option<f64>,
    /// Smallest validation loss of an epoch so far, and epochs since then.
    #[serde(default)]
    pub least_validation_loss: Option<f64>,
    #[serde(default)]
    pub waited: u32,
}

impl Position {
    /// Takes the score of an epoch; whether it is the best so far.
    pub fn rate(&mut self, score: f64) -> bool {
        let better = self.best.is_none_or(|best| score > best);
        if better {
            self.best = Some(score);
        }
        better
    }

    /// Takes the validation loss of an epoch.
    pub fn wait(&mut self, loss: f64) {
        if self.least_validation_loss.is_none_or(|least| loss < least) {
            (self.least_validation_loss, self.waited) = (Some(loss), 0);
        } else {
            self.waited += 1;
        }
    }
}

/// What stands in `run.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Description {
    pub format: u32,
    pub compiler: String,
    pub network: String,
    pub optimizer: String,
    pub spec_hash: String,
    pub spec: Vec<String>,
    pub target: Target,
    /// Of one rank.
    pub batch: usize,
    #[serde(default = "one")]
    pub ranks: usize,
    /// Whether batch statistics go over the batches of all ranks.
    #[serde(default)]
    pub synchronized: bool,
    pub precision: String,
    /// How the code that was started with multiplied matrices.
    #[serde(default)]
    pub kernels: String,
    pub settings: Settings,
    pub steps_per_epoch: u64,
    /// How bytes of the data become numbers; kept with the weights.
    #[serde(default)]
    pub normalization: Option<Normalization>,
    pub position: Position,
}

/// What stands beside the tensors of the state.
#[derive(Serialize, Deserialize)]
struct StateHeader {
    spec_hash: String,
    position: Position,
    /// CRC-32 of the tensors in the manifest's order: a file that a disk has damaged is not gone on with.
    checksum: u32,
}

impl Description {
    pub fn new(manifest: &Manifest, settings: &Settings, steps_per_epoch: u64) -> Self {
        Description {
            format: FORMAT,
            compiler: manifest.compiler.clone(),
            network: manifest.network.clone(),
            optimizer: manifest.optimizer.clone(),
            spec_hash: manifest.spec_hash.clone(),
            spec: manifest.spec.clone(),
            target: manifest.target.clone(),
            batch: manifest.batch,
            ranks: ranks::count(),
            synchronized: matches!(manifest.ranks, Ranks::Synchronized(_)),
            precision: manifest.precision.clone(),
            kernels: manifest.kernels.clone(),
            settings: settings.clone(),
            steps_per_epoch,
            normalization: None,
            position: Position::default(),
        }
    }

    /// What stands beside weights.
    fn notes(&self) -> Option<String> {
        let normalization = self.normalization.as_ref()?;
        Some(serde_json::json!({ "normalization": normalization }).to_string())
    }

    /// Reads `run.json` of a folder and refuses the run of another program, with the difference.
    pub fn read(folder: &Path, outline: &Outline) -> Result<Self, Error> {
        let path = folder.join(RUN_FILE);
        let text = fs::read(&path).map_err(|cause| {
            Error::file("read", &path, cause).with_help("--resume takes the folder that --out wrote")
        })?;
        let damaged = |cause| Error::new(format!("{} is damaged: {cause}", path.display()));
        let description: Description = serde_json::from_slice(&text).map_err(damaged)?;
        if description.format != FORMAT {
            let message =
                format!("{} has format {}, this runtime reads {FORMAT}", path.display(), description.format);
            return Err(Error::new(message));
        }
        if description.spec_hash != outline.spec_hash {
            return Err(different(folder, &description.spec, &outline.spec));
        }
        let own = |ranks: usize, synchronized: bool| if synchronized { 1 } else { ranks };
        let before = own(description.ranks, description.synchronized);
        let now = own(ranks::count(), matches!(outline.ranks, Ranks::Synchronized(_)));
        if before != now {
            let (ranks, batch) = (description.ranks, description.batch);
            return Err(Error::new(format!(
                "the run in {} was made by {} with a batch of {batch} each, not by {}",
                folder.display(),
                counted(ranks, "rank"),
                counted(ranks::count(), "rank")
            ))
            .with_help(if ranks == 1 {
                "resume it without mpirun".to_string()
            } else {
                format!("resume it by mpirun -n {ranks}")
            }));
        }
        Ok(description)
    }
}

impl Description {
    /// The run goes on with code for `target`; a warning where it is another one.
    pub fn retarget(&mut self, target: &Target) -> Option<String> {
        let before = std::mem::replace(&mut self.target, target.clone());
        let only = |these: &Target, others: &Target| {
            let features = these.features.iter().filter(|feature| !others.features.contains(feature));
            features.cloned().collect::<Vec<_>>().join(", ")
        };
        let (gone, new) = (only(&before, target), only(target, &before));
        let mut changes = Vec::new();
        if before.triple != target.triple {
            changes.push(format!("{} in place of {}", target.triple, before.triple));
        }
        changes.extend((!gone.is_empty()).then(|| format!("without {gone}")));
        changes.extend((!new.is_empty()).then(|| format!("with {new}")));
        let message = "the run goes on with code for another processor";
        (!changes.is_empty()).then(|| {
            format!("{message} ({}): its bits may differ from those of one that stayed", changes.join("; "))
        })
    }
}

fn one() -> usize {
    1
}

fn different(folder: &Path, run: &[String], program: &[String]) -> Error {
    let only = |mark: &str, these: &[String], others: &[String]| -> Vec<String> {
        these.iter().filter(|line| !others.contains(line)).map(|line| format!("\n  {mark} {line}")).collect()
    };
    let lines = [only("run:    ", run, program), only("program:", program, run)].concat();
    let lines =
        if lines.is_empty() { "\n  (the same lines in another order)".into() } else { lines.concat() };
    Error::new(format!("the run in {} was made by another program:{lines}", folder.display()))
        .with_help("resume it with the program it was started with, or start a new run with --weights")
}

pub const RUN_FILE: &str = "run.json";
pub const STATE_FILE: &str = "state.safetensors";
pub const LAST_FILE: &str = "last.safetensors";
pub const BEST_FILE: &str = "best.safetensors";
pub const METRICS_FILE: &str = "metrics.jsonl";

/// The folder of a run that is going on.
pub struct RunFolder {
    path: PathBuf,
    description: Description,
    metrics: Metrics,
    events: Events,
}

impl RunFolder {
    /// Begins a run: its state is there before its description, so that a folder with a description can be resumed.
    pub fn create(path: &Path, description: Description, program: &Program) -> Result<Self, Error> {
        if path.join(RUN_FILE).exists() {
            let help = format!("go on with it by --resume {}, or choose another folder", path.display());
            return Err(Error::new(format!("{} already holds a run", path.display())).with_help(help));
        }
        if path.exists() && !path.is_dir() {
            return Err(Error::new(format!("{} is a file; a run is a folder", path.display()))
                .with_help("choose another name for --out"));
        }
        fs::create_dir_all(path).map_err(|cause| Error::file("create", path, cause))?;
        let metrics = path.join(METRICS_FILE);
        if metrics.exists() {
            checkpoint::replace(&metrics, b"")?;
        }
        let metrics = Metrics::open(metrics, 0)?;
        let events = Events::open(path, 0)?;
        let mut run = RunFolder { path: path.to_path_buf(), description, metrics, events };
        run.save(program, &Position::default())?;
        Ok(run)
    }

    /// Goes on with a run at `position`, where [`read_state`] found it.
    pub fn reopen(path: &Path, description: Description, position: &Position) -> Result<Self, Error> {
        let metrics = Metrics::open(path.join(METRICS_FILE), position.step)?;
        let events = Events::open(path, position.step)?;
        Ok(RunFolder { path: path.to_path_buf(), description, metrics, events })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    pub fn record(&mut self, record: &Record) -> Result<(), Error> {
        self.metrics.append(record)?;
        self.events.append(record)
    }

    /// Saves where the run is. Whatever instant ends it, a state is left that goes on exactly.
    pub fn save(&mut self, program: &Program, position: &Position) -> Result<(), Error> {
        self.metrics.flush()?;
        self.events.flush()?;
        let spec_hash = program.manifest().spec_hash.clone();
        let header = StateHeader { spec_hash, position: position.clone(), checksum: checksum(program) };
        let header =
            serde_json::to_string(&header).map_err(|cause| Error::file("write", &self.path, cause))?;
        checkpoint::save(program, Content::State, Some(header), &self.path.join(STATE_FILE))?;
        checkpoint::save(program, Content::Weights, self.description.notes(), &self.path.join(LAST_FILE))?;
        self.description.position = position.clone();
        let text = serde_json::to_vec_pretty(&self.description);
        let text = text.map_err(|cause| Error::file("write", &self.path, cause))?;
        checkpoint::replace(&self.path.join(RUN_FILE), &text)
    }

    pub fn save_best(&self, program: &Program) -> Result<(), Error> {
        checkpoint::save(program, Content::Weights, self.description.notes(), &self.path.join(BEST_FILE))
    }
}

/// Whether the folder has weights of the best epoch that can be read.
pub fn has_best(folder: &Path) -> bool {
    checkpoint::is_sound(&folder.join(BEST_FILE))
}

/// Reads the tensors of a run into the program, and where the run is.
pub fn read_state(folder: &Path, program: &mut Program) -> Result<Position, Error> {
    let path = folder.join(STATE_FILE);
    let header = checkpoint::load(program, Content::State, &path)?;
    let damaged =
        |cause: &dyn std::fmt::Display| Error::new(format!("{} is damaged: {cause}", path.display()));
    let header = header.ok_or_else(|| damaged(&"it does not say where the run is"))?;
    let header: StateHeader = serde_json::from_str(&header).map_err(|cause| damaged(&cause))?;
    if header.spec_hash != program.manifest().spec_hash {
        return Err(damaged(&"it belongs to another run"));
    }
    if header.checksum != checksum(program) {
        return Err(damaged(&"its tensors are not those that were saved"));
    }
    Ok(header.position)
}

fn checksum(program: &Program) -> u32 {
    let mut crc = flate2::Crc::new();
    for tensor in &program.manifest().tensors {
        crc.update(checkpoint::bytes_of(&program.tensor(tensor)));
    }
    crc.sum()
}
