//! Elaboration: the resolved program is run forward with known shapes. Ops, loops, families and conditionals are
//! expanded, dimension names take the axes that stand there, and what remains is a typed graph ([`crate::ir`]).
//!
//! An erroneous expression becomes a poison value that silences what is made of it, so that one run reports all
//! independent errors. Steps, depth and sizes are bounded ([`limits`]).

mod apply;
mod arguments;
mod blocks;
mod dims;
mod elaborator;
mod expr;
mod frame;
mod intrinsic;
mod items;
pub mod limits;
mod network;
mod number;
mod optimizer;
mod paths;
mod settings;
mod stmts;
mod train;
mod value;

use std::collections::HashSet;

use crate::diag::{Diagnostic, Diagnostics, has_errors};
use crate::ir;
use crate::resolve::hir::{ExprKind, Hir, ItemId, ItemKind, Train};
use crate::resolve::suggest::did_you_mean;
use crate::source::{Sources, Span};

/// What the command line says over the file.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Samples per step; else the `train` item's, else [`DEFAULT_BATCH`].
    pub batch: Option<usize>,
    /// Only the network of this name.
    pub network: Option<String>,
}

/// Samples per step where nobody says a number.
pub const DEFAULT_BATCH: usize = 64;

/// Epochs where nobody says a number.
pub const DEFAULT_EPOCHS: u32 = 10;

/// Elaborates the networks of the root file, and those that its `train` items name. Networks with errors are left out.
pub fn elaborate(hir: &Hir, sources: &Sources, options: &Options) -> (Vec<ir::Network>, Diagnostics) {
    let mut diagnostics = Diagnostics::new();
    let jobs = jobs(hir, options, &mut diagnostics);
    let mut networks = Vec::new();
    for job in jobs {
        let (network, found) = network::elaborate(hir, sources, options, job);
        networks.extend(network.filter(|_| !has_errors(&found)));
        diagnostics.extend(found);
    }
    (networks, without_repetition(diagnostics))
}

/// A network to elaborate, with its training plan where there is one.
#[derive(Clone, Copy)]
pub struct Job<'h> {
    /// A network that is no family, or an alias; a family only together with `train`.
    pub item: ItemId,
    pub train: Option<&'h Train>,
}

fn jobs<'h>(hir: &'h Hir, options: &Options, diagnostics: &mut Diagnostics) -> Vec<Job<'h>> {
    let mut jobs: Vec<Job> = (0..hir.items.len() as u32)
        .map(ItemId)
        .filter(|&id| is_asked(hir, id))
        .map(|item| Job { item, train: None })
        .collect();
    for train in &hir.trains {
        let Some(item) = trained(hir, train) else { continue };
        match jobs.iter_mut().find(|job| job.item == item) {
            Some(Job { train: Some(first), .. }) => diagnostics.push(
                Diagnostic::error("N002", train.span, "this network has two `train` items")
                    .label(first.span, "the first one"),
            ),
            Some(job) => job.train = Some(train),
            None => jobs.push(Job { item, train: Some(train) }),
        }
    }
    if let Some(wanted) = &options.network {
        select(hir, wanted, &mut jobs, diagnostics);
    }
    jobs
}

fn is_asked(hir: &Hir, id: ItemId) -> bool {
    let item = hir.item(id);
    let concrete = match &item.kind {
        ItemKind::Network(network) => network.family.is_none(),
        ItemKind::Alias(_) => true,
        _ => false,
    };
    concrete && Some(item.span.file) == hir.root
}

fn trained(hir: &Hir, train: &Train) -> Option<ItemId> {
    let item = |kind: &ExprKind| match kind {
        ExprKind::Item(id) => Some(*id),
        _ => None,
    };
    let named = match &train.network.kind {
        ExprKind::Call { callee, .. } => item(&callee.kind),
        kind => item(kind),
    };
    named.filter(|&id| matches!(hir.item(id).kind, ItemKind::Network(_) | ItemKind::Alias(_)))
}

fn select(hir: &Hir, wanted: &str, jobs: &mut Vec<Job>, diagnostics: &mut Diagnostics) {
    let name = |job: &Job| hir.item(job.item).name.text.clone();
    let names: Vec<String> = jobs.iter().map(name).collect();
    jobs.retain(|job| name(job) == wanted);
    if let (true, Some(file)) = (jobs.is_empty(), hir.root) {
        let mut diagnostic = Diagnostic::error(
            "N010",
            Span::new(file, 0, 0),
            format!("there is no network `{wanted}` in this file"),
        );
        diagnostic.help = did_you_mean(wanted, &names)
            .or_else(|| (!names.is_empty()).then(|| format!("its networks are {}", names.join(", "))));
        diagnostics.push(diagnostic);
    }
}

/// Errors inside shared definitions would repeat for every network that uses them in the same way.
fn without_repetition(diagnostics: Diagnostics) -> Diagnostics {
    let mut seen = HashSet::new();
    let key = |diagnostic: &Diagnostic| {
        (diagnostic.code, diagnostic.labels.iter().map(|label| label.span).collect::<Vec<_>>())
    };
    diagnostics.into_iter().filter(|diagnostic| seen.insert(key(diagnostic))).collect()
}
