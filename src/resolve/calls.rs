//! Calls of items: do the arguments fit the parameters, by number and by name?

use super::hir;
use super::scope::Entry;
use super::suggest::did_you_mean;
use crate::diag::Diagnostic;
use crate::source::Span;
use crate::syntax::ast::{ConfigParam, ItemKind, Name, Network};

/// Says what is wrong with a call, if anything is.
pub fn check(entry: &Entry, args: &[hir::Arg], callee: Span) -> Option<Diagnostic> {
    let Some((params, tensors)) = parameters(&entry.ast.kind) else {
        let message = format!("network `{}` is not a family: it takes no arguments", entry.name.text);
        return Some(Diagnostic::error("N003", callee, message).label(entry.name.span, "defined here"));
    };
    let names: Vec<&str> = params.iter().map(|param| param.name.text.as_str()).collect();
    // An op whose configuration may stay away can be applied directly: `identity(x)`.
    let applied = if params.iter().all(|param| param.default.is_some()) { tensors } else { 0 };
    let most = params.len().max(applied);
    let positional = args.iter().filter(|arg| arg.name.is_none()).count();
    if positional > most {
        return Some(too_many(entry, positional, most, &names, args, callee));
    }
    let mut given: Vec<&str> = names.iter().take(positional).copied().collect();
    for name in args.iter().filter_map(|arg| arg.name.as_ref()) {
        if let Some(diagnostic) = check_name(entry, name, &names, &given) {
            return Some(diagnostic);
        }
        given.push(&name.text);
    }
    missing(entry, params, &given, callee)
}

/// The parameters of a call and how many tensors a direct application takes; `None` for what takes no arguments.
fn parameters(kind: &ItemKind) -> Option<(&[ConfigParam], usize)> {
    Some(match kind {
        ItemKind::Network(Network::Definition { family: Some(family), .. }) => (family, 0),
        ItemKind::Network(_) | ItemKind::Use(_) | ItemKind::Train(_) => return None,
        ItemKind::Op(op) => (&op.config, op.tensors.as_ref().map_or(1, Vec::len)),
        ItemKind::Fn(function) => (&function.params, 0),
        ItemKind::Loss(loss) => (&loss.config, loss.tensors.len()),
        ItemKind::Optimizer(optimizer) => (&optimizer.config, 0),
        ItemKind::Schedule(schedule) => (&schedule.config, 0),
        ItemKind::Init(init) => (&init.config, 0),
    })
}

fn too_many(
    entry: &Entry,
    given: usize,
    most: usize,
    names: &[&str],
    args: &[hir::Arg],
    callee: Span,
) -> Diagnostic {
    let name = &entry.name.text;
    let message = format!(
        "`{name}` takes at most {most} argument{}, {given} are given",
        if most == 1 { "" } else { "s" }
    );
    let place = args.get(most).map_or(callee, |arg| arg.value.span);
    let diagnostic = Diagnostic::error("N003", place, message).label(entry.name.span, "defined here");
    if names.is_empty() { diagnostic } else { diagnostic.help(format!("its parameters are {}", list(names))) }
}

fn check_name(entry: &Entry, name: &Name, names: &[&str], given: &[&str]) -> Option<Diagnostic> {
    if given.contains(&name.text.as_str()) {
        let message = format!("`{}` is given twice", name.text);
        return Some(Diagnostic::error("N003", name.span, message));
    }
    if names.contains(&name.text.as_str()) {
        return None;
    }
    let message = format!("`{}` has no parameter `{}`", entry.name.text, name.text);
    let help = did_you_mean(&name.text, names).unwrap_or_else(|| match names {
        [] => "it takes no arguments".into(),
        _ => format!("its parameters are {}", list(names)),
    });
    Some(Diagnostic::error("N003", name.span, message).label(entry.name.span, "defined here").help(help))
}

/// Parameters without default must be given; a `fn` may be left open, which makes it an op.
fn missing(entry: &Entry, params: &[ConfigParam], given: &[&str], callee: Span) -> Option<Diagnostic> {
    let required = params.iter().filter(|param| param.default.is_none());
    let lacking: Vec<&str> =
        required.map(|param| param.name.text.as_str()).filter(|name| !given.contains(name)).collect();
    let open = matches!(entry.ast.kind, ItemKind::Fn(_))
        && params
            .iter()
            .filter(|param| param.default.is_none())
            .all(|param| lacking.contains(&param.name.text.as_str()));
    if lacking.is_empty() || open {
        return None;
    }
    let message = format!("`{}` needs {}", entry.name.text, list(&lacking));
    Some(Diagnostic::error("N003", callee, message).label(entry.name.span, "defined here"))
}

fn list(names: &[&str]) -> String {
    names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}
