//! The page as plain text.

use super::page::{self, Kind, Paragraph, Row};
use super::{BlockExplanation, Explanation};
use crate::hessian::local::Span;
use crate::sym::formula::text::text;

/// Columns of a line of words.
const WIDTH: usize = 110;

/// The whole page.
pub fn render(explanation: &Explanation) -> String {
    let mut page = page::title(explanation) + "\n";
    for paragraph in page::opening(explanation) {
        match paragraph {
            Paragraph::Sentences(spans) => page += &format!("\n{}\n", sentences(&spans)),
            Paragraph::Display(formula) => page += &format!("\n    {}\n", text(&formula)),
        }
    }
    for section in &explanation.blocks {
        page += &format!("\n{}\n", page::heading(explanation, &section.name, section.position));
        match page::body(explanation, &section.content) {
            Ok(rows) => page += &rows.iter().map(row).collect::<String>(),
            Err(other) => page += &format!("  as block {other}\n"),
        }
    }
    page
}

/// One block, without its steps.
pub fn block(block: &BlockExplanation) -> String {
    page::rows(block).iter().filter(|row| row.kind != Kind::Step).map(row).collect()
}

fn row(row: &Row) -> String {
    let label = span(&row.label);
    format!("  {label:<8} {}\n", line(&row.body))
}

fn line(spans: &[Span]) -> String {
    spans.iter().map(span).collect()
}

fn span(span: &Span) -> String {
    match span {
        Span::Words(words) => words.clone(),
        Span::Math(formula) => text(formula),
    }
}

/// Words with formulas in them, broken into lines but never inside a formula.
fn sentences(spans: &[Span]) -> String {
    const KEPT: char = '\u{a0}';
    let joined = |one: &Span| match one {
        Span::Words(words) => words.clone(),
        Span::Math(formula) => text(formula).replace(' ', &KEPT.to_string()),
    };
    wrapped(&spans.iter().map(joined).collect::<String>()).replace(KEPT, " ")
}

/// Broken at spaces into lines of at most [`WIDTH`] columns.
fn wrapped(words: &str) -> String {
    let mut lines = vec![String::new()];
    for word in words.split(' ') {
        let current = lines.last().map_or(0, |line| line.chars().count());
        if current > 0 && current + 1 + word.chars().count() > WIDTH {
            lines.push(String::new());
        }
        if let Some(line) = lines.last_mut() {
            if !line.is_empty() {
                line.push(' ');
            }
            line.push_str(word);
        }
    }
    lines.join("\n")
}
