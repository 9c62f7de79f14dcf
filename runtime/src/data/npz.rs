//! `npz:FILE`: NumPy's archive with arrays `x_train` and `y_train`, and perhaps `x_test` and `y_test`.

use std::fs::File;
use std::path::PathBuf;

use ndarray::{ArrayD, IxDyn, OwnedRepr};
use ndarray_npy::{NpzReader, ReadNpyError, ReadNpzError, ReadableElement};

use super::{Loader, Raw, Set, Targets, Values, Wanted};
use crate::Error;
use crate::error::shape_text;
use crate::manifest::Task;

pub struct Npz {
    pub path: PathBuf,
}

/// An array of whichever type the file holds, row-major.
struct Array {
    shape: Vec<usize>,
    elements: Elements,
}

enum Elements {
    Bytes(Vec<u8>),
    Integers(Vec<i64>),
    Floats(Vec<f64>),
}

impl Loader for Npz {
    fn load(&self, wanted: &Wanted) -> Result<Raw<Set>, Error> {
        let file = File::open(&self.path).map_err(|cause| Error::file("open", &self.path, cause))?;
        let mut archive = NpzReader::new(file).map_err(|cause| Error::file("read", &self.path, cause))?;
        let names = archive.names().map_err(|cause| Error::file("read", &self.path, cause))?;
        let train = self.pair(&mut archive, "train", wanted)?;
        let has_test = names.iter().any(|name| name == "x_test" || name == "y_test");
        let test = if has_test { Some(self.pair(&mut archive, "test", wanted)?) } else { None };
        Ok(Raw { train, test })
    }
}

impl Npz {
    fn pair(&self, archive: &mut NpzReader<File>, part: &str, wanted: &Wanted) -> Result<Set, Error> {
        let (x_name, y_name) = (format!("x_{part}"), format!("y_{part}"));
        let (x, y) = (self.array(archive, &x_name)?, self.array(archive, &y_name)?);
        let source = format!("{}: {x_name}", self.path.display());
        let count = |array: &Array| array.shape.first().copied().unwrap_or_default();
        if count(&x) != count(&y) {
            let (x, y) = (shape_text(&x.shape), shape_text(&y.shape));
            return Err(Error::new(format!("{source} has shape {x}, but {y_name} {y}"))
                .with_help("both have one row for each sample"));
        }
        let targets = y.targets(wanted.task).ok_or_else(|| y.misfit(&self.path, &y_name, wanted.task))?;
        let shape = x.shape[1..].to_vec();
        Ok(Set {
            source,
            unit: "sample",
            first: 0,
            shape,
            classes: None,
            values: x.elements.values(),
            targets,
        })
    }

    fn array(&self, archive: &mut NpzReader<File>, name: &str) -> Result<Array, Error> {
        let array = read_any(archive, name).map_err(|cause| {
            Error::file("read", &self.path, format!("{name}: {cause}"))
                .with_help("the archive holds x_train, y_train and, for evaluation, x_test, y_test")
        })?;
        if array.shape.is_empty() {
            return Err(Error::file("read", &self.path, format!("{name} is a single number")));
        }
        Ok(array)
    }
}

/// Tries the types one after the other: the archive's reader must know it beforehand.
fn read_any(archive: &mut NpzReader<File>, name: &str) -> Result<Array, ReadNpzError> {
    macro_rules! attempt {
        ($($element:ty => $variant:ident),*) => {
            $(match read::<$element>(archive, name) {
                Err(ReadNpzError::Npy(ReadNpyError::WrongDescriptor(_))) => {}
                result => {
                    let (shape, values) = result?;
                    let elements = Elements::$variant(values.into_iter().map(|value| value as _).collect());
                    return Ok(Array { shape, elements });
                }
            })*
        };
    }
    attempt!(f32 => Floats, f64 => Floats, u8 => Bytes, i64 => Integers, i32 => Integers, i16 => Integers,
             i8 => Integers, u16 => Integers, u32 => Integers);
    read::<u64>(archive, name).map(|(shape, values)| Array {
        shape,
        elements: Elements::Integers(
            values.into_iter().map(|value| value.min(i64::MAX as u64) as i64).collect(),
        ),
    })
}

fn read<T: ReadableElement + Clone>(
    archive: &mut NpzReader<File>,
    name: &str,
) -> Result<(Vec<usize>, Vec<T>), ReadNpzError> {
    let array: ArrayD<T> = archive.by_name::<OwnedRepr<T>, IxDyn>(name)?;
    let shape = array.shape().to_vec();
    let array = array.as_standard_layout().into_owned();
    Ok((shape, array.into_raw_vec_and_offset().0))
}

impl Elements {
    fn values(self) -> Values {
        match self {
            Elements::Bytes(values) => Values::Bytes { values, full: u8::MAX },
            Elements::Integers(values) => {
                Values::Floats(values.into_iter().map(|value| value as f32).collect())
            }
            Elements::Floats(values) => {
                Values::Floats(values.into_iter().map(|value| value as f32).collect())
            }
        }
    }

    /// Integers, or nothing where one is none or is too large.
    fn labels(&self) -> Option<Vec<i32>> {
        match self {
            Elements::Bytes(values) => Some(values.iter().map(|value| i32::from(*value)).collect()),
            Elements::Integers(values) => values.iter().map(|value| i32::try_from(*value).ok()).collect(),
            Elements::Floats(values) => values
                .iter()
                .map(|value| (f64::from(*value as i32) == *value).then_some(*value as i32))
                .collect(),
        }
    }

    fn floats(&self) -> Vec<f32> {
        match self {
            Elements::Bytes(values) => values.iter().map(|value| f32::from(*value)).collect(),
            Elements::Integers(values) => values.iter().map(|value| *value as f32).collect(),
            Elements::Floats(values) => values.iter().map(|value| *value as f32).collect(),
        }
    }
}

impl Array {
    fn targets(&self, task: Task) -> Option<Targets> {
        let width: usize = self.shape[1..].iter().product();
        match task {
            Task::Class { .. } if width == 1 => self.elements.labels().map(Targets::Class),
            Task::Class { .. } => None,
            Task::Float { .. } => Some(Targets::Float { values: self.elements.floats(), size: width.max(1) }),
        }
    }

    fn misfit(&self, path: &std::path::Path, name: &str, task: Task) -> Error {
        let shape = shape_text(&self.shape);
        let wanted = match task {
            Task::Class { classes } => {
                format!("one integer from 0 to {} for each sample", classes.max(1) - 1)
            }
            Task::Float { size } => format!("{size} values for each sample"),
        };
        Error::new(format!("{}: {name} of shape {shape} is not {wanted}", path.display()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::load;
    use ndarray::{Array1, Array2, Array3};
    use ndarray_npy::NpzWriter;

    fn write(fill: impl FnOnce(&mut NpzWriter<File>)) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        let file = File::create(folder.path().join("d.npz")).unwrap();
        let mut writer = NpzWriter::new_compressed(file);
        fill(&mut writer);
        writer.finish().unwrap();
        folder
    }

    fn read(folder: &tempfile::TempDir, task: Task) -> Result<crate::data::Dataset, Error> {
        let wanted = Wanted { input_shape: vec![4], task, normalize: false };
        load(&format!("npz:{}", folder.path().join("d.npz").display()), &wanted)
    }

    const CLASSES: Task = Task::Class { classes: 3 };

    #[test]
    fn reads_bytes_and_labels_with_a_test_pair() {
        let folder = write(|npz| {
            npz.add_array("x_train", &Array3::<u8>::from_elem((2, 2, 2), 255)).unwrap();
            npz.add_array("y_train", &Array1::<i64>::from(vec![2, 0])).unwrap();
            npz.add_array("x_test", &Array2::<f64>::from_elem((1, 4), 0.5)).unwrap();
            npz.add_array("y_test", &Array1::<i32>::from(vec![1])).unwrap();
        });
        let data = read(&folder, CLASSES).unwrap();
        assert_eq!(data.train.floats(), [1.0; 8]);
        assert_eq!(data.train.targets, Targets::Class(vec![2, 0]));
        assert_eq!(data.test.unwrap().floats(), [0.5; 4]);
    }

    #[test]
    fn reads_values() {
        let folder = write(|npz| {
            npz.add_array("x_train", &Array2::<f32>::zeros((2, 4))).unwrap();
            npz.add_array("y_train", &Array2::<f32>::from_elem((2, 3), 1.5)).unwrap();
        });
        let data = read(&folder, Task::Float { size: 3 }).unwrap();
        assert_eq!(data.train.targets, Targets::Float { values: vec![1.5; 6], size: 3 });
        assert!(read(&folder, Task::Float { size: 2 }).unwrap_err().message.contains("3 target values"));
        assert!(read(&folder, CLASSES).unwrap_err().message.contains("y_train of shape [2, 3]"));
    }

    #[test]
    fn malformed_archives_are_named() {
        let lonely = write(|npz| npz.add_array("x_train", &Array2::<f32>::zeros((2, 4))).unwrap());
        assert!(read(&lonely, CLASSES).unwrap_err().message.contains("y_train"));
        let uneven = write(|npz| {
            npz.add_array("x_train", &Array2::<f32>::zeros((2, 4))).unwrap();
            npz.add_array("y_train", &Array1::<i64>::from(vec![0, 1, 2])).unwrap();
        });
        assert!(read(&uneven, CLASSES).unwrap_err().message.contains("[2, 4], but y_train [3]"));
        std::fs::write(uneven.path().join("d.npz"), b"no archive").unwrap();
        assert!(read(&uneven, CLASSES).unwrap_err().message.contains("d.npz"));
    }
}
