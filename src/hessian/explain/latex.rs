//! The page as a LaTeX document; amsmath and amssymb are all it needs.

use super::Explanation;
use super::page::{self, Kind, Paragraph, Row};
use crate::hessian::local::Span;
use crate::sym::formula::Formula;
use crate::sym::formula::latex::{latex, lines, words};

const PREAMBLE: &str = r"\documentclass[10pt]{article}
\usepackage[utf8]{inputenc}
\usepackage{amsmath,amssymb}
\usepackage[a4paper,margin=2.4cm]{geometry}
\allowdisplaybreaks
\setlength{\parindent}{0pt}
\setlength{\parskip}{0.5em plus 0.2em}
\setlength{\emergencystretch}{3em}
\newcommand{\tight}{\setlength{\itemsep}{0pt}\setlength{\parskip}{0pt}}
";

/// About how many characters of the text form fit on one line of a display.
const LINE: usize = 74;

/// The whole document.
pub fn render(explanation: &Explanation) -> String {
    let mut page = format!(
        "{PREAMBLE}\\begin{{document}}\n\\begin{{center}}\n{{\\Large Local Hessians of the {}}}\n\\end{{center}}\n",
        words(&page::title(explanation))
    );
    for paragraph in page::opening(explanation) {
        page += &match paragraph {
            Paragraph::Sentences(spans) => format!("\n{}\n", line(&spans)),
            Paragraph::Display(formula) => format!("\\[ {} \\]\n", latex(&formula)),
        };
    }
    for section in &explanation.blocks {
        let heading = page::heading(explanation, &section.name, section.position);
        page += &format!("\n\\section*{{{}}}\n", words(&heading));
        page += &match page::body(explanation, &section.content) {
            Ok(rows) => body(&rows),
            Err(other) => format!("As block {}.\n", words(other)),
        };
    }
    page + "\n\\end{document}\n"
}

fn body(rows: &[Row]) -> String {
    let mut page = String::new();
    let mut rest = rows;
    while let Some(first) = rest.first() {
        let group = rest.iter().take_while(|row| block_of(row.kind) == block_of(first.kind)).count();
        let (now, later) = rest.split_at(group);
        page += &match block_of(first.kind) {
            Block::Words => now.iter().map(sentence).collect::<String>(),
            Block::Equations(lead) => equations(lead, now),
            Block::List(lead) => list(lead, now),
        };
        rest = later;
    }
    page
}

/// How neighbouring rows are set.
#[derive(PartialEq)]
enum Block {
    Words,
    /// One aligned display, after some words.
    Equations(&'static str),
    List(&'static str),
}

fn block_of(kind: Kind) -> Block {
    match kind {
        Kind::Source | Kind::Setting | Kind::Mode => Block::Words,
        Kind::Jacobian | Kind::Hessian => Block::Equations(""),
        Kind::Factor => Block::Equations("Scale factors:"),
        Kind::Where => Block::Equations("where"),
        Kind::Step => Block::List("Derivation:"),
        Kind::Assumption => Block::List("if"),
        Kind::Note => Block::List("What this says:"),
    }
}

fn sentence(row: &Row) -> String {
    let label = match &row.label {
        Span::Words(label) => words(label.trim()),
        Span::Math(_) if matches!(row.body[..], [Span::Math(Formula::Relation(..))]) => {
            return format!("{}\\\\\n", display(&row.body));
        }
        Span::Math(formula) => format!("${}$", latex(formula)),
    };
    let body = match (row.kind, &row.body[..]) {
        (Kind::Source, [Span::Words(source)]) => format!("\\texttt{{{}}}", code(source)),
        _ => line(&row.body),
    };
    format!("\\textit{{{label}}}\\quad {body}\\par\n")
}

/// Program text: no ligatures, lines may break at spaces.
fn code(source: &str) -> String {
    words(source).replace("$|$", "|").replace("$>$", ">").replace("$<$", "<").replace("--", "-{}-")
}

fn display(spans: &[Span]) -> String {
    spans.iter().map(|one| inline(one, r"\displaystyle ")).collect()
}

fn line(spans: &[Span]) -> String {
    spans.iter().map(|one| inline(one, "")).collect()
}

fn inline(span: &Span, style: &str) -> String {
    match span {
        Span::Words(text) => words(text),
        Span::Math(formula) => format!("${style}{}$", latex(formula)),
    }
}

fn list(lead: &str, rows: &[Row]) -> String {
    let items: String = rows.iter().map(|row| format!("\\item {}\n", line(&row.body))).collect();
    format!("{lead}\\vspace{{-0.5em}}\n\\begin{{itemize}}\\small\\tight\n{items}\\end{{itemize}}\n")
}

fn equations(lead: &str, rows: &[Row]) -> String {
    let lines: Vec<String> = rows.iter().flat_map(aligned).collect();
    format!("{lead}\n\\begin{{align*}}\n{}\n\\end{{align*}}\n", lines.join(" \\\\\n"))
}

/// One row of an aligned display; long sums go over several lines.
fn aligned(row: &Row) -> Vec<String> {
    let Some((Span::Math(formula), remark)) = row.body.split_first() else {
        return vec![format!("&\\text{{{}}}", line(&row.body))];
    };
    let (left, right) = match (&row.label, formula) {
        // A label in words says nothing that the formula does not, nor does J_z beside J_z δz.
        (_, Formula::Relation("=", left, right)) if row.kind == Kind::Jacobian => (latex(left), &**right),
        (Span::Words(_), Formula::Relation("=", left, right)) => (latex(left), &**right),
        _ => (label(&row.label), formula),
    };
    let mut drawn: Vec<String> = Vec::new();
    for (place, piece) in lines(right, LINE).into_iter().enumerate() {
        drawn.push(match place {
            0 => format!("{left} &= {piece}"),
            _ => format!("&\\quad {piece}"),
        });
    }
    if let Some(last) = drawn.last_mut().filter(|_| !remark.is_empty()) {
        *last += &format!("\\text{{{}}}", line(remark));
    }
    drawn
}

fn label(label: &Span) -> String {
    match label {
        Span::Words(text) => format!("\\text{{{}}}", words(text.trim())),
        Span::Math(formula) => latex(formula),
    }
}
