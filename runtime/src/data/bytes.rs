//! Whole files as bytes, unpacked when they are gzipped.

use std::io::Read;
use std::path::Path;

use flate2::read::MultiGzDecoder;

use crate::Error;

const GZIP: [u8; 2] = [0x1f, 0x8b];

pub fn read(path: &Path) -> Result<Vec<u8>, Error> {
    let bytes = std::fs::read(path).map_err(|cause| Error::file("read", path, cause))?;
    unpack(bytes)
        .map_err(|cause| Error::file("unpack", path, cause).with_help("the gzip file is cut off or damaged"))
}

/// The content of a gzip file; any other content as it is.
pub fn unpack(bytes: Vec<u8>) -> std::io::Result<Vec<u8>> {
    if !bytes.starts_with(&GZIP) {
        return Ok(bytes);
    }
    let mut content = Vec::new();
    MultiGzDecoder::new(bytes.as_slice()).read_to_end(&mut content)?;
    Ok(content)
}
