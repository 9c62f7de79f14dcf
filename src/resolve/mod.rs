//! Names: files are read, every item gets an id, every name is replaced by what it stands for ([`hir`]). A broken item
//! is marked and skipped; the others are still checked, used or not.

mod body;
mod calls;
mod cycles;
pub mod hir;
mod items;
mod load;
mod scope;
mod settings;
pub mod suggest;

use crate::diag::Diagnostics;
use crate::source::{Loader, Sources};
use hir::Hir;

/// Reads the program whose root is `path` and resolves all its names.
///
/// # Errors
/// The root cannot be read; everything else is a diagnostic.
pub fn resolve(sources: &mut Sources, path: &str, loader: &dyn Loader) -> Result<(Hir, Diagnostics), String> {
    let (program, mut diagnostics) = load::load(sources, path, loader)?;
    let table = scope::Table::new(&program, &mut diagnostics);
    let mut hir = items::resolve(&program, &table, &mut diagnostics);
    cycles::check(&mut hir, &table, &mut diagnostics);
    Ok((hir, diagnostics))
}
