//! Predictions as text or arrays.

use std::io::Cursor;
use std::path::Path;

use ndarray::{Array1, Array2};
use ndarray_npy::{NpzWriter, WriteNpyExt};

use super::Meaning;
use crate::{Error, checkpoint};

/// One row of numbers for each sample.
#[derive(Clone, Debug, PartialEq)]
pub struct Predictions {
    /// Files that the samples came from; without, samples are numbered from 0.
    pub names: Option<Vec<String>>,
    pub meaning: Meaning,
    /// Numbers of one sample.
    pub width: usize,
    /// Sample after sample.
    pub outputs: Vec<f32>,
}

/// A form that predictions are written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    Csv,
    JsonLines,
    Npy,
    Npz,
}

impl Format {
    /// By the file's extension.
    pub fn of(path: &Path) -> Result<Self, Error> {
        match path.extension().and_then(|extension| extension.to_str()) {
            Some("csv") => Ok(Format::Csv),
            Some("jsonl") => Ok(Format::JsonLines),
            Some("npy") => Ok(Format::Npy),
            Some("npz") => Ok(Format::Npz),
            _ => Err(Error::usage(format!("{}: unknown kind of file for predictions", path.display()))
                .with_help("name it .csv, .jsonl, .npy or .npz")),
        }
    }
}

impl Predictions {
    pub fn len(&self) -> usize {
        self.outputs.len() / self.width.max(1)
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Writes the file at `path` in the format of its extension.
    pub fn write(&self, path: &Path) -> Result<(), Error> {
        let bytes = match Format::of(path)? {
            Format::Csv => self.csv().into_bytes(),
            Format::JsonLines => self.json_lines().into_bytes(),
            Format::Npy => self.npy().map_err(|cause| Error::file("write", path, cause))?,
            Format::Npz => self.npz().map_err(|cause| Error::file("write", path, cause))?,
        };
        checkpoint::replace(path, &bytes)
    }

    /// `sample,class,p0,p1,…` for probabilities, `sample,class,z0,…` for scores, `sample,y0,…` for values.
    pub fn csv(&self) -> String {
        let letter = match self.meaning {
            Meaning::Probabilities => 'p',
            Meaning::Scores => 'z',
            Meaning::Values => 'y',
        };
        let class = if self.meaning == Meaning::Values { "" } else { ",class" };
        let mut text = format!("sample{class}");
        (0..self.width).for_each(|index| text += &format!(",{letter}{index}"));
        text.push('\n');
        for (sample, row) in self.rows().enumerate() {
            match &self.names {
                Some(names) => text += &quoted(&names[sample]),
                None => text += &sample.to_string(),
            }
            if self.meaning != Meaning::Values {
                text += &format!(",{}", largest(row));
            }
            row.iter().for_each(|number| text += &format!(",{number}"));
            text.push('\n');
        }
        text
    }

    fn json_lines(&self) -> String {
        let line = |(sample, row): (usize, &[f32])| {
            let name =
                self.names.as_ref().map_or(serde_json::json!(sample), |names| names[sample].clone().into());
            let mut line = serde_json::json!({ "sample": name, self.key(): row });
            if self.meaning != Meaning::Values {
                line["class"] = largest(row).into();
            }
            format!("{line}\n")
        };
        self.rows().enumerate().map(line).collect()
    }

    /// The array of rows.
    fn npy(&self) -> Result<Vec<u8>, ndarray_npy::WriteNpyError> {
        let mut bytes = Vec::new();
        self.array().write_npy(&mut bytes)?;
        Ok(bytes)
    }

    /// The array of rows by its name, and `class`.
    fn npz(&self) -> Result<Vec<u8>, ndarray_npy::WriteNpzError> {
        let mut bytes = Vec::new();
        let mut archive = NpzWriter::new(Cursor::new(&mut bytes));
        archive.add_array(self.key(), &self.array())?;
        if self.meaning != Meaning::Values {
            let classes: Array1<i64> = self.rows().map(|row| largest(row) as i64).collect();
            archive.add_array("class", &classes)?;
        }
        archive.finish()?;
        Ok(bytes)
    }

    fn key(&self) -> &'static str {
        match self.meaning {
            Meaning::Probabilities => "probabilities",
            Meaning::Scores => "scores",
            Meaning::Values => "values",
        }
    }

    fn rows(&self) -> impl Iterator<Item = &[f32]> {
        self.outputs.chunks_exact(self.width.max(1))
    }

    fn array(&self) -> Array2<f32> {
        Array2::from_shape_fn((self.len(), self.width), |(row, column)| {
            self.outputs[row * self.width + column]
        })
    }
}

/// The first of the largest, as accuracy counts it.
fn largest(row: &[f32]) -> usize {
    let mut best = 0;
    for (index, value) in row.iter().enumerate() {
        if *value > row[best] {
            best = index;
        }
    }
    best
}

/// A field of a CSV file.
fn quoted(text: &str) -> String {
    if text.contains([',', '"', '\n', '\r']) {
        format!("\"{}\"", text.replace('"', "\"\""))
    } else {
        text.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn predictions(meaning: Meaning) -> Predictions {
        Predictions { names: None, meaning, width: 2, outputs: vec![0.25, 0.75, 0.5, 0.5] }
    }

    #[test]
    fn the_columns_say_what_they_hold() {
        let csv = predictions(Meaning::Probabilities).csv();
        assert_eq!(csv, "sample,class,p0,p1\n0,1,0.25,0.75\n1,0,0.5,0.5\n");
        assert!(predictions(Meaning::Scores).csv().starts_with("sample,class,z0,z1\n"));
        assert_eq!(predictions(Meaning::Values).csv(), "sample,y0,y1\n0,0.25,0.75\n1,0.5,0.5\n");
        let named =
            Predictions { names: Some(vec!["a,b".into(), "c".into()]), ..predictions(Meaning::Values) };
        assert!(named.csv().contains("\n\"a,b\",0.25,0.75\nc,"));
    }

    #[test]
    fn lines_of_json_hold_the_class_where_there_is_one() {
        let lines = predictions(Meaning::Scores).json_lines();
        assert_eq!(lines.lines().next(), Some(r#"{"class":1,"sample":0,"scores":[0.25,0.75]}"#));
        assert!(!predictions(Meaning::Values).json_lines().contains("class"));
    }
}
