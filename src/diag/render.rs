//! Diagnostics as text for people and as JSON for programs. The only user of miette.

use std::fmt;

use miette::{GraphicalReportHandler, GraphicalTheme, LabeledSpan, MietteError, SourceCode, SourceSpan};
use miette::{MietteSpanContents, SpanContents};
use serde_json::{Value, json};

use super::{Diagnostic, Label, Severity};
use crate::source::{FileId, SourceFile, Sources};

/// How diagnostics look.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Style {
    /// Colours and box-drawing characters; otherwise plain ASCII around the source.
    pub color: bool,
    /// Columns at which remarks wrap.
    pub width: usize,
}

impl Default for Style {
    fn default() -> Self {
        Style { color: false, width: 100 }
    }
}

/// Bytes of the longest source line that is shown; of a longer one only the place is named.
const LONGEST_LINE: usize = 500;

/// Diagnostics that are shown as text; nobody reads more at once.
const MOST_SHOWN: usize = 100;

/// All diagnostics as text, in the order of their places, each once.
pub fn render(diagnostics: &[Diagnostic], sources: &Sources, style: Style) -> String {
    let theme = if style.color { GraphicalTheme::unicode() } else { GraphicalTheme::none() };
    let handler = GraphicalReportHandler::new_themed(theme)
        .with_links(false)
        .with_width(style.width.max(40))
        .with_context_lines(1)
        .with_primary_span_start()
        .with_show_related_as_nested(false);
    let mut text = String::new();
    let sorted = in_order(diagnostics);
    for &diagnostic in sorted.iter().take(MOST_SHOWN) {
        let report = Report::new(diagnostic, sources);
        // Writing to a string fails only where miette cannot read the source; then the plain line has to do.
        if handler.render_report(&mut text, &report).is_err() {
            text.push_str(&plain(diagnostic, sources));
        }
        text.push('\n');
    }
    if sorted.len() > MOST_SHOWN {
        text.push_str(&format!("… and {} more\n", sorted.len() - MOST_SHOWN));
    }
    text
}

/// All diagnostics as a JSON array of `{code, severity, message, help, labels}`, each label as `{file, line, column,
/// end_line, end_column, start, end, text}`: lines and columns from 1, columns in characters, offsets in bytes.
pub fn to_json(diagnostics: &[Diagnostic], sources: &Sources) -> Value {
    in_order(diagnostics).into_iter().map(|diagnostic| diagnostic_json(diagnostic, sources)).collect()
}

/// Line and column, both from 1, of a byte of a file; the column counts characters.
pub fn position(sources: &Sources, file: FileId, byte: usize) -> (usize, usize) {
    let text = &sources.file(file).text;
    let before = &text[..floor_boundary(text, byte)];
    let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
    (before.matches('\n').count() + 1, before[line_start..].chars().count() + 1)
}

fn in_order(diagnostics: &[Diagnostic]) -> Vec<&Diagnostic> {
    let mut sorted: Vec<_> = diagnostics.iter().collect();
    let place =
        |diagnostic: &Diagnostic| diagnostic.labels.first().map(|label| (label.span.file, label.span.start));
    sorted.sort_by(|a, b| (place(a), a.code, &a.message).cmp(&(place(b), b.code, &b.message)));
    sorted.dedup();
    sorted
}

fn severity_name(severity: Severity) -> &'static str {
    match severity {
        Severity::Error => "error",
        Severity::Warning => "warning",
    }
}

fn diagnostic_json(diagnostic: &Diagnostic, sources: &Sources) -> Value {
    let labels: Vec<_> = diagnostic.labels.iter().map(|label| label_json(label, sources)).collect();
    json!({
        "code": diagnostic.code,
        "severity": severity_name(diagnostic.severity),
        "message": diagnostic.message,
        "help": diagnostic.help,
        "labels": labels,
    })
}

fn label_json(label: &Label, sources: &Sources) -> Value {
    let span = label.span;
    let (line, column) = position(sources, span.file, span.start as usize);
    let (end_line, end_column) = position(sources, span.file, span.end as usize);
    json!({
        "file": sources.file(span.file).name,
        "line": line,
        "column": column,
        "end_line": end_line,
        "end_column": end_column,
        "start": span.start,
        "end": span.end,
        "text": label.text,
    })
}

/// One line: `file:line:column: error[T003]: message`.
fn plain(diagnostic: &Diagnostic, sources: &Sources) -> String {
    let severity = severity_name(diagnostic.severity);
    let message = format!("{severity}[{}]: {}\n", diagnostic.code, diagnostic.message);
    match diagnostic.labels.first() {
        Some(label) => format!("{}: {message}", place(label, sources)),
        None => message,
    }
}

fn place(label: &Label, sources: &Sources) -> String {
    let (line, column) = position(sources, label.span.file, label.span.start as usize);
    format!("{}:{line}:{column}", sources.file(label.span.file).name)
}

fn floor_boundary(text: &str, byte: usize) -> usize {
    let byte = byte.min(text.len());
    (0..=byte).rev().find(|&at| text.is_char_boundary(at)).unwrap_or(0)
}

/// A file as miette reads it, but with columns in characters.
#[derive(Debug)]
struct SourceText(SourceFile);

impl SourceCode for SourceText {
    fn read_span<'a>(
        &'a self,
        span: &SourceSpan,
        lines_before: usize,
        lines_after: usize,
    ) -> Result<Box<dyn SpanContents<'a> + 'a>, MietteError> {
        let text: &str = &self.0.text;
        let mut contents = text.read_span(span, lines_before, lines_after)?;
        if contents.data().split(|&byte| byte == b'\n').any(|line| line.len() > LONGEST_LINE) {
            contents = text.read_span(span, 0, 0)?;
        }
        let start = floor_boundary(text, contents.span().offset());
        let line_start = text[..start].rfind('\n').map_or(0, |newline| newline + 1);
        Ok(Box::new(MietteSpanContents::new_named(
            self.0.name.clone(),
            contents.data(),
            *contents.span(),
            contents.line(),
            text[line_start..start].chars().count(),
            // miette joins snippets that lie within this many lines: those shown, not all before them.
            contents.data().split(|&byte| byte == b'\n').count(),
        )))
    }
}

/// A diagnostic, or its labels in one further file, as miette wants to see it.
#[derive(Debug)]
struct Report {
    severity: miette::Severity,
    code: Option<&'static str>,
    message: String,
    help: Option<String>,
    source: Option<SourceText>,
    labels: Vec<LabeledSpan>,
    further: Vec<Report>,
}

impl Report {
    fn new(diagnostic: &Diagnostic, sources: &Sources) -> Self {
        let severity = match diagnostic.severity {
            Severity::Error => miette::Severity::Error,
            Severity::Warning => miette::Severity::Warning,
        };
        let files = files(&diagnostic.labels);
        let mut reports = files.iter().map(|&file| Report::of_file(&diagnostic.labels, file, sources));
        let mut report = reports.next().unwrap_or_else(|| Report::empty(diagnostic.message.clone()));
        report.further = reports.collect();
        report.message = match &report.source {
            None if !report.message.is_empty() => format!("{} ({})", diagnostic.message, report.message),
            _ => diagnostic.message.clone(),
        };
        Report { severity, code: Some(diagnostic.code), help: diagnostic.help.clone(), ..report }
    }

    fn empty(message: String) -> Self {
        let severity = miette::Severity::Advice;
        Report { severity, code: None, message, help: None, source: None, labels: vec![], further: vec![] }
    }

    /// The labels that lie in `file`. The message names the place of the first.
    fn of_file(labels: &[Label], file: FileId, sources: &Sources) -> Self {
        let source = sources.file(file);
        let here: Vec<_> = labels.iter().filter(|label| label.span.file == file).collect();
        let mut report = Report::empty(format!("see {}", place(here[0], sources)));
        if here.iter().any(|label| is_long(&source.text, label)) {
            return report;
        }
        let spans =
            here.iter().enumerate().map(|(index, label)| labeled_span(&source.text, label, index == 0));
        report.labels = spans.collect();
        report.source = Some(SourceText(source.clone()));
        report
    }
}

/// The files of the labels, in the order of their first mention.
fn files(labels: &[Label]) -> Vec<FileId> {
    let mut files: Vec<FileId> = Vec::new();
    for label in labels {
        if !files.contains(&label.span.file) {
            files.push(label.span.file);
        }
    }
    files
}

/// Whether showing the label would print a very long line.
fn is_long(text: &str, label: &Label) -> bool {
    let start = floor_boundary(text, label.span.start as usize);
    let end = floor_boundary(text, (label.span.end as usize).max(start));
    let line_start = text[..start].rfind('\n').map_or(0, |newline| newline + 1);
    let line_end = text[end..].find('\n').map_or(text.len(), |newline| end + newline);
    text[line_start..line_end].split('\n').any(|line| line.len() > LONGEST_LINE)
}

/// A label within the bounds of its text; one that spans many lines is cut after its first.
fn labeled_span(text: &str, label: &Label, primary: bool) -> LabeledSpan {
    let start = floor_boundary(text, label.span.start as usize);
    let end = floor_boundary(text, label.span.end as usize).max(start);
    let first_line = text[start..end].find('\n').unwrap_or(end - start);
    let length = if text[start..end].matches('\n').count() > 6 { first_line } else { end - start };
    let remark = (!label.text.is_empty()).then(|| label.text.clone());
    match primary {
        true => LabeledSpan::new_primary_with_span(remark, (start, length)),
        false => LabeledSpan::new_with_span(remark, (start, length)),
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Report {}

impl miette::Diagnostic for Report {
    fn code<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        self.code.map(|code| Box::new(code) as _)
    }

    fn severity(&self) -> Option<miette::Severity> {
        Some(self.severity)
    }

    fn help<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        self.help.as_ref().map(|help| Box::new(help) as _)
    }

    fn source_code(&self) -> Option<&dyn SourceCode> {
        self.source.as_ref().map(|source| source as _)
    }

    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        Some(Box::new(self.labels.iter().cloned()))
    }

    fn related<'a>(&'a self) -> Option<Box<dyn Iterator<Item = &'a dyn miette::Diagnostic> + 'a>> {
        if self.further.is_empty() {
            return None;
        }
        Some(Box::new(self.further.iter().map(|report| report as _)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::Span;

    fn two_files() -> (Sources, FileId, FileId) {
        let mut sources = Sources::default();
        let main = sources.add("main.blk", "fn f(t) = t\nfn g(t) = ü + f(t, 2)\n");
        let library = sources.add("std/lib.blk", "// …\nfn f(t) = t\n");
        (sources, main, library)
    }

    fn sample(main: FileId, library: FileId) -> Diagnostic {
        Diagnostic::error("N004", Span::new(main, 27, 34), "`f` takes one argument")
            .at("two are given")
            .label(Span::new(library, 7, 16), "defined here")
            .help("remove one")
    }

    #[test]
    fn shows_places_labels_and_help_in_all_files() {
        let (sources, main, library) = two_files();
        let text = render(&[sample(main, library)], &sources, Style::default());
        for part in ["N004", "`f` takes one argument", "main.blk:2:15", "two are given", "remove one"] {
            assert!(text.contains(part), "{part} in\n{text}");
        }
        assert!(text.contains("std/lib.blk:2") && text.contains("defined here"), "{text}");
        assert!(!text.contains('\x1b') && !text.contains('─'), "{text}");
        let colored = render(&[sample(main, library)], &sources, Style { color: true, width: 80 });
        assert!(colored.contains('\x1b'));
    }

    #[test]
    fn sorts_by_place_and_drops_repetitions() {
        let (sources, main, library) = two_files();
        let early = Diagnostic::warning("N001", Span::new(main, 3, 4), "early");
        let late = sample(main, library);
        let text = render(&[late.clone(), early.clone(), late.clone()], &sources, Style::default());
        assert!(text.find("early") < text.find("takes one"));
        assert_eq!(text.matches("takes one").count(), 1);
        assert_eq!(to_json(&[late, early], &sources)[0]["message"], "early");
    }

    #[test]
    fn json_counts_lines_and_characters_from_one() {
        let (sources, main, library) = two_files();
        let json = to_json(&[sample(main, library)], &sources);
        assert_eq!((&json[0]["labels"][0]["line"], &json[0]["labels"][0]["column"]), (&2.into(), &15.into()));
        assert_eq!(json[0]["labels"][1]["file"], "std/lib.blk");
        assert_eq!(json[0]["severity"], "error");
    }

    #[test]
    fn places_outside_the_text_and_long_lines_do_no_harm() {
        let mut sources = Sources::default();
        let empty = sources.add("empty.blk", "");
        let long = sources.add("long.blk", &"x".repeat(100_000));
        let split = sources.add("split.blk", "é");
        let spans = [
            Span::new(empty, 0, 0),
            Span::new(empty, 5, 9),
            Span::new(long, 7, 90_000),
            Span::new(split, 1, 1),
        ];
        let all = spans.map(|span| Diagnostic::error("S001", span, "here"));
        let text = render(&all, &sources, Style::default());
        assert_eq!(text.matches("here").count(), 4, "{text}");
        assert!(text.len() < 5000 && text.contains("long.blk:1:8"), "{text}");
    }

    #[test]
    fn bounded_whatever_the_mistakes() {
        let mut sources = Sources::default();
        let text = format!("{}\nshort\n", "x".repeat(100_000));
        let file = sources.add("long.blk", &text);
        let beside = Diagnostic::error("N001", Span::new(file, 100_001, 100_006), "y".repeat(10_000));
        let shown = render(&[beside], &sources, Style::default());
        assert!(shown.len() < 5000 && shown.contains("short"), "{shown}");
        let many: Vec<_> =
            (0..250).map(|at| Diagnostic::error("N001", Span::new(file, at, at + 1), "here")).collect();
        let shown = render(&many, &sources, Style::default());
        assert_eq!(shown.matches("here").count(), MOST_SHOWN);
        assert!(shown.ends_with("and 150 more\n"), "{shown}");
    }

    #[test]
    fn labels_far_apart_are_shown_apart() {
        let mut sources = Sources::default();
        let lines: Vec<String> = (0..90).map(|line| format!("line {line:02}\n")).collect();
        let file = sources.add("far.blk", &lines.concat());
        let span = |line: usize| Span::new(file, 8 * line, 8 * line + 4);
        let far = Diagnostic::error("T001", span(40), "far").label(span(80), "there");
        let shown = render(&[far], &sources, Style::default());
        assert!(
            shown.contains("line 40") && shown.contains("line 80") && !shown.contains("line 60"),
            "{shown}"
        );
    }
}
