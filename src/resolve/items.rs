//! Items: each is resolved on its own, so that a broken one does not hide the next.

use super::body::Body;
use super::hir::{self, Hir, Item, ItemId, ItemKind};
use super::load::Program;
use super::scope::{Entry, Table};
use super::settings;
use crate::diag::{Diagnostic, Diagnostics};
use crate::source::Span;
use crate::syntax::ast;

/// Resolves all items of all files.
pub fn resolve(program: &Program, table: &Table, diagnostics: &mut Diagnostics) -> Hir {
    let root = program.modules.first().map(|module| module.file);
    let library = program.modules.iter().filter(|module| module.library).map(|module| module.file).collect();
    let mut hir = Hir { root, library, ..Hir::default() };
    for entry in &table.entries {
        hir.items.push(item(entry, table, diagnostics));
    }
    if let Some(module) = program.modules.first() {
        hir.trains = trains(&module.ast, table, diagnostics);
    }
    hir
}

fn item(entry: &Entry, table: &Table, diagnostics: &mut Diagnostics) -> Item {
    let mut body = Body::new(table, entry.module, diagnostics);
    let kind = kind(&mut body, &entry.ast.kind);
    Item {
        name: entry.name.clone(),
        docs: entry.ast.docs.clone(),
        span: entry.ast.span,
        kind,
        locals: body.locals(),
        broken: body.broken,
        mentions: body.mentions,
    }
}

fn kind(body: &mut Body, kind: &ast::ItemKind) -> ItemKind {
    match kind {
        ast::ItemKind::Network(network) => self::network(body, network),
        ast::ItemKind::Op(op) => ItemKind::Op(self::op(body, op)),
        ast::ItemKind::Fn(function) => {
            let params = body.params(&function.params);
            ItemKind::Fn(hir::Function { params, body: body.expr(&function.body) })
        }
        ast::ItemKind::Loss(loss) => {
            let config = body.params(&loss.config);
            let tensors = loss.tensors.iter().map(|tensor| body.tensor_param(tensor)).collect();
            ItemKind::Loss(hir::Loss { config, tensors, body: body.body(&loss.body) })
        }
        ast::ItemKind::Optimizer(optimizer) => {
            let config = body.params(&optimizer.config);
            let inputs = body.inputs(&optimizer.inputs);
            ItemKind::Optimizer(hir::Optimizer { config, inputs, body: body.stmts(&optimizer.body) })
        }
        ast::ItemKind::Schedule(schedule) => {
            let config = body.params(&schedule.config);
            let inputs = body.inputs(&schedule.inputs);
            ItemKind::Schedule(hir::Schedule { config, inputs, body: body.body(&schedule.body) })
        }
        ast::ItemKind::Init(init) => {
            let config = body.params(&init.config);
            ItemKind::Init(hir::Init { config, body: body.body(&init.body) })
        }
        ast::ItemKind::Use(_) | ast::ItemKind::Train(_) => {
            unreachable!("such items have no name and no entry")
        }
    }
}

fn network(body: &mut Body, network: &ast::Network) -> ItemKind {
    match network {
        ast::Network::Alias { value, .. } => ItemKind::Alias(body.expr(value)),
        ast::Network::Definition { family, input, target, body: pipeline, .. } => {
            let family = family.as_ref().map(|params| body.params(params));
            let input = body.tensor_param(input);
            let dims = body.dims(&target.dims, false);
            let target = hir::Target { kind: target.kind, dims, span: target.span };
            ItemKind::Network(hir::Network { family, input, target, body: body.expr(pipeline) })
        }
    }
}

fn op(body: &mut Body, op: &ast::OpDef) -> hir::Op {
    let config = body.params(&op.config);
    let tensors =
        op.tensors.as_ref().map(|tensors| tensors.iter().map(|tensor| body.tensor_param(tensor)).collect());
    let result = op.result.as_ref().map(|result| body.tensor_type(result, true));
    let stmts = body.body(&op.body);
    hir::Op { config, tensors, result, body: stmts, has_blocks: body.has_blocks }
}

fn trains(file: &ast::File, table: &Table, diagnostics: &mut Diagnostics) -> Vec<hir::Train> {
    let mut trains = Vec::new();
    for item in &file.items {
        if let ast::ItemKind::Train(train) = &item.kind {
            trains.push(self::train(item.span, train, table, diagnostics));
        }
    }
    trains
}

fn train(span: Span, train: &ast::TrainDef, table: &Table, diagnostics: &mut Diagnostics) -> hir::Train {
    let mut body = Body::new(table, 0, diagnostics);
    let network = body.expr(&train.network);
    let is_network = |id: ItemId| matches!(table.entries[id.0 as usize].ast.kind, ast::ItemKind::Network(_));
    let named = match &network.kind {
        hir::ExprKind::Item(id) => is_network(*id),
        hir::ExprKind::Call { callee, .. } => {
            matches!(callee.kind, hir::ExprKind::Item(id) if is_network(id))
        }
        hir::ExprKind::Error => true,
        _ => false,
    };
    if !named {
        body.report(
            Diagnostic::error("N009", network.span, "a `train` item names a network").at("this is none"),
        );
    }
    let settings = settings::settings(&mut body, &train.settings);
    hir::Train { span, network, settings, broken: body.broken }
}
