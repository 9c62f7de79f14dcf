//! Image files: what both training and prediction make of a PNG or JPEG.

use std::fs::File;
use std::io::{BufReader, ErrorKind};
use std::path::Path;

use image::{DynamicImage, ImageError, ImageReader, ImageResult};

use crate::Error;

const EXTENSIONS: [&str; 3] = ["png", "jpg", "jpeg"];

/// Whether a file is one by its name.
pub(crate) fn has_extension(path: &Path) -> bool {
    let extension = path.extension().unwrap_or_default().to_string_lossy().to_lowercase();
    EXTENSIONS.contains(&extension.as_str())
}

/// Width and height in pixels, from the file's head.
pub(crate) fn size(path: &Path) -> Result<(usize, usize), Error> {
    let open = || reader(path)?.into_dimensions();
    let (width, height) = open().map_err(|cause| unreadable(path, cause))?;
    Ok((width as usize, height as usize))
}

pub(crate) fn decode(path: &Path) -> Result<DynamicImage, Error> {
    let decode = || reader(path)?.decode();
    decode().map_err(|cause| unreadable(path, cause))
}

/// Writes grey values, or the red, green and blue planes, into as many bytes as there are.
pub(crate) fn planes(image: &DynamicImage, gray: bool, into: &mut [u8]) {
    if gray {
        return into.copy_from_slice(image.to_luma8().as_raw());
    }
    let pixels = image.to_rgb8();
    for (channel, plane) in into.chunks_exact_mut(pixels.as_raw().len() / 3).enumerate() {
        let values = pixels.as_raw().iter().skip(channel).step_by(3);
        plane.iter_mut().zip(values).for_each(|(into, value)| *into = *value);
    }
}

fn reader(path: &Path) -> ImageResult<ImageReader<BufReader<File>>> {
    // By content: the extension may lie.
    Ok(ImageReader::open(path)?.with_guessed_format()?)
}

fn unreadable(path: &Path, cause: ImageError) -> Error {
    let error = Error::file("read", path, &cause);
    match cause {
        ImageError::IoError(cause) if cause.kind() != ErrorKind::UnexpectedEof => error,
        _ => error.with_help("the file is no PNG or JPEG image, or is damaged"),
    }
}
