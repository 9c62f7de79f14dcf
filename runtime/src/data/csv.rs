//! `csv:FILE`: one sample a row, with a header or without. The target is the column named `label`, `target` or `class`,
//! else the last; a target of n values is the last n columns.

use std::path::{Path, PathBuf};

use csv::{ReaderBuilder, StringRecord};

use super::{Loader, Raw, Set, Targets, Values, Wanted, bytes};
use crate::Error;
use crate::error::counted;
use crate::manifest::Task;

pub struct Csv {
    pub path: PathBuf,
}

/// Numbers in rows of equal width.
pub struct Table {
    header: Option<Vec<String>>,
    width: usize,
    values: Vec<f64>,
}

const TARGET_NAMES: [&str; 3] = ["label", "target", "class"];

impl Loader for Csv {
    fn load(&self, wanted: &Wanted) -> Result<Raw<Set>, Error> {
        let content = bytes::read(&self.path)?;
        let source = self.path.display().to_string();
        let table = parse(&content, &source)?;
        Ok(Raw { train: split(&table, source, &self.path, wanted.task)?, test: None })
    }
}

impl Table {
    pub fn rows(&self) -> usize {
        self.values.len() / self.width.max(1)
    }

    pub fn row(&self, index: usize) -> &[f64] {
        &self.values[index * self.width..][..self.width]
    }

    /// Line of a row in the file, where no field holds a line break.
    fn line(&self, row: usize) -> usize {
        row + 1 + usize::from(self.header.is_some())
    }

    /// First column and number of the target's columns.
    fn target(&self, size: usize) -> usize {
        let is_target = |name: &String| TARGET_NAMES.contains(&name.trim().to_lowercase().as_str());
        let named = self.header.as_ref().and_then(|header| header.iter().position(is_target));
        match named {
            Some(column) if size == 1 => column,
            _ => self.width - size,
        }
    }
}

/// Reads numbers; `source` names them in messages.
pub fn parse(content: &[u8], source: &str) -> Result<Table, Error> {
    let mut reader = ReaderBuilder::new().has_headers(false).flexible(true).from_reader(content);
    let mut table = Table { header: None, width: 0, values: Vec::new() };
    let mut record = StringRecord::new();
    let mut first = true;
    loop {
        let more = reader.read_record(&mut record);
        if !more.map_err(|cause| Error::new(format!("{source}: {cause}")))? {
            return Ok(table);
        }
        if first {
            table.width = record.len();
            table.header = header(&record);
        }
        if !first || table.header.is_none() {
            append(&mut table, &record).map_err(|cause| cause.locate(source, &record))?;
        }
        first = false;
    }
}

/// The first row is a header when one of its fields is no number.
fn header(record: &StringRecord) -> Option<Vec<String>> {
    let is_number = |field: &str| field.trim().parse::<f64>().is_ok();
    (!record.iter().all(is_number)).then(|| record.iter().map(str::to_string).collect())
}

/// What is wrong with a row.
enum Fault {
    Width { expected: usize },
    Number { column: usize },
}

fn append(table: &mut Table, record: &StringRecord) -> Result<(), Fault> {
    if record.len() != table.width {
        return Err(Fault::Width { expected: table.width });
    }
    for (column, field) in record.iter().enumerate() {
        let value = field.trim().parse::<f64>().map_err(|_| Fault::Number { column })?;
        table.values.push(value);
    }
    Ok(())
}

impl Fault {
    fn locate(self, source: &str, record: &StringRecord) -> Error {
        let line = record.position().map_or(0, |position| position.line());
        match self {
            Fault::Width { expected } => {
                let fields = counted(record.len(), "field");
                Error::new(format!("{source}: line {line} has {fields}, the first line {expected}"))
                    .with_help("every row has the same number of fields")
            }
            Fault::Number { column } => {
                let field = record.get(column).unwrap_or_default();
                Error::new(format!("{source}: line {line}, column {}: `{field}` is not a number", column + 1))
                    .with_help(match field.contains([';', '\t']) {
                        true => "separate the fields by commas",
                        false => "write numbers only; number the classes from 0",
                    })
            }
        }
    }
}

fn split(table: &Table, source: String, path: &Path, task: Task) -> Result<Set, Error> {
    let size = match task {
        Task::Class { .. } => 1,
        Task::Float { size } => size,
    };
    if table.width <= size {
        let columns = counted(table.width, "column");
        return Err(Error::new(format!(
            "{} has {columns}, too few for samples and their targets",
            path.display()
        )));
    }
    let target = table.target(size);
    let (mut inputs, mut targets) = (Vec::new(), Vec::new());
    for row in 0..table.rows() {
        let row = table.row(row);
        inputs.extend(row[..target].iter().chain(&row[target + size..]).map(|value| *value as f32));
        targets.extend_from_slice(&row[target..target + size]);
    }
    let targets = match task {
        Task::Class { .. } => labels(table, &source, target, &targets)?,
        Task::Float { .. } => {
            Targets::Float { values: targets.iter().map(|value| *value as f32).collect(), size }
        }
    };
    let shape = vec![table.width - size];
    let first = table.line(0);
    Ok(Set { source, unit: "line", first, shape, classes: None, values: Values::Floats(inputs), targets })
}

fn labels(table: &Table, source: &str, column: usize, values: &[f64]) -> Result<Targets, Error> {
    let label = |(row, value): (usize, &f64)| {
        let label = *value as i32;
        let line = table.line(row);
        let wrong =
            || Error::new(format!("{source}: line {line}, column {}: `{value}` is no class", column + 1));
        (f64::from(label) == *value).then_some(label).ok_or_else(wrong)
    };
    values.iter().enumerate().map(label).collect::<Result<_, _>>().map(Targets::Class).map_err(|error| {
        error.with_help("a class is an integer from 0; the label is the last column, or one named `label`")
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::load;

    fn read(content: &str, shape: usize, task: Task) -> Result<crate::data::Dataset, Error> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("d.csv");
        std::fs::write(&path, content).unwrap();
        let wanted = Wanted { input_shape: vec![shape], task, normalize: true };
        load(&format!("csv:{}", path.display()), &wanted)
    }

    const CLASSES: Task = Task::Class { classes: 3 };

    #[test]
    fn takes_the_last_column_or_the_named_one() {
        let last = read("1,2,0\n3,4,2\n", 2, CLASSES).unwrap().train;
        assert_eq!(last.floats(), [1.0, 2.0, 3.0, 4.0]);
        assert_eq!(last.targets, Targets::Class(vec![0, 2]));
        let named = read("a,Label,b\n1,0,2\n3,2,4\n", 2, CLASSES).unwrap().train;
        assert_eq!(named, last);
    }

    #[test]
    fn takes_the_last_columns_as_values() {
        let set = read("1,2,0.5\n3,4,2.5\n", 1, Task::Float { size: 2 }).unwrap().train;
        assert_eq!(set.floats(), [1.0, 3.0]);
        assert_eq!(set.targets, Targets::Float { values: vec![2.0, 0.5, 4.0, 2.5], size: 2 });
    }

    #[test]
    fn malformed_rows_are_located() {
        for (content, part) in [
            ("1,2,0\n3,4\n", "line 2 has 2 fields, the first line 3"),
            ("1,2,0\n3,x,1\n", "line 2, column 2: `x` is not a number"),
            ("1,2,0\n3,4,1.5\n", "line 2, column 3: `1.5` is no class"),
            ("a,b,label\n3,4,7\n", "line 2 has label 7"),
            ("1,2,0\n3,nan,1\n", "line 2 holds a number that is not finite"),
            ("1,2,3,0\n", "samples of [3]"),
            ("a,b,label\n", "no samples"),
            ("", "too few"),
        ] {
            let error = read(content, 2, CLASSES).unwrap_err();
            assert!(error.message.contains(part), "{error}");
        }
    }

    #[test]
    fn an_absent_file_is_named() {
        let wanted = Wanted { input_shape: vec![1], task: CLASSES, normalize: true };
        assert!(load("csv:/nowhere/x.csv", &wanted).unwrap_err().message.contains("/nowhere/x.csv"));
    }
}
