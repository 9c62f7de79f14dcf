//! A run's `metrics.jsonl` as rows.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use blk_runtime::metrics::Kind;
use blk_runtime::run::METRICS_FILE;

/// What is drawn in one colour: a run, or several that count as repetitions of one.
#[derive(Clone, Debug, PartialEq)]
pub struct Run {
    pub name: String,
    /// The rows of each repetition, in the order of their steps.
    pub members: Vec<Vec<Row>>,
}

impl Run {
    pub fn rows(&self) -> impl Iterator<Item = &Row> {
        self.members.iter().flatten()
    }
}

/// One line of the file. Numbers that were not finite stand there as `null`.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct Row {
    pub kind: Kind,
    pub step: u64,
    pub epoch: f64,
    pub loss: Option<f64>,
    pub accuracy: Option<f64>,
    pub lr: Option<f64>,
    pub validation_loss: Option<f64>,
    pub validation_accuracy: Option<f64>,
    pub validation_top5: Option<f64>,
    pub validation_rmse: Option<f64>,
    pub test_loss: Option<f64>,
    pub test_accuracy: Option<f64>,
    pub test_top5: Option<f64>,
    pub test_rmse: Option<f64>,
    #[serde(default)]
    pub blocks: BTreeMap<String, Factors>,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
pub struct Factors {
    #[serde(rename = "m_W", default)]
    pub m_w: BTreeMap<String, Option<f64>>,
}

/// Reads the runs in the folders `places`, or the files of their metrics, as repetitions. An error says what is wrong with
/// which file.
pub fn read(name: String, places: &[PathBuf]) -> Result<Run, String> {
    let members = places.iter().map(|place| read_rows(place)).collect::<Result<_, _>>()?;
    Ok(Run { name, members })
}

fn read_rows(place: &Path) -> Result<Vec<Row>, String> {
    let file = if place.is_dir() { place.join(METRICS_FILE) } else { place.to_path_buf() };
    let text = match fs::read(&file) {
        Ok(text) => String::from_utf8_lossy(&text).into_owned(),
        Err(_) if !place.exists() => return Err(format!("there is no run {}", place.display())),
        Err(_) if place.is_dir() && !file.exists() => {
            return Err(format!("{} is no run: it has no {METRICS_FILE}", place.display()));
        }
        Err(cause) => return Err(format!("cannot read {}: {cause}", file.display())),
    };
    let rows = rows(&text).map_err(|cause| format!("{}, {cause}", file.display()))?;
    if rows.is_empty() {
        return Err(format!("{} holds no numbers yet", file.display()));
    }
    Ok(rows)
}

/// The rows of the text; a last line that was cut off is left out. What a session wrote counts until a later one went
/// on from before it.
fn rows(text: &str) -> Result<Vec<Row>, String> {
    let mut rows: Vec<Row> = Vec::new();
    for (index, line) in text.split_inclusive('\n').enumerate() {
        let row: Row = match serde_json::from_str(line) {
            Ok(row) => row,
            Err(_) if !line.ends_with('\n') => break,
            Err(cause) => return Err(format!("line {} is no entry of a run: {cause}", index + 1)),
        };
        let again =
            |earlier: &Row| earlier.step > row.step || (earlier.step == row.step && earlier.kind == row.kind);
        if rows.last().is_some_and(|last| last.step >= row.step) {
            rows.retain(|earlier| !again(earlier));
        }
        rows.push(row);
    }
    Ok(rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(kind: &str, step: u64, loss: &str) -> String {
        format!(
            "{{\"kind\":\"{kind}\",\"step\":{step},\"epoch\":{step},\"loss\":{loss},\"samples_per_s\":1}}\n"
        )
    }

    fn losses(text: &str) -> Vec<(u64, Option<f64>)> {
        rows(text).unwrap().iter().map(|row| (row.step, row.loss)).collect()
    }

    #[test]
    fn a_later_session_replaces_what_an_earlier_one_wrote() {
        let text = [
            ("step", 2, "1"),
            ("step", 4, "2"),
            ("epoch", 4, "3"),
            ("step", 6, "4"),
            ("step", 3, "5"),
            ("step", 4, "6"),
        ];
        let text: String = text.iter().map(|(kind, step, loss)| line(kind, *step, loss)).collect();
        assert_eq!(losses(&text), [(2, Some(1.0)), (3, Some(5.0)), (4, Some(6.0))]);
    }

    #[test]
    fn a_cut_line_ends_the_run_and_a_wrong_one_is_placed() {
        let text = line("step", 1, "null");
        assert_eq!(losses(&format!("{text}{{\"kind\":\"st")), [(1, None)]);
        assert!(rows(&format!("{text}nothing\n{text}")).unwrap_err().starts_with("line 2 is no entry"));
    }
}
