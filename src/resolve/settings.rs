//! The settings of a `train` item: which exist, and how a data set is named.

use std::collections::HashSet;

use super::body::Body;
use super::hir::{self, Setting, SettingValue};
use super::suggest::did_you_mean;
use crate::diag::Diagnostic;
use crate::syntax::ast::{self, Expr, ExprKind};

const KNOWN: [&str; 9] =
    ["data", "batch", "epochs", "optimizer", "schedule", "seed", "precision", "normalize", "decay"];

/// Settings whose value is one of a few words; which, the elaboration knows.
const WORDED: [&str; 3] = ["precision", "normalize", "decay"];

/// Settings of the language that this version does not carry out.
const LATER: [&str; 5] = ["augment", "validation", "clip", "checkpoint", "accumulate"];

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
    if key == KNOWN[0] {
        return data(body, &setting.value);
    }
    if let (true, ExprKind::Name(word)) = (WORDED.contains(&key), &setting.value.kind) {
        let kind = hir::ExprKind::Word(word.clone());
        return SettingValue::Expr(hir::Expr { span: setting.value.span, kind });
    }
    if KNOWN.contains(&key) {
        return SettingValue::Expr(body.expr(&setting.value));
    }
    let diagnostic = if LATER.contains(&key) {
        Diagnostic::error("N008", setting.key.span, format!("`{key}` is not supported yet"))
            .help("leave the line out; training goes on without it")
    } else {
        let help = did_you_mean(key, KNOWN.iter().chain(&LATER))
            .unwrap_or_else(|| format!("the settings are {}", KNOWN.join(", ")));
        Diagnostic::error("N007", setting.key.span, format!("there is no setting `{key}`")).help(help)
    };
    body.report(diagnostic);
    SettingValue::Skipped
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
