//! Definitions that use themselves, and the consequences of who uses whom: broken items and block-opening ops.

use super::hir::{Hir, ItemId, ItemKind};
use super::scope::Table;
use crate::diag::{Diagnostic, Diagnostics};
use crate::source::Span;

#[derive(Clone, Copy, PartialEq)]
enum Mark {
    New,
    Open,
    Done,
}

/// Reports definitions that use themselves; spreads `has_blocks` and `broken` to their users.
pub fn check(hir: &mut Hir, table: &Table, diagnostics: &mut Diagnostics) {
    let mut marks = vec![Mark::New; hir.items.len()];
    for start in 0..hir.items.len() {
        if marks[start] == Mark::New {
            walk(hir, table, start, &mut marks, diagnostics);
        }
    }
}

/// Depth first, with a stack of its own: chains of definitions may be long.
fn walk(hir: &mut Hir, table: &Table, start: usize, marks: &mut [Mark], diagnostics: &mut Diagnostics) {
    let mut stack: Vec<(usize, usize)> = vec![(start, 0)];
    marks[start] = Mark::Open;
    while let Some((item, next)) = stack.last_mut() {
        let Some(&(mentioned, span)) = hir.items[*item].mentions.get(*next) else {
            let (item, _) = stack.pop().unwrap_or_default();
            marks[item] = Mark::Done;
            inherit(hir, item);
            continue;
        };
        *next += 1;
        let mentioned = mentioned.0 as usize;
        match marks[mentioned] {
            Mark::Done => {}
            Mark::New => {
                marks[mentioned] = Mark::Open;
                stack.push((mentioned, 0));
            }
            Mark::Open => {
                let circle: Vec<usize> =
                    stack.iter().map(|(item, _)| *item).skip_while(|item| *item != mentioned).collect();
                diagnostics.push(report(table, &circle, span));
                circle.iter().for_each(|&item| hir.items[item].broken = true);
            }
        }
    }
}

fn report(table: &Table, circle: &[usize], span: Span) -> Diagnostic {
    let name = |item: &usize| table.entries[*item].name.text.as_str();
    let first = name(&circle[0]);
    let message = match circle.len() {
        1 => format!("`{first}` uses itself"),
        _ => format!(
            "`{first}` uses itself: {} → {first}",
            circle.iter().map(name).collect::<Vec<_>>().join(" → ")
        ),
    };
    Diagnostic::error("N004", span, message)
        .at("here")
        .label(table.entries[circle[0]].name.span, "its definition")
        .help("every definition is expanded at compile time, so that none may lead back to itself; repeat with `for`")
}

fn inherit(hir: &mut Hir, item: usize) {
    let opens = |id: &ItemId| matches!(&hir.item(*id).kind, ItemKind::Op(op) if op.has_blocks);
    let blocks = hir.items[item].mentions.iter().any(|(id, _)| opens(id));
    if let (true, ItemKind::Op(op)) = (blocks, &mut hir.items[item].kind) {
        op.has_blocks = true;
    }
}
