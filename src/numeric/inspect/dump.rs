//! Arrays of a point as NumPy files, float64, in the orderings of [`crate::numeric::local`].

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use ndarray::{Array2, Array3, ArrayD, Axis as Dim, IxDyn, stack};
use serde_json::Value;

use super::{Options, paper_matrices};
use crate::axes::Axis;
use crate::hessian::BlockExprs;
use crate::hessian::Form;
use crate::ir::Network;
use crate::numeric::point::Point;
use crate::sym::{Expr, Tensor};

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
        let declared = &network.blocks[index];
        let [input, output] = [declared.input, declared.output].map(|node| &network.node(node).ty.axes[..]);
        values(point, &block, output, folder)?;
        gradients(network, point, &block, folder)?;
        let wrt = point.parameters_of(index);
        let rows = order(point, block.output, output);
        let columns = order(point, block.input, input);
        let argument = Argument { letter: "z", wrt: &[block.input], rows: &rows, columns: &columns };
        hessians(point, index, options, &argument, folder)?;
        if !wrt.is_empty() {
            let columns: Vec<usize> = (0..wrt.iter().map(|&expr| point.size(expr)).sum()).collect();
            let argument = Argument { letter: "W", wrt: &wrt, rows: &rows, columns: &columns };
            hessians(point, index, options, &argument, folder)?;
        }
        if options.forms.contains(&Form::Paper) {
            // Of one sample: the first ones of the batch.
            paper(point, index, &columns[..columns.len() / point.samples()], folder)?;
        }
        point.values.forget();
    }
    Ok(())
}

/// Where the entries of a value in the order that its axes were declared in lie in the graph's order, which follows
/// how the value is computed.
fn order(point: &Point, expr: Expr, declared: &[Axis]) -> Vec<usize> {
    let table = &point.graph.axes;
    let own = point.graph.axes_of(expr);
    let places: Vec<f64> = (0..table.size(own)).map(|place| place as f64).collect();
    let along = Tensor::new(table, own, places).along(table, declared);
    along.iter().map(|&place| place as usize).collect()
}

/// z_b, ∂l/∂z_b and the target z_b − ∂l/∂z_b, over the axes as they were declared.
fn values(point: &mut Point, block: &BlockExprs, axes: &[Axis], folder: &mut Folder) -> Result<(), String> {
    let shape: Vec<usize> = axes.iter().map(|&axis| point.graph.axes.extent(axis)).collect();
    let z = point.entries_along(block.output, axes);
    let gradient = point.entries_along(block.gradient, axes);
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

/// What a Jacobian is taken by, and the order of its rows and columns.
struct Argument<'a> {
    letter: &'a str,
    wrt: &'a [Expr],
    rows: &'a [usize],
    columns: &'a [usize],
}

/// J, and H in the forms that are asked for.
fn hessians(
    point: &mut Point,
    index: usize,
    options: &Options,
    argument: &Argument,
    folder: &mut Folder,
) -> Result<(), String> {
    let Argument { letter, wrt, rows, columns } = *argument;
    let name = point.blocks[index].name.clone();
    let of = |what: &str| format!("{name}.{what}_{letter}");
    if !folder.fits(&of("J"), rows.len(), columns.len()) {
        return Ok(());
    }
    let jacobian = point.jacobians(index, wrt);
    folder.matrix(&of("J"), &jacobian.select(Dim(0), rows).select(Dim(1), columns))?;
    let forms: Vec<Form> = options.forms.iter().copied().filter(|&form| form != Form::Paper).collect();
    if forms.is_empty() || !folder.fits(&of("H"), columns.len(), columns.len()) {
        return Ok(());
    }
    let gauss_newton = point.gauss_newton(index, &jacobian);
    for form in forms {
        let hessian = match form {
            Form::Exact => &gauss_newton + &point.residual(index, wrt),
            _ => gauss_newton.clone(),
        };
        let ordered = hessian.select(Dim(0), columns).select(Dim(1), columns);
        folder.matrix(&format!("{}.{}", of("H"), form.name()), &ordered)?;
    }
    Ok(())
}

fn paper(point: &mut Point, index: usize, order: &[usize], folder: &mut Folder) -> Result<(), String> {
    let name = point.blocks[index].name.clone();
    let Some((of_input, of_weight)) = paper_matrices(point, index) else { return Ok(()) };
    let of_input = of_input.select(Dim(0), order).select(Dim(1), order);
    folder.matrix(&format!("{name}.H_z.paper"), &of_input)?;
    let views: Vec<_> = of_weight.iter().map(|part| part.view()).collect();
    let cube: Array3<f64> = stack(Dim(0), &views).expect("matrices of one size");
    let shape = cube.shape().to_vec();
    folder.array(&format!("{name}.H_W.paper"), &shape, cube.into_raw_vec_and_offset().0)
}
