//! The settings of a `train` item: which exist, and how data sets and operations on images are named.

use std::collections::HashSet;

use blk_runtime::data::augment::Augmentation;

use super::body::Body;
use super::hir::{self, Operation, Setting, SettingValue};
use super::suggest::did_you_mean;
use crate::diag::Diagnostic;
use crate::source::Span;
use crate::syntax::ast::{self, Expr, ExprKind, Name};

const DATA: &str = "data";
const AUGMENT: &str = "augment";

const KNOWN: [&str; 15] = [
    DATA,
    AUGMENT,
    "batch",
    "epochs",
    "optimizer",
    "schedule",
    "seed",
    "precision",
    "normalize",
    "decay",
    "validation",
    "patience",
    "clip",
    "accumulate",
    "checkpoint",
];

/// Settings whose value is one of a few words; which, the elaboration knows.
const WORDED: [&str; 3] = ["precision", "normalize", "decay"];

pub fn settings(body: &mut Body, settings: &[ast::Setting]) -> Vec<Setting> {
    let mut seen = HashSet::new();
    let mut resolved = Vec::new();
    for setting in settings {
        if !seen.insert(setting.key.text.as_str()) {
            let message = format!("`{}` is set twice", setting.key.text);
            body.report(Diagnostic::error("N002", setting.key.span, message));
            continue;
        }
        let value = value(body, setting);
        resolved.push(Setting { key: setting.key.clone(), span: setting.value.span, value });
    }
    resolved
}

fn value(body: &mut Body, setting: &ast::Setting) -> SettingValue {
    let key = setting.key.text.as_str();
    match (key, &setting.value.kind) {
        (DATA, _) => data(body, &setting.value),
        (AUGMENT, ExprKind::List(entries)) => augment(body, entries),
        (AUGMENT, _) => no_operations(body, setting.value.span),
        (_, ExprKind::Name(word)) if WORDED.contains(&key) => {
            let kind = hir::ExprKind::Word(word.clone());
            SettingValue::Expr(hir::Expr { span: setting.value.span, kind })
        }
        _ if KNOWN.contains(&key) => SettingValue::Expr(body.expr(&setting.value)),
        _ => {
            let help =
                did_you_mean(key, KNOWN).unwrap_or_else(|| format!("the settings are {}", KNOWN.join(", ")));
            let message = format!("there is no setting `{key}`");
            body.report(Diagnostic::error("N007", setting.key.span, message).help(help));
            SettingValue::Skipped
        }
    }
}

/// `digits()`, `csv("file")` or the text as on the command line: `"csv:file"`.
fn data(body: &mut Body, expr: &Expr) -> SettingValue {
    match data_text(expr) {
        Some(text) => {
            if let Err(error) = blk_runtime::data::recognize(&text) {
                let mut diagnostic = Diagnostic::error("T020", expr.span, error.message);
                diagnostic.help = error.help;
                body.report(diagnostic);
            }
            SettingValue::Data(text)
        }
        None => {
            body.report(
                Diagnostic::error("T020", expr.span, "this does not name a data set")
                    .help("write a reader with its path, such as csv(\"train.csv\"), or the text as on the command line: \"csv:train.csv\""),
            );
            SettingValue::Skipped
        }
    }
}

fn data_text(expr: &Expr) -> Option<String> {
    match &expr.kind {
        ExprKind::Str(text) => Some(text.clone()),
        ExprKind::Name(name) => Some(name.clone()),
        ExprKind::Call { callee, args } => {
            let ExprKind::Name(reader) = &callee.kind else { return None };
            match args.as_slice() {
                [] => Some(reader.clone()),
                [ast::Arg { name: None, value: Expr { kind: ExprKind::Str(path), .. } }] => {
                    Some(format!("{reader}:{path}"))
                }
                _ => None,
            }
        }
        _ => None,
    }
}

/// `[pad_crop(4), flip_horizontal]`
fn augment(body: &mut Body, entries: &[ast::ListEntry]) -> SettingValue {
    let mut operations = Vec::new();
    for entry in entries {
        let (expr, args) = match entry {
            ast::ListEntry::Expr(Expr { kind: ExprKind::Call { callee, args }, .. }) => {
                (callee.as_ref(), args.as_slice())
            }
            ast::ListEntry::Expr(expr) => (expr, &[][..]),
            ast::ListEntry::Rest(span) => return no_operations(body, *span),
        };
        let (ExprKind::Name(name), true) = (&expr.kind, args.iter().all(|arg| arg.name.is_none())) else {
            return no_operations(body, expr.span);
        };
        if !Augmentation::NAMES.contains(&name.as_str()) {
            return unknown_operation(body, name, expr.span);
        }
        let args = args.iter().map(|arg| body.expr(&arg.value)).collect();
        operations.push(Operation { name: Name { text: name.clone(), span: expr.span }, args });
    }
    SettingValue::Augment(operations)
}

fn no_operations(body: &mut Body, span: Span) -> SettingValue {
    let message = format!("`{AUGMENT}` is a list of operations on images");
    body.report(
        Diagnostic::error("T020", span, message).help("such as [pad_crop(4), flip_horizontal, cutout(8)]"),
    );
    SettingValue::Skipped
}

fn unknown_operation(body: &mut Body, name: &str, span: Span) -> SettingValue {
    let help = did_you_mean(name, Augmentation::NAMES)
        .unwrap_or_else(|| format!("there are {}", Augmentation::NAMES.join(", ")));
    let message = format!("there is no operation on images `{name}`");
    body.report(Diagnostic::error("T020", span, message).help(help));
    SettingValue::Skipped
}
