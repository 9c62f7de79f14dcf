//! Diagnostics as data. `render` turns them into text and is the only user of miette.

pub mod render;

use crate::source::Span;

/// A stable code: one letter for the stage (`S` syntax, `N` names, `T` shapes and types, `L` limits, `D` data and
/// weights, `G` code generation) and three digits, such as `T003`. Every code is listed in `docs/diagnostics.md`.
pub type Code = &'static str;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Severity {
    Error,
    Warning,
}

/// A stretch of source with a remark; the first label of a diagnostic is its place.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Label {
    pub span: Span,
    pub text: String,
}

/// One finding: what is wrong, where, and how to mend it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Diagnostic {
    pub code: Code,
    pub severity: Severity,
    pub message: String,
    pub labels: Vec<Label>,
    pub help: Option<String>,
}

impl Diagnostic {
    pub fn error(code: Code, span: Span, message: impl Into<String>) -> Self {
        let label = Label { span, text: String::new() };
        Diagnostic {
            code,
            severity: Severity::Error,
            message: shortened(message.into()),
            labels: vec![label],
            help: None,
        }
    }

    pub fn warning(code: Code, span: Span, message: impl Into<String>) -> Self {
        Diagnostic { severity: Severity::Warning, ..Diagnostic::error(code, span, message) }
    }

    /// Says what the first label points at.
    pub fn at(mut self, text: impl Into<String>) -> Self {
        self.labels[0].text = text.into();
        self
    }

    pub fn label(mut self, span: Span, text: impl Into<String>) -> Self {
        self.labels.push(Label { span, text: text.into() });
        self
    }

    pub fn help(mut self, text: impl Into<String>) -> Self {
        self.help = Some(text.into());
        self
    }
}

/// Characters of the longest message; what is longer quotes a monstrous name.
const LONGEST_MESSAGE: usize = 600;

fn shortened(message: String) -> String {
    match message.char_indices().nth(LONGEST_MESSAGE) {
        Some((cut, _)) => format!("{}…", &message[..cut]),
        None => message,
    }
}

/// What a pass found; a pass returns its value and these.
pub type Diagnostics = Vec<Diagnostic>;

pub fn has_errors(diagnostics: &[Diagnostic]) -> bool {
    diagnostics.iter().any(|diagnostic| diagnostic.severity == Severity::Error)
}
