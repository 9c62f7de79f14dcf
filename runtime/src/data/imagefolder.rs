//! `imagefolder:DIR`: a folder for each class with PNG and JPEG files. Classes are numbered in the order of their names.
//! With `DIR/train` there is a test set in `DIR/test` or `DIR/val`; else `DIR` itself is the training set.

use std::fs;
use std::path::{Path, PathBuf};
use std::thread;

use super::{Loader, Raw, Set, Targets, Values, Wanted, image_file};
use crate::Error;

pub struct ImageFolder {
    pub folder: PathBuf,
}

const TRAIN: &str = "train";
const TESTS: [&str; 2] = ["test", "val"];

/// A file with its class.
struct Entry {
    path: PathBuf,
    class: usize,
}

/// What all images of a data set have in common, and which of them said so.
#[derive(Clone, Copy)]
struct Format<'a> {
    first: &'a Path,
    width: usize,
    height: usize,
    gray: bool,
}

impl Loader for ImageFolder {
    fn load(&self, wanted: &Wanted) -> Result<Raw<Set>, Error> {
        let inner = self.folder.join(TRAIN);
        let (train, tests) = match inner.is_dir() {
            true => (inner, TESTS.map(|name| self.folder.join(name))),
            false => (self.folder.clone(), TESTS.map(|_| PathBuf::new())),
        };
        let classes = classes(&train)?;
        let entries = entries(&train, &classes, &classes)?;
        let format = Format::of(&entries[0].path, wanted)?;
        let read = |folder: &Path, entries: &[Entry]| set(folder, entries, classes.len(), format);
        let test = match tests.iter().find(|folder| folder.is_dir()) {
            None => None,
            Some(folder) => Some(read(folder, &self::entries(folder, &self::classes(folder)?, &classes)?)?),
        };
        Ok(Raw { train: read(&train, &entries)?, test })
    }
}

/// Names of the folders inside, sorted.
fn classes(folder: &Path) -> Result<Vec<String>, Error> {
    let mut names = Vec::new();
    for path in list(folder)? {
        if path.is_dir() {
            names.push(name(&path));
        }
    }
    if names.is_empty() {
        return Err(Error::new(format!("{} holds no folders of classes", folder.display()))
            .with_help("each class has a folder of its name with its images: DIR/cat/1.png, DIR/dog/1.png"));
    }
    Ok(names)
}

/// What is in a folder, sorted by name; what begins with a dot is not for us.
fn list(folder: &Path) -> Result<Vec<PathBuf>, Error> {
    let refused = |cause| Error::file("read", folder, cause);
    let mut paths = Vec::new();
    for entry in fs::read_dir(folder).map_err(refused)? {
        paths.push(entry.map_err(refused)?.path());
    }
    paths.retain(|path| !name(path).starts_with('.'));
    paths.sort();
    Ok(paths)
}

fn name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// The files of all class folders; their classes are numbered as in `known`.
fn entries(folder: &Path, classes: &[String], known: &[String]) -> Result<Vec<Entry>, Error> {
    let mut entries = Vec::new();
    for class in classes {
        let place = folder.join(class);
        let Some(number) = known.iter().position(|known| known == class) else {
            return Err(Error::new(format!("{} is a class without training images", place.display()))
                .with_help(format!("the classes are {}", known.join(", "))));
        };
        let paths = list(&place)?;
        if paths.is_empty() {
            return Err(Error::new(format!("the class folder {} is empty", place.display()))
                .with_help("remove it, or put the images of the class there"));
        }
        for path in paths {
            check_name(&path)?;
            entries.push(Entry { path, class: number });
        }
    }
    Ok(entries)
}

fn check_name(path: &Path) -> Result<(), Error> {
    if image_file::has_extension(path) && !path.is_dir() {
        return Ok(());
    }
    Err(Error::new(format!("{} is no image", path.display()))
        .with_help("a class folder holds PNG and JPEG files (.png, .jpg, .jpeg) and nothing else"))
}

impl<'a> Format<'a> {
    /// That of the first image; in grey where the network has one channel.
    fn of(path: &'a Path, wanted: &Wanted) -> Result<Self, Error> {
        let (width, height) = image_file::size(path)?;
        let gray = match wanted.input_shape.as_slice() {
            [channels, _, _] => *channels == 1,
            [_, _] => true,
            _ => wanted.sample_size() == width * height,
        };
        Ok(Format { first: path, width, height, gray })
    }

    fn channels(self) -> usize {
        if self.gray { 1 } else { 3 }
    }

    fn size(self) -> usize {
        self.channels() * self.height * self.width
    }

    /// Reads a file into `into`, channel by channel.
    fn read(self, path: &Path, into: &mut [u8]) -> Result<(), Error> {
        let image = image_file::decode(path)?;
        let (width, height) = (image.width() as usize, image.height() as usize);
        if (width, height) != (self.width, self.height) {
            let message = format!(
                "{} is {width}×{height}, but {} is {}×{}",
                path.display(),
                self.first.display(),
                self.width,
                self.height
            );
            return Err(
                Error::new(message).with_help("all images have the same size: resize them beforehand")
            );
        }
        image_file::planes(&image, self.gray, into);
        Ok(())
    }
}

fn set(folder: &Path, entries: &[Entry], classes: usize, format: Format) -> Result<Set, Error> {
    let targets = Targets::Class(entries.iter().map(|entry| entry.class as i32).collect());
    let shape = match format.gray {
        true => vec![format.height, format.width],
        false => vec![3, format.height, format.width],
    };
    let values = Values::Bytes { values: read_all(entries, format)?, full: 255 };
    let source = folder.display().to_string();
    Ok(Set { source, unit: "image", first: 0, shape, classes: Some(classes), values, targets })
}

/// Decodes on all threads of the machine, each a run of files; of several errors the first file's is told.
fn read_all(entries: &[Entry], format: Format) -> Result<Vec<u8>, Error> {
    let size = format.size();
    let total = entries.len().checked_mul(size).filter(|total| *total <= isize::MAX as usize);
    let mut values = vec![0; total.ok_or_else(|| Error::new("the images do not fit into memory"))?];
    let share = entries.len().div_ceil(crate::pool::Pool::available()).max(1);
    let read = |(entries, into): (&[Entry], &mut [u8])| {
        entries
            .iter()
            .zip(into.chunks_exact_mut(size.max(1)))
            .try_for_each(|(entry, into)| format.read(&entry.path, into))
    };
    let results: Vec<Result<(), Error>> = thread::scope(|scope| {
        let shares = entries.chunks(share).zip(values.chunks_mut((share * size).max(1)));
        let threads: Vec<_> = shares.map(|share| scope.spawn(move || read(share))).collect();
        let crashed = |_| Err(Error::new("an image made its decoder fail"));
        threads.into_iter().map(|thread| thread.join().unwrap_or_else(crashed)).collect()
    });
    results.into_iter().collect::<Result<(), Error>>()?;
    Ok(values)
}

#[cfg(test)]
mod tests {
    use image::{GrayImage, Luma, Rgb, RgbImage};

    use super::*;
    use crate::data::{Dataset, load};
    use crate::manifest::Task;

    fn read(folder: &Path, shape: &[usize], classes: usize) -> Result<Dataset, Error> {
        let wanted = Wanted { input_shape: shape.to_vec(), task: Task::Class { classes }, normalize: false };
        load(&format!("imagefolder:{}", folder.display()), &wanted)
    }

    fn save(folder: &Path, name: &str, red: u8) {
        let path = folder.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        RgbImage::from_fn(3, 2, |x, y| Rgb([red, 10 * x as u8, 100 + y as u8])).save(path).unwrap();
    }

    fn rounded(values: &[f32]) -> Vec<u8> {
        values.iter().map(|value| (value * 255.0).round() as u8).collect()
    }

    #[test]
    fn classes_are_numbered_by_name_and_channels_come_first() {
        let folder = tempfile::tempdir().unwrap();
        for (name, red) in [("zebra/b.png", 3), ("ant/z.PNG", 1), ("ant/10.png", 2)] {
            save(folder.path(), name, red);
        }
        fs::write(folder.path().join("readme.txt"), "not a class").unwrap();
        fs::write(folder.path().join("ant/.hidden"), "not an image").unwrap();
        let data = read(folder.path(), &[3, 2, 3], 2).unwrap();
        assert!(data.test.is_none());
        assert_eq!(data.train.targets, Targets::Class(vec![0, 0, 1]));
        let image = [2, 2, 2, 2, 2, 2, 0, 10, 20, 0, 10, 20, 100, 100, 100, 101, 101, 101];
        assert_eq!(rounded(&data.train.floats()[..18]), image);
    }

    #[test]
    fn a_test_set_takes_the_numbers_of_the_training_classes() {
        for part in TESTS {
            let folder = tempfile::tempdir().unwrap();
            for name in ["train/a/1.png", "train/b/1.png"] {
                save(folder.path(), name, 1);
            }
            save(folder.path(), &format!("{part}/b/1.png"), 9);
            let data = read(folder.path(), &[3, 2, 3], 2).unwrap();
            assert_eq!(data.test.unwrap().targets, Targets::Class(vec![1]));
            save(folder.path(), &format!("{part}/c/1.png"), 9);
            let error = read(folder.path(), &[3, 2, 3], 2).unwrap_err();
            assert!(error.message.contains("c is a class without training images"), "{error}");
        }
    }

    #[test]
    fn networks_with_one_channel_see_grey() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        fs::create_dir(&path).unwrap();
        GrayImage::from_fn(3, 2, |x, y| Luma([(x + 3 * y) as u8])).save(path.join("1.png")).unwrap();
        for shape in [&[1, 2, 3][..], &[2, 3], &[6]] {
            let data = read(folder.path(), shape, 1).unwrap();
            assert_eq!(rounded(&data.train.floats()), [0, 1, 2, 3, 4, 5]);
        }
        assert_eq!(
            rounded(&read(folder.path(), &[3, 2, 3], 1).unwrap().train.floats()[6..12]),
            [0, 1, 2, 3, 4, 5]
        );
    }

    #[test]
    fn jpegs_are_read_nearly_as_they_were() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a/1.jpg");
        fs::create_dir(folder.path().join("a")).unwrap();
        RgbImage::from_fn(8, 8, |_, _| Rgb([200, 100, 50])).save(&path).unwrap();
        let floats = read(folder.path(), &[3, 8, 8], 1).unwrap().train.floats();
        for (plane, value) in floats.chunks(64).zip([200.0, 100.0, 50.0]) {
            assert!(plane.iter().all(|pixel| (pixel * 255.0 - value).abs() < 4.0), "{plane:?}");
        }
        // The kind is told by the content.
        fs::rename(&path, folder.path().join("a/1.png")).unwrap();
        assert_eq!(read(folder.path(), &[3, 8, 8], 1).unwrap().train.floats(), floats);
    }

    #[test]
    fn malformed_folders_name_the_file() {
        type Spoil = fn(&Path);
        let cases: [(Spoil, &str); 9] = [
            (|folder| fs::write(folder.join("b/2.png"), "no image").unwrap(), "2.png"),
            (|folder| fs::write(folder.join("b/2.jpg"), [0xff, 0xd8, 0xff]).unwrap(), "2.jpg"),
            (cut_off, "cut.png"),
            (|folder| fs::write(folder.join("b/notes.txt"), "x").unwrap(), "notes.txt is no image"),
            (|folder| fs::create_dir(folder.join("b/more.png")).unwrap(), "more.png is no image"),
            (|folder| fs::create_dir(folder.join("c")).unwrap(), "c is empty"),
            (odd_size, "odd.png is 4×4, but"),
            (|folder| fs::remove_dir_all(folder).unwrap(), "cannot read"),
            (
                |folder| ["a", "b"].iter().for_each(|class| fs::remove_dir_all(folder.join(class)).unwrap()),
                "holds no folders of classes",
            ),
        ];
        for (spoil, part) in cases {
            let folder = tempfile::tempdir().unwrap();
            ["a/1.png", "b/1.png"].iter().for_each(|name| save(folder.path(), name, 1));
            spoil(folder.path());
            let error = read(folder.path(), &[3, 2, 3], 2).unwrap_err();
            assert!(error.message.contains(part), "{part}: {error}");
        }
    }

    fn cut_off(folder: &Path) {
        let whole = fs::read(folder.join("b/1.png")).unwrap();
        fs::write(folder.join("b/cut.png"), &whole[..whole.len() / 2]).unwrap();
    }

    fn odd_size(folder: &Path) {
        RgbImage::new(4, 4).save(folder.join("b/odd.png")).unwrap();
    }

    #[test]
    fn what_does_not_fit_the_network_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        ["a/1.png", "b/1.png"].iter().for_each(|name| save(folder.path(), name, 1));
        let refused = |shape: &[usize], classes| read(folder.path(), shape, classes).unwrap_err().to_string();
        assert!(refused(&[3, 2, 3], 10).contains("2 classes, but the network has 10"));
        assert!(refused(&[3, 3, 2], 2).contains("samples of [3, 2, 3], but the network takes [3, 3, 2]"));
    }
}
