//! `metrics.jsonl`: one JSON object a line, appended as the run goes. (Event files for chart viewers get the same
//! [`Record`]s.)

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::Error;
use crate::checkpoint;
use crate::manifest::FACTOR_RANGE;
use crate::program::Program;

/// What is known after a step, or of an epoch as a whole.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Record {
    pub kind: Kind,
    /// Steps done.
    pub step: u64,
    /// Epochs passed, with their fraction.
    pub epoch: f64,
    /// Of the step's batch, or the mean over the epoch's.
    pub loss: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub accuracy: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lr: Option<f64>,
    pub samples_per_s: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub validation_loss: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub validation_accuracy: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub validation_top5: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub validation_rmse: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub test_loss: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub test_accuracy: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub test_top5: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub test_rmse: Option<f64>,
    /// Scale factors of every block that has some.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub blocks: BTreeMap<String, Factors>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    Step,
    Epoch,
}

/// Scale factors of one block (Zhang, Chen and Liu, NeurIPS 2018): m_z, m accumulated from the blocks above, and m_W of
/// each parameter.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Factors {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub m_z: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub m: Option<f64>,
    #[serde(rename = "m_W", default, skip_serializing_if = "BTreeMap::is_empty")]
    pub m_w: BTreeMap<String, f64>,
}

/// The factors that the last `train` left.
pub fn factors(program: &Program) -> BTreeMap<String, Factors> {
    let read = |offset: usize| f64::from(program.f32_at(offset));
    let blocks = program.manifest().blocks.iter();
    let blocks = blocks.filter(|block| block.m_z.is_some() || block.m.is_some() || !block.m_w.is_empty());
    blocks
        .map(|block| {
            let m_w = block.m_w.iter().map(|(name, offset)| (name.clone(), read(*offset))).collect();
            (block.name.clone(), Factors { m_z: block.m_z.map(read), m: block.m.map(read), m_w })
        })
        .collect()
}

/// The factors that the step could not divide by, as `m_z of h1 = 0`.
pub fn degenerate(program: &Program) -> Vec<String> {
    let (least, most) = FACTOR_RANGE;
    let fits = |value: f64| value > least && value < most;
    let mut found = Vec::new();
    for (block, factors) in factors(program) {
        let m_z = factors.m_z.map(|value| (format!("m_z of {block}"), value));
        let m_w = factors.m_w.into_iter().map(|(parameter, value)| (format!("m_W of {parameter}"), value));
        let bad = m_z.into_iter().chain(m_w).filter(|(_, value)| !fits(*value));
        found.extend(bad.map(|(name, value)| format!("{name} = {value:e}")));
    }
    found
}

/// The open file.
pub struct Metrics {
    path: PathBuf,
    file: File,
}

impl Metrics {
    /// Opens the file for records after `step`: later ones, from a session that ended without saving, are removed.
    pub fn open(path: PathBuf, step: u64) -> Result<Self, Error> {
        truncate(&path, step)?;
        let file = OpenOptions::new().append(true).create(true).open(&path);
        let file = file.map_err(|cause| Error::file("open", &path, cause))?;
        Ok(Metrics { path, file })
    }

    pub fn append(&mut self, record: &Record) -> Result<(), Error> {
        let refused = |cause: &dyn std::fmt::Display| Error::file("write", &self.path, cause);
        let mut line = serde_json::to_vec(record).map_err(|cause| refused(&cause))?;
        line.push(b'\n');
        self.file.write_all(&line).map_err(|cause| refused(&cause))
    }

    /// On the disk, before the state that follows these records is.
    pub fn flush(&mut self) -> Result<(), Error> {
        self.file.sync_data().map_err(|cause| Error::file("write", &self.path, cause))
    }
}

/// Keeps the lines up to `step`, and only whole ones: the last may have been cut off.
fn truncate(path: &Path, step: u64) -> Result<(), Error> {
    let content = match fs::read(path) {
        Ok(content) => content,
        Err(cause) if cause.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Err(cause) => return Err(Error::file("read", path, cause)),
    };
    let keep = |line: &&[u8]| line.ends_with(b"\n") && step_of(line).is_some_and(|at| at <= step);
    let kept: Vec<u8> =
        content.split_inclusive(|byte| *byte == b'\n').take_while(keep).flatten().copied().collect();
    if kept.len() == content.len() { Ok(()) } else { checkpoint::replace(path, &kept) }
}

fn step_of(line: &[u8]) -> Option<u64> {
    #[derive(Deserialize)]
    struct At {
        step: u64,
    }
    serde_json::from_slice::<At>(line).ok().map(|at| at.step)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn later_and_broken_lines_go() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("metrics.jsonl");
        fs::write(&path, "{\"step\":1}\n{\"step\":2}\n{\"step\":3}\n{\"st").unwrap();
        drop(Metrics::open(path.clone(), 2).unwrap());
        assert_eq!(fs::read_to_string(&path).unwrap(), "{\"step\":1}\n{\"step\":2}\n");
        assert!(!folder.path().join("metrics.jsonl.tmp").exists());
    }
}
