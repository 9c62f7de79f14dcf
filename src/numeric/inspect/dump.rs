//! Arrays of a point as NumPy files, float64, in the orderings of [`crate::numeric::local`].

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use ndarray::{Array2, Array3, ArrayD, IxDyn, stack};
use serde_json::Value;

use super::{Options, feature_shape, paper_matrices};
use crate::hessian::BlockExprs;
use crate::ir::Network;
use crate::numeric::point::Point;
use crate::numeric::products::Form;
use crate::sym::Expr;

/// Entries of the largest array that is written (256 MiB).
pub const MOST_ENTRIES: usize = 1 << 25;

/// A folder for arrays, made when it is missing.
pub struct Folder {
    path: PathBuf,
    written: HashSet<String>,
    /// Arrays that are too large to be written.
    pub left_out: Vec<String>,
}

impl Folder {
    /// Errors name the folder, or a block whose name cannot be a file's.
    pub fn create(path: &Path, network: &Network) -> Result<Folder, String> {
        let shown = path.display();
        if path.exists() && !path.is_dir() {
            return Err(format!("cannot write arrays to {shown}: it is a file, not a folder"));
        }
        std::fs::create_dir_all(path).map_err(|cause| format!("cannot create {shown}: {cause}"))?;
        for block in &network.blocks {
            check_name(&block.name)?;
        }
        Ok(Folder { path: path.to_path_buf(), written: HashSet::new(), left_out: vec![] })
    }

    fn file(&mut self, name: &str) -> Result<PathBuf, String> {
        match self.written.insert(name.to_string()) {
            true => Ok(self.path.join(name)),
            false => Err(format!("two arrays would be written to {name}: rename the block or the parameter")),
        }
    }

    fn array(&mut self, name: &str, shape: &[usize], entries: Vec<f64>) -> Result<(), String> {
        let path = self.file(&format!("{name}.npy"))?;
        if let Some(at) = entries.iter().position(|entry| !entry.is_finite()) {
            return Err(format!("{name} is not finite at entry {at}: the evaluation overflows"));
        }
        let array = ArrayD::from_shape_vec(IxDyn(shape), entries).expect("as many entries as the shape has");
        ndarray_npy::write_npy(&path, &array).map_err(|cause| unwritable(&path, cause))
    }

    fn matrix(&mut self, name: &str, matrix: &Array2<f64>) -> Result<(), String> {
        let entries = matrix.as_standard_layout().into_owned().into_raw_vec_and_offset().0;
        self.array(name, &[matrix.nrows(), matrix.ncols()], entries)
    }

    fn fits(&mut self, name: &str, rows: usize, columns: usize) -> bool {
        let fits = rows.saturating_mul(columns) <= MOST_ENTRIES;
        if !fits {
            self.left_out.push(format!("{name} ({rows}×{columns})"));
        }
        fits
    }

    /// The scalars beside the arrays.
    pub fn scalars(&mut self, value: &Value) -> Result<(), String> {
        let path = self.file("scalars.json")?;
        std::fs::write(&path, format!("{value:#}\n")).map_err(|cause| unwritable(&path, cause))
    }
}

fn unwritable(path: &Path, cause: impl std::fmt::Display) -> String {
    format!("cannot write {}: {cause}", path.display())
}

/// Bytes of the longest file name that file systems take, less the endings.
const LONGEST_NAME: usize = 200;

fn check_name(name: &str) -> Result<(), String> {
    if name.contains(['/', '\\', '\0']) || name.len() > LONGEST_NAME {
        return Err(format!("the block's name `{name}` cannot be a file name; rename the block to dump it"));
    }
    Ok(())
}

/// Writes everything of the chosen blocks.
pub fn write(
    network: &Network,
    point: &mut Point,
    options: &Options,
    folder: &mut Folder,
) -> Result<(), String> {
    for &index in &options.blocks {
        let block = point.blocks[index].clone();
        values(point, &block, folder)?;
        gradients(network, point, &block, folder)?;
        let wrt = point.parameters_of(index);
        hessians(point, index, options, ("z", &[block.input]), folder)?;
        if !wrt.is_empty() {
            hessians(point, index, options, ("W", &wrt), folder)?;
        }
        if options.forms.contains(&Form::Paper) {
            paper(point, index, folder)?;
        }
        point.values.forget();
    }
    Ok(())
}

/// z_b, ∂l/∂z_b and the target z_b − ∂l/∂z_b.
fn values(point: &mut Point, block: &BlockExprs, folder: &mut Folder) -> Result<(), String> {
    let axes = point.graph.axes_of(block.output).to_vec();
    let shape = [vec![point.samples()], feature_shape(point, block.output)].concat();
    let z = point.entries_along(block.output, &axes);
    let gradient = point.entries_along(block.gradient, &axes);
    let target = z.iter().zip(&gradient).map(|(z, g)| z - g).collect();
    for (what, entries) in [("z", z), ("grad_z", gradient), ("target_z", target)] {
        folder.array(&format!("{}.{what}", block.name), &shape, entries)?;
    }
    Ok(())
}

fn gradients(
    network: &Network,
    point: &mut Point,
    block: &BlockExprs,
    folder: &mut Folder,
) -> Result<(), String> {
    for param in &block.params {
        let axes = point.graph.axes_of(param.value).to_vec();
        let shape: Vec<usize> = axes.iter().map(|&axis| point.graph.axes.extent(axis)).collect();
        let entries = point.entries_along(param.gradient, &axes);
        folder.array(&format!("grad.{}", network.param(param.id).name), &shape, entries)?;
    }
    Ok(())
}

/// J, and H in the forms that are asked for.
fn hessians(
    point: &mut Point,
    index: usize,
    options: &Options,
    (letter, wrt): (&str, &[Expr]),
    folder: &mut Folder,
) -> Result<(), String> {
    let name = point.blocks[index].name.clone();
    let rows = point.size(point.blocks[index].output);
    let columns = wrt.iter().map(|&expr| point.size(expr)).sum();
    let of = |what: &str| format!("{name}.{what}_{letter}");
    if !folder.fits(&of("J"), rows, columns) {
        return Ok(());
    }
    let jacobian = point.jacobians(index, wrt);
    folder.matrix(&of("J"), &jacobian)?;
    let forms: Vec<Form> = options.forms.iter().copied().filter(|&form| form != Form::Paper).collect();
    if forms.is_empty() || !folder.fits(&of("H"), columns, columns) {
        return Ok(());
    }
    let gauss_newton = point.gauss_newton(index, &jacobian);
    for form in forms {
        let path = format!("{}.{}", of("H"), form.name());
        match form {
            Form::Exact => folder.matrix(&path, &(&gauss_newton + &point.residual(index, wrt)))?,
            _ => folder.matrix(&path, &gauss_newton)?,
        }
    }
    Ok(())
}

fn paper(point: &mut Point, index: usize, folder: &mut Folder) -> Result<(), String> {
    let name = point.blocks[index].name.clone();
    let Some((of_input, of_weight)) = paper_matrices(point, index) else { return Ok(()) };
    folder.matrix(&format!("{name}.H_z.paper"), &of_input)?;
    let views: Vec<_> = of_weight.iter().map(|part| part.view()).collect();
    let cube: Array3<f64> = stack(ndarray::Axis(0), &views).expect("matrices of one size");
    let shape = cube.shape().to_vec();
    folder.array(&format!("{name}.H_W.paper"), &shape, cube.into_raw_vec_and_offset().0)
}
