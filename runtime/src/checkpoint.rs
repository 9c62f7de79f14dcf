//! Tensors in files (safetensors), written so that an interruption at any instant leaves the old file or the new one,
//! and read back strictly.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};

use crate::Error;
use crate::error::shape_text;
use crate::manifest::{Tensor, TensorKind};
use crate::program::Program;

/// Key of our one entry in a file's metadata.
const METADATA_KEY: &str = "blk";

/// Which tensors a file holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Content {
    /// Parameters, and running statistics where there are some: for anyone to read.
    Weights,
    /// Everything that outlives a step.
    State,
}

impl Content {
    fn holds(self, kind: TensorKind) -> bool {
        self == Content::State || kind != TensorKind::State
    }

    fn needs(self, kind: TensorKind) -> bool {
        self == Content::State || kind == TensorKind::Parameter
    }
}

/// Writes the tensors, with `metadata` beside them, in place of the file at `path`.
pub fn save(program: &Program, content: Content, metadata: Option<String>, path: &Path) -> Result<(), Error> {
    let refused = |cause| Error::file("write", path, cause);
    let held = program.manifest().tensors.iter().filter(|tensor| content.holds(tensor.kind));
    let held: Vec<_> = held.map(|tensor| (tensor, program.tensor(tensor))).collect();
    let views = held
        .iter()
        .map(|(tensor, values)| {
            let view = TensorView::new(Dtype::F32, tensor.shape.clone(), bytes_of(values));
            view.map(|view| (tensor.name.as_str(), view))
        })
        .collect::<Result<Vec<_>, _>>()
        .map_err(refused)?;
    let metadata = metadata.map(|text| HashMap::from([(METADATA_KEY.to_string(), text)]));
    let bytes = safetensors::serialize(views, metadata).map_err(refused)?;
    replace(path, &bytes)
}

/// Safetensors are little-endian, as every machine that we compile for.
pub(crate) fn bytes_of(values: &[f32]) -> &[u8] {
    // SAFETY: floats have no padding.
    unsafe { std::slice::from_raw_parts(values.as_ptr().cast(), std::mem::size_of_val(values)) }
}

/// Writes aside, flushes to the disk, renames. When this fails, the old file is untouched.
pub fn replace(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    let aside = aside(path);
    let write = || -> std::io::Result<()> {
        let mut file = File::create(&aside)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&aside, path)?;
        // The rename itself is on the disk when the folder is.
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
        File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
    };
    write().map_err(|cause| {
        let _ = fs::remove_file(&aside);
        Error::file("write", path, cause).with_help("what was saved before is unchanged")
    })
}

fn aside(path: &Path) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_os_string();
    name.push(".tmp");
    path.with_file_name(name)
}

/// Whether a file has the form of safetensors.
pub fn is_sound(path: &Path) -> bool {
    fs::read(path).is_ok_and(|bytes| SafeTensors::deserialize(&bytes).is_ok())
}

/// Reads the tensors of a file into the program, all or none; returns the metadata that [`save`] got.
pub fn load(program: &mut Program, content: Content, path: &Path) -> Result<Option<String>, Error> {
    let bytes = fs::read(path).map_err(|cause| Error::file("read", path, cause))?;
    let damaged = |cause: &dyn std::fmt::Display| {
        Error::new(format!("{} is damaged or no safetensors file: {cause}", path.display()))
    };
    let (_, header) = SafeTensors::read_metadata(&bytes).map_err(|cause| damaged(&cause))?;
    let file = SafeTensors::deserialize(&bytes).map_err(|cause| damaged(&cause))?;
    let read = gather(program, content, path, &file)?;
    for (tensor, values) in read {
        program.set_tensor(&tensor, &values);
    }
    Ok(header.metadata().as_ref().and_then(|metadata| metadata.get(METADATA_KEY).cloned()))
}

/// The values of every tensor that the file has to hold, checked against what the program knows.
fn gather(
    program: &Program,
    content: Content,
    path: &Path,
    file: &SafeTensors,
) -> Result<Vec<(Tensor, Vec<f32>)>, Error> {
    let known = || program.manifest().tensors.iter().filter(|tensor| content.holds(tensor.kind));
    let list = |names: Vec<&str>| names.join(", ");
    let missing = known().filter(|tensor| content.needs(tensor.kind) && file.tensor(&tensor.name).is_err());
    let missing: Vec<&str> = missing.map(|tensor| tensor.name.as_str()).collect();
    if !missing.is_empty() {
        return Err(Error::new(format!("{} lacks {}", path.display(), list(missing))));
    }
    let mut extra = file.names();
    extra.retain(|name| !known().any(|tensor| tensor.name == *name));
    extra.sort_unstable();
    if !extra.is_empty() {
        let message = format!("{} holds {}, which the network does not have", path.display(), list(extra));
        return Err(Error::new(message).with_help("`blkc summary --format json` lists every name and shape"));
    }
    let present = known().filter_map(|tensor| Some((tensor, file.tensor(&tensor.name).ok()?)));
    present.map(|(tensor, view)| Ok((tensor.clone(), values(tensor, &view, path)?))).collect()
}

fn values(tensor: &Tensor, view: &TensorView, path: &Path) -> Result<Vec<f32>, Error> {
    if view.shape() != tensor.shape {
        let (have, want) = (shape_text(view.shape()), shape_text(&tensor.shape));
        return Err(Error::new(format!("{}: {} has shape {have}, not {want}", path.display(), tensor.name)));
    }
    match view.dtype() {
        Dtype::F32 => {
            Ok(view.data().chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect())
        }
        Dtype::F64 => {
            Ok(view.data().as_chunks::<8>().0.iter().map(|b| f64::from_le_bytes(*b) as f32).collect())
        }
        other => {
            let message = format!("{}: {} holds {other:?} values", path.display(), tensor.name);
            Err(Error::new(message).with_help("save the weights as 32-bit or 64-bit floats"))
        }
    }
}
