//! Weights from a safetensors file in f64, unrounded, by the names of CLI and docs: `h1.dense.W`.

use std::path::Path;

use safetensors::{Dtype, SafeTensors, tensor::TensorView};

use super::point::Parameters;
use crate::ir::{Network, ParamId};

/// Every parameter of `network` from the file. Running statistics beside them are not needed here and are passed over;
/// any other tensor, a missing or a misshapen one is an error that names it.
pub fn read(network: &Network, path: &Path) -> Result<Parameters, String> {
    let name = path.display();
    let bytes = std::fs::read(path).map_err(|cause| format!("cannot read {name}: {cause}"))?;
    let file = SafeTensors::deserialize(&bytes)
        .map_err(|cause| format!("{name} is damaged or no safetensors file: {cause}"))?;
    reject_strangers(network, path, &file)?;
    let mut parameters = Parameters::new();
    for (index, param) in network.params.iter().enumerate() {
        let Ok(view) = file.tensor(&param.name) else {
            return Err(format!("{name} lacks {}", param.name));
        };
        let shape: Vec<usize> = param.axes.iter().map(|&axis| network.axes.extent(axis)).collect();
        if view.shape() != shape {
            return Err(format!("{name}: {} has shape {:?}, not {shape:?}", param.name, view.shape()));
        }
        let entries = numbers(&view).map_err(|why| format!("{name}: {} {why}", param.name))?;
        parameters.insert(ParamId(index as u32), entries);
    }
    Ok(parameters)
}

fn reject_strangers(network: &Network, path: &Path, file: &SafeTensors) -> Result<(), String> {
    let params = network.params.iter().map(|param| param.name.as_str());
    let known: Vec<&str> = params.chain(network.stats.iter().map(|stat| stat.name.as_str())).collect();
    let mut strangers = file.names();
    strangers.retain(|name| !known.contains(name));
    strangers.sort_unstable();
    match strangers.is_empty() {
        true => Ok(()),
        false => Err(format!(
            "{} holds {}, which the network does not have; `blkc summary --format json` lists every name",
            path.display(),
            strangers.join(", ")
        )),
    }
}

fn numbers(view: &TensorView) -> Result<Vec<f64>, String> {
    let data = view.data();
    let entries: Vec<f64> = match view.dtype() {
        Dtype::F64 => data.as_chunks::<8>().0.iter().map(|b| f64::from_le_bytes(*b)).collect(),
        Dtype::F32 => data.as_chunks::<4>().0.iter().map(|b| f64::from(f32::from_le_bytes(*b))).collect(),
        other => return Err(format!("holds {other:?} values; save the weights as 32-bit or 64-bit floats")),
    };
    match entries.iter().position(|entry| !entry.is_finite()) {
        Some(at) => Err(format!("is not finite at entry {at}")),
        None => Ok(entries),
    }
}
