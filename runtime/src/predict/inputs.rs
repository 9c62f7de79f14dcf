//! Samples without targets: a data set's, an array's, or images.

use std::path::Path;

use ndarray::ArrayD;
use ndarray_npy::{ReadNpyError, ReadNpyExt, ReadableElement};

use crate::Error;
use crate::data::{self, Normalization, Scale, Wanted, image_file};
use crate::error::{counted, shape_text};
use crate::manifest::{Manifest, Outline};

pub struct Inputs {
    values: data::Inputs,
    /// Floats of one sample.
    size: usize,
    /// Files, where samples are those; else samples are numbered.
    pub names: Option<Vec<String>>,
}

impl Inputs {
    /// What `specs` names, as the network takes it. `notes` are those of the weights: how bytes become numbers.
    pub fn read(manifest: &Manifest, specs: &[String], notes: Option<&str>) -> Result<Self, Error> {
        let program = manifest.defaults.data.as_slice();
        let specs = if specs.is_empty() { program } else { specs };
        match specs {
            [] => {
                Err(Error::usage("no data to look at").with_help("give --data DATA, npy:FILE or image files"))
            }
            [one] => match one.strip_prefix("npy:") {
                Some(file) => array(manifest, Path::new(file), notes),
                None if is_image(one) => images(manifest, specs, notes),
                None => set(manifest, one),
            },
            several => match several.iter().find(|spec| !is_image(spec)) {
                Some(other) => Err(Error::usage(format!("`{other}` is no image file"))
                    .with_help("--data takes one data set, or any number of PNG and JPEG files")),
                None => images(manifest, several, notes),
            },
        }
    }

    pub fn len(&self) -> usize {
        self.values.len() / self.size.max(1)
    }

    pub fn read_into(&self, index: usize, into: &mut [f32]) {
        self.values.read(index, into);
    }
}

/// The test set, or the training set of data that have no other.
fn set(manifest: &Manifest, spec: &str) -> Result<Inputs, Error> {
    let data = data::load(spec, &Wanted::by(&Outline::from(manifest)))?;
    let samples = data.test.unwrap_or(data.train);
    Ok(Inputs { size: samples.sample_size, values: samples.inputs, names: None })
}

fn array(manifest: &Manifest, path: &Path, notes: Option<&str>) -> Result<Inputs, Error> {
    let bytes = std::fs::read(path).map_err(|cause| Error::file("read", path, cause))?;
    let refused = |cause| {
        Error::file("read", path, cause).with_help("npy:FILE takes an array of float32, float64 or uint8")
    };
    let wrong = |error: &ReadNpyError| matches!(error, ReadNpyError::WrongDescriptor(_));
    let (shape, values) = match elements::<f32>(&bytes) {
        Err(error) if wrong(&error) => match elements::<f64>(&bytes) {
            Err(error) if wrong(&error) => {
                let (shape, values) = elements::<u8>(&bytes).map_err(refused)?;
                (shape, data::Inputs::Bytes { values, scale: scale(manifest, notes)? })
            }
            doubles => {
                let (shape, values) = doubles.map_err(refused)?;
                (shape, data::Inputs::Floats(values.into_iter().map(|value| value as f32).collect()))
            }
        },
        floats => {
            let (shape, values) = floats.map_err(refused)?;
            (shape, data::Inputs::Floats(values))
        }
    };
    let size = manifest.sample_size();
    check_shape(path, &shape, &manifest.input_shape)?;
    if let data::Inputs::Floats(values) = &values
        && let Some(at) = values.iter().position(|value| !value.is_finite())
    {
        let sample = at / size.max(1);
        return Err(Error::new(format!(
            "{}: sample {sample} holds a number that is not finite",
            path.display()
        )));
    }
    Ok(Inputs { values, size, names: None })
}

/// Row-major entries.
fn elements<T: ReadableElement + Clone>(bytes: &[u8]) -> Result<(Vec<usize>, Vec<T>), ReadNpyError> {
    let array = ArrayD::<T>::read_npy(bytes)?;
    Ok((array.shape().to_vec(), array.as_standard_layout().into_owned().into_raw_vec_and_offset().0))
}

/// One sample as the network declares it, or samples along the first axis that fit as those of training do.
fn check_shape(path: &Path, shape: &[usize], wanted: &[usize]) -> Result<(), Error> {
    if shape == wanted || shape.split_first().is_some_and(|(_, sample)| data::fits(sample, wanted)) {
        return Ok(());
    }
    let (have, want) = (shape_text(shape), shape_text(wanted));
    Err(Error::new(format!("{} has shape {have}, but the network takes samples of {want}", path.display()))
        .with_help("the first axis counts the samples"))
}

fn is_image(spec: &str) -> bool {
    image_file::has_extension(Path::new(spec))
}

fn images(manifest: &Manifest, files: &[String], notes: Option<&str>) -> Result<Inputs, Error> {
    let frame = Frame::of(manifest)?;
    let (scale, size) = (scale(manifest, notes)?, manifest.sample_size());
    let mut values = vec![0; files.len() * size];
    for (file, into) in files.iter().zip(values.chunks_exact_mut(size.max(1))) {
        frame.read(Path::new(file), into)?;
    }
    Ok(Inputs { values: data::Inputs::Bytes { values, scale }, size, names: Some(files.to_vec()) })
}

/// How large the network takes images, and whether grey or in three colours.
struct Frame {
    channels: usize,
    height: usize,
    width: usize,
}

impl Frame {
    fn of(manifest: &Manifest) -> Result<Self, Error> {
        match *manifest.input_shape.as_slice() {
            [channels @ (1 | 3), height, width] => Ok(Frame { channels, height, width }),
            [height, width] => Ok(Frame { channels: 1, height, width }),
            ref other => Err(Error::new(format!(
                "images do not fit a network that takes samples of {}",
                shape_text(other)
            ))
            .with_help("an image is f32[1, h, w], f32[3, h, w] or f32[h, w]; give other inputs as npy:FILE")),
        }
    }

    /// Writes channel by channel.
    fn read(&self, path: &Path, into: &mut [u8]) -> Result<(), Error> {
        let image = image_file::decode(path)?;
        let (width, height) = (image.width() as usize, image.height() as usize);
        if (width, height) != (self.width, self.height) {
            let message = format!(
                "{} is {width}×{height} pixels, but the network takes {}×{}",
                path.display(),
                self.width,
                self.height
            );
            return Err(Error::new(message).with_help("resize the image beforehand"));
        }
        image_file::planes(&image, self.channels == 1, into);
        Ok(())
    }
}

/// What bytes stand for, as in training.
fn scale(manifest: &Manifest, notes: Option<&str>) -> Result<Scale, Error> {
    Ok(normalization(manifest, notes)?.scale(u8::MAX, &manifest.input_shape))
}

/// How the training set's bytes became numbers.
fn normalization(manifest: &Manifest, notes: Option<&str>) -> Result<Normalization, Error> {
    #[derive(serde::Deserialize)]
    struct Notes {
        normalization: Normalization,
    }
    let noted = notes.and_then(|notes| serde_json::from_str::<Notes>(notes).ok());
    match noted.map(|notes| notes.normalization) {
        Some(noted) if noted.fits(&manifest.input_shape) => Ok(noted),
        Some(noted) => Err(Error::new(format!(
            "the weights were trained on images of {}, not of {}",
            counted(noted.channels(), "channel"),
            shape_text(&manifest.input_shape)
        ))),
        None if !manifest.defaults.normalize => Ok(Normalization::none(&manifest.input_shape)),
        None => Err(Error::new("the weights do not say how bytes are normalized").with_help(
            "weights of a run that was trained on bytes say it; else give floats, normalized, as npy:FILE",
        )),
    }
}
