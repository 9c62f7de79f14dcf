//! The pipeline, top to bottom.

use crate::diag::{Diagnostic, Diagnostics};
use crate::shape::{self, limits};
use crate::source::{Loader, Sources, Span};
use crate::{ir, resolve};

pub use crate::shape::Options as FrontOptions;

/// What the front end makes of a program: typed networks, and everything that is to be said about it.
#[derive(Clone, Debug, Default)]
pub struct Front {
    pub sources: Sources,
    /// In the file's order; those with errors are left out. Families are elaborated where they get their arguments.
    pub networks: Vec<ir::Network>,
    pub diagnostics: Diagnostics,
}

/// Reads, parses, resolves and elaborates the program whose root file is `path`. A file that cannot be read is a
/// diagnostic like every other mistake.
pub fn front(path: &str, loader: &dyn Loader, options: &FrontOptions) -> Front {
    // Deeply nested programs recurse deeply: the stack is sized for the limits, not for the caller.
    std::thread::scope(|scope| {
        let builder = std::thread::Builder::new().stack_size(limits::STACK_BYTES);
        match builder.spawn_scoped(scope, || elaborate(path, loader, options)) {
            Ok(thread) => thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)),
            Err(error) => unreadable(path, &format!("no thread for the compiler: {error}")),
        }
    })
}

fn elaborate(path: &str, loader: &dyn Loader, options: &FrontOptions) -> Front {
    let mut sources = Sources::default();
    let (hir, mut diagnostics) = match resolve::resolve(&mut sources, path, loader) {
        Ok(resolved) => resolved,
        Err(why) => return unreadable(path, &format!("cannot read `{path}`: {why}")),
    };
    let (networks, found) = shape::elaborate(&hir, &sources, options);
    diagnostics.extend(found);
    for network in &networks {
        diagnostics.extend(verified(network));
    }
    Front { sources, networks, diagnostics }
}

/// A network that breaks the IR's own rules is a mistake of the compiler, told as such and not trusted further.
fn verified(network: &ir::Network) -> Option<Diagnostic> {
    let error = ir::verify::verify(network).err()?;
    let span = network.blocks.first().map_or(Span::new(crate::source::FileId(0), 0, 0), |block| block.span);
    let message = format!("the compiler made a wrong network of `{}`: {error}", network.name);
    Some(Diagnostic::error("T099", span, message).help("this is a defect of the compiler, please report it"))
}

fn unreadable(path: &str, message: &str) -> Front {
    let mut sources = Sources::default();
    let file = sources.add(path, "");
    Front {
        sources,
        networks: vec![],
        diagnostics: vec![Diagnostic::error("N005", Span::new(file, 0, 0), message)],
    }
}
