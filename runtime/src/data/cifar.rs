//! `cifar10:DIR` and `cifar100:DIR`: the binary layout of CIFAR (A. Krizhevsky, "Learning multiple layers of features
//! from tiny images", 2009; <https://www.cs.toronto.edu/~kriz/cifar.html>). A record is one label byte (CIFAR-10), or a
//! coarse and a fine one (CIFAR-100, of which the fine label is taken), and 3072 bytes: the red, green and blue planes of
//! a 32×32 image, row by row.

use std::path::{Path, PathBuf};

use super::{Loader, Raw, Set, Targets, Values, Wanted, bytes};
use crate::Error;

pub struct Cifar {
    pub folder: PathBuf,
    pub layout: Layout,
}

/// One of the two data sets.
#[derive(Clone, Copy)]
pub struct Layout {
    name: &'static str,
    /// The folder that the official archive makes; `DIR` is it or holds it.
    subfolder: &'static str,
    train: &'static [&'static str],
    test: &'static [&'static str],
    /// Label bytes of a record; the last one counts.
    labels: usize,
    classes: u8,
}

pub const CIFAR10: Layout = Layout {
    name: "CIFAR-10",
    subfolder: "cifar-10-batches-bin",
    train: &[
        "data_batch_1.bin",
        "data_batch_2.bin",
        "data_batch_3.bin",
        "data_batch_4.bin",
        "data_batch_5.bin",
    ],
    test: &["test_batch.bin"],
    labels: 1,
    classes: 10,
};

pub const CIFAR100: Layout = Layout {
    name: "CIFAR-100",
    subfolder: "cifar-100-binary",
    train: &["train.bin"],
    test: &["test.bin"],
    labels: 2,
    classes: 100,
};

const SHAPE: [usize; 3] = [3, 32, 32];
const PIXELS: usize = SHAPE[0] * SHAPE[1] * SHAPE[2];

impl Loader for Cifar {
    fn load(&self, _wanted: &Wanted) -> Result<Raw<Set>, Error> {
        let folder = self.place()?;
        let train = self.set(&folder, self.layout.train)?;
        Ok(Raw { train, test: Some(self.set(&folder, self.layout.test)?) })
    }
}

impl Cifar {
    /// The folder with the files, all of which must be there before any is read.
    fn place(&self) -> Result<PathBuf, Error> {
        let inner = self.folder.join(self.layout.subfolder);
        let folder = if inner.is_dir() { inner } else { self.folder.clone() };
        let mut files = self.layout.train.iter().chain(self.layout.test);
        match files.find(|file| !folder.join(file).exists()) {
            None => Ok(folder),
            Some(file) => {
                Err(Error::new(format!("{} holds no {file}", folder.display())).with_help(format!(
                    "the folder has the files of {}'s binary version, as its archive unpacks them into {}",
                    self.layout.name, self.layout.subfolder
                )))
            }
        }
    }

    fn set(&self, folder: &Path, files: &[&str]) -> Result<Set, Error> {
        let (mut values, mut labels) = (Vec::new(), Vec::new());
        for file in files {
            let path = folder.join(file);
            self.append(&bytes::read(&path)?, &mut values, &mut labels)
                .map_err(|cause| Error::new(format!("{}: {cause}", path.display())).with_help(self.cure()))?;
        }
        Ok(Set {
            source: folder.join(files[0]).display().to_string(),
            unit: "image",
            first: 0,
            shape: SHAPE.to_vec(),
            classes: Some(self.layout.classes.into()),
            values: Values::Bytes { values, full: 255 },
            targets: Targets::Class(labels),
        })
    }

    fn cure(&self) -> String {
        format!("take a fresh copy of {}'s binary version (not the Python or Matlab one)", self.layout.name)
    }

    /// Takes a file's records apart. An error says at which byte.
    fn append(&self, content: &[u8], values: &mut Vec<u8>, labels: &mut Vec<i32>) -> Result<(), String> {
        let record = self.layout.labels + PIXELS;
        if content.is_empty() {
            return Err("byte 0: the file is empty".into());
        }
        let whole = content.len() / record * record;
        if whole != content.len() {
            let size = content.len();
            return Err(format!(
                "byte {whole}: the file is cut off or of another kind: {size} bytes are no multiple of a record's {record}"
            ));
        }
        values.reserve(whole / record * PIXELS);
        for (index, record) in content.chunks_exact(record).enumerate() {
            let (head, pixels) = record.split_at(self.layout.labels);
            let label = head[head.len() - 1];
            if label >= self.layout.classes {
                let at = index * record.len() + head.len() - 1;
                let Layout { name, classes, .. } = self.layout;
                return Err(format!(
                    "byte {at} (image {index}): label {label}, but {name} has {classes} classes"
                ));
            }
            labels.push(label.into());
            values.extend_from_slice(pixels);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::data::{Dataset, load};
    use crate::manifest::Task;

    /// Records with the given heads; every pixel of image `i` of a file is `first + i`.
    fn file(heads: &[&[u8]], first: u8) -> Vec<u8> {
        let record = |(index, head): (usize, &&[u8])| [*head, &[first + index as u8; PIXELS]].concat();
        heads.iter().enumerate().flat_map(record).collect()
    }

    fn write(folder: &Path, layout: &Layout, head: &[u8]) {
        for (index, name) in layout.train.iter().chain(layout.test).enumerate() {
            fs::write(folder.join(name), file(&[head, head], 10 * index as u8)).unwrap();
        }
    }

    fn read(kind: &str, folder: &Path, classes: usize) -> Result<Dataset, Error> {
        let wanted = Wanted { input_shape: SHAPE.to_vec(), task: Task::Class { classes }, normalize: false };
        load(&format!("{kind}:{}", folder.display()), &wanted)
    }

    #[test]
    fn files_follow_one_another_and_fine_labels_count() {
        let folder = tempfile::tempdir().unwrap();
        write(folder.path(), &CIFAR10, &[7]);
        let data = read("cifar10", folder.path(), 10).unwrap();
        assert_eq!(data.train.targets, Targets::Class(vec![7; 10]));
        let floats = data.train.floats();
        let firsts: Vec<u8> = floats.chunks(PIXELS).map(|image| (image[0] * 255.0).round() as u8).collect();
        assert_eq!(firsts, [0, 1, 10, 11, 20, 21, 30, 31, 40, 41]);
        assert_eq!(data.test.unwrap().len(), 2);

        let inner = folder.path().join(CIFAR100.subfolder);
        fs::create_dir(&inner).unwrap();
        write(&inner, &CIFAR100, &[19, 83]);
        let data = read("cifar100", folder.path(), 100).unwrap();
        assert_eq!(data.train.targets, Targets::Class(vec![83; 2]));
    }

    #[test]
    fn channels_are_normalized_apart() {
        let folder = tempfile::tempdir().unwrap();
        write(folder.path(), &CIFAR10, &[7]);
        // Red is all zeros, green alternates between the images, blue is full.
        let image = |green: u8| [&[1][..], &[0; 1024], &[green; 1024], &[255; 1024]].concat();
        for name in CIFAR10.train {
            fs::write(folder.path().join(name), [image(0), image(102)].concat()).unwrap();
        }
        let wanted =
            Wanted { input_shape: SHAPE.to_vec(), task: Task::Class { classes: 10 }, normalize: true };
        let data = load(&format!("cifar10:{}", folder.path().display()), &wanted).unwrap();
        let mut image = vec![0.0; PIXELS];
        data.train.read(1, &mut image);
        assert_eq!((image[0], image[1024], image[2048]), (0.0, 1.0, 0.0));
        assert_eq!(data.train.black(1), -1.0);
    }

    #[test]
    fn malformed_files_are_located() {
        let good = file(&[&[1], &[2]], 0);
        for (content, part) in [
            (&good[..6000], "data_batch_3.bin: byte 3073: the file is cut off"),
            (&good[..3072], "data_batch_3.bin: byte 0: the file is cut off"),
            (&[], "data_batch_3.bin: byte 0: the file is empty"),
            (
                &file(&[&[9], &[10]], 0),
                "data_batch_3.bin: byte 3073 (image 1): label 10, but CIFAR-10 has 10",
            ),
            (&[0x1f, 0x8b, 8, 0], "cannot unpack"),
        ] {
            let folder = tempfile::tempdir().unwrap();
            write(folder.path(), &CIFAR10, &[7]);
            fs::write(folder.path().join("data_batch_3.bin"), content).unwrap();
            let error = read("cifar10", folder.path(), 10).unwrap_err();
            assert!(error.message.contains(part), "{error}");
        }
    }

    #[test]
    fn what_is_absent_unreadable_or_does_not_fit_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let refused = |kind, classes| read(kind, folder.path(), classes).unwrap_err().to_string();
        assert!(refused("cifar10", 10).contains("holds no data_batch_1.bin"));
        assert!(refused("cifar100", 100).contains("cifar-100-binary"));
        write(folder.path(), &CIFAR10, &[7]);
        assert!(refused("cifar10", 100).contains("class[10]"));
        fs::remove_file(folder.path().join("test_batch.bin")).unwrap();
        fs::create_dir(folder.path().join("test_batch.bin")).unwrap();
        let error = refused("cifar10", 10);
        assert!(error.contains("cannot read") && error.contains("test_batch.bin"), "{error}");
    }
}
