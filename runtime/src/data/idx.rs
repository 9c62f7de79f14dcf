//! `idx:DIR`: the layout of MNIST (Y. LeCun, "The MNIST database of handwritten digits"), gzipped or not: images in
//! `train-images-idx3-ubyte` and `t10k-images-idx3-ubyte`, labels in `train-labels-idx1-ubyte` and
//! `t10k-labels-idx1-ubyte`. Numbers are big-endian.

use std::path::{Path, PathBuf};

use super::{Loader, Raw, Set, Targets, Values, Wanted, bytes};
use crate::Error;

pub struct Idx {
    pub folder: PathBuf,
}

/// An array of bytes.
struct Array {
    shape: Vec<usize>,
    values: Vec<u8>,
}

const UNSIGNED_BYTE: u8 = 0x08;

impl Loader for Idx {
    fn load(&self, _wanted: &Wanted) -> Result<Raw<Set>, Error> {
        let train = self.pair("train")?.ok_or_else(|| self.absent())?;
        Ok(Raw { train, test: self.pair("t10k")? })
    }
}

impl Idx {
    fn absent(&self) -> Error {
        Error::new(format!("{} holds no train-images-idx3-ubyte", self.folder.display()))
            .with_help("the folder has the four files of MNIST, gzipped (.gz) or not")
    }

    /// Images and labels, or nothing where there are no such images.
    fn pair(&self, part: &str) -> Result<Option<Set>, Error> {
        let Some(image_path) = self.find(&format!("{part}-images"), 3) else { return Ok(None) };
        let label_path = self.find(&format!("{part}-labels"), 1).ok_or_else(|| {
            Error::new(format!("{} holds {part}-images but no {part}-labels", self.folder.display()))
        })?;
        let (images, labels) = (read(&image_path)?, read(&label_path)?);
        if labels.shape.len() != 1 || labels.shape[0] != images.shape[0] {
            let (images, labels) = (images.shape[0], labels.values.len());
            return Err(Error::new(format!(
                "{} holds {labels} labels for {images} images",
                label_path.display()
            )));
        }
        Ok(Some(Set {
            source: image_path.display().to_string(),
            unit: "image",
            first: 0,
            shape: images.shape[1..].to_vec(),
            classes: None,
            values: Values::Bytes { values: images.values, full: 255 },
            targets: Targets::Class(labels.values.iter().map(|label| i32::from(*label)).collect()),
        }))
    }

    fn find(&self, stem: &str, rank: u8) -> Option<PathBuf> {
        let names = ["-", "."].map(|dash| format!("{stem}{dash}idx{rank}-ubyte"));
        let names = names.iter().flat_map(|name| [name.clone(), format!("{name}.gz")]);
        names.map(|name| self.folder.join(name)).find(|path| path.exists())
    }
}

fn read(path: &Path) -> Result<Array, Error> {
    parse(bytes::read(path)?).map_err(|(offset, cause)| {
        Error::new(format!("{}: byte {offset}: {cause}", path.display()))
            .with_help("take a fresh copy of the file")
    })
}

/// Magic number (two zeros, type, rank), extents, values. An error says at which byte.
fn parse(mut content: Vec<u8>) -> Result<Array, (usize, String)> {
    let [0, 0, kind, rank] = *content.get(..4).ok_or((0, "the file is cut off".to_string()))? else {
        return Err((0, "not an IDX file (it begins with two zero bytes)".into()));
    };
    if kind != UNSIGNED_BYTE {
        return Err((2, format!("values of type {kind:#04x}; only unsigned bytes (0x08) are read")));
    }
    let start = 4 + 4 * usize::from(rank);
    let extents = content.get(4..start).ok_or((content.len(), "the file is cut off".to_string()))?;
    let extent = |bytes: &[u8]| bytes.iter().fold(0usize, |value, byte| value << 8 | usize::from(*byte));
    let shape: Vec<usize> = extents.chunks_exact(4).map(extent).collect();
    if shape.is_empty() {
        return Err((3, "an array without extents".into()));
    }
    let size = shape.iter().try_fold(1usize, |size, extent| size.checked_mul(*extent));
    let values = content.split_off(start);
    if size != Some(values.len()) {
        let cause = format!("{} values follow where {shape:?} are declared", values.len());
        return Err((start + values.len(), cause));
    }
    Ok(Array { shape, values })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::load;
    use crate::manifest::Task;
    use std::io::Write;

    fn image_file(count: u8) -> Vec<u8> {
        let mut file = vec![0, 0, 8, 3, 0, 0, 0, count, 0, 0, 0, 2, 0, 0, 0, 2];
        file.extend((0..count * 4).map(|value| value * 10));
        file
    }

    fn label_file(labels: &[u8]) -> Vec<u8> {
        [&[0, 0, 8, 1, 0, 0, 0, labels.len() as u8][..], labels].concat()
    }

    fn read_pair(images: &[u8], labels: &[u8]) -> Result<crate::data::Dataset, Error> {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        let packed = std::fs::File::create(path("train-images-idx3-ubyte.gz")).unwrap();
        let mut packer = flate2::write::GzEncoder::new(packed, flate2::Compression::fast());
        packer.write_all(images).unwrap();
        packer.finish().unwrap();
        std::fs::write(path("train-labels-idx1-ubyte"), labels).unwrap();
        let wanted = Wanted { input_shape: vec![4], task: Task::Class { classes: 3 }, normalize: false };
        load(&format!("idx:{}", folder.path().display()), &wanted)
    }

    #[test]
    fn reads_packed_images_and_plain_labels() {
        let data = read_pair(&image_file(3), &label_file(&[2, 0, 1])).unwrap();
        assert!(data.test.is_none());
        assert_eq!(data.train.targets, Targets::Class(vec![2, 0, 1]));
        assert_eq!(data.train.floats()[4], 40.0 / 255.0);
    }

    #[test]
    fn malformed_files_are_located() {
        let good = image_file(3);
        for (images, labels, part) in [
            (&good[..20], label_file(&[0, 1, 2]), "byte 20: 4 values follow where [3, 2, 2]"),
            (&good[..2], label_file(&[0, 1, 2]), "byte 0: the file is cut off"),
            (b"PNG and so on", label_file(&[0, 1, 2]), "byte 0: not an IDX file"),
            (&[0, 0, 13, 3, 0, 0][..], label_file(&[0, 1, 2]), "byte 2: values of type 0x0d"),
            (&good[..], label_file(&[0, 1]), "2 labels for 3 images"),
            (&good[..], label_file(&[0, 1, 3]), "image 2 has label 3"),
        ] {
            let error = read_pair(images, &labels).unwrap_err();
            assert!(error.message.contains(part), "{error}");
        }
    }

    #[test]
    fn an_empty_folder_is_refused() {
        let wanted = Wanted { input_shape: vec![4], task: Task::Class { classes: 3 }, normalize: false };
        let error = load("idx:/nowhere", &wanted).unwrap_err();
        assert!(error.message.contains("train-images-idx3-ubyte"), "{error}");
    }
}
