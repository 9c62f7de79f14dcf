//! The page as one HTML file that needs nothing beside it: MathML, light and dark by the reader's setting, long formulas
//! scroll in their own box.

use super::Explanation;
use super::page::{self, Kind, Paragraph, Row};
use crate::hessian::local::Span;
use crate::sym::formula::mathml::{escaped, math};

const STYLE: &str = include_str!("page.css");

/// The whole file.
pub fn render(explanation: &Explanation) -> String {
    let title = escaped(&page::title(explanation));
    let mut page = format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n\
         <title>{title}</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n<main>\n<h1>{title}</h1>\n"
    );
    for paragraph in page::opening(explanation) {
        page += &match paragraph {
            Paragraph::Sentences(spans) => format!("<p>{}</p>\n", line(&spans)),
            Paragraph::Display(formula) => format!("<div class=\"formula\">{}</div>\n", math(&formula, true)),
        };
    }
    page += &contents(explanation);
    for section in &explanation.blocks {
        let heading = escaped(&page::heading(explanation, &section.name, section.position));
        page += &format!("<section id=\"{}\">\n<h2>{heading}</h2>\n", anchor(section.position));
        page += &match page::body(explanation, &section.content) {
            Ok(rows) => body(&rows),
            Err(other) => {
                let target = explanation.blocks.iter().find(|section| section.name == other);
                let target = target.map_or(String::new(), |section| anchor(section.position));
                format!("<p>as <a href=\"#{target}\">block {}</a></p>\n", escaped(other))
            }
        };
        page += "</section>\n";
    }
    page + "</main>\n</body>\n</html>\n"
}

fn anchor(position: usize) -> String {
    format!("block-{position}")
}

fn contents(explanation: &Explanation) -> String {
    if explanation.blocks.len() < 2 {
        return String::new();
    }
    let link = |section: &super::Section| {
        format!("<a href=\"#{}\">{}</a>", anchor(section.position), escaped(&section.name))
    };
    let links: Vec<String> = explanation.blocks.iter().map(link).collect();
    format!("<nav>{}</nav>\n", links.join(" "))
}

fn body(rows: &[Row]) -> String {
    let mut page = String::from("<dl>\n");
    let mut rest = rows;
    while let Some(first) = rest.first() {
        let count = rest.iter().take_while(|row| row.kind == first.kind).count();
        let (now, later) = rest.split_at(count);
        page += &match lead(first.kind) {
            Some(lead) => listed(lead, now),
            None => now.iter().map(row).collect(),
        };
        rest = later;
    }
    page + "</dl>\n"
}

/// The words before rows that form a list.
fn lead(kind: Kind) -> Option<&'static str> {
    match kind {
        Kind::Step => Some("derivation"),
        Kind::Assumption => Some("if"),
        Kind::Note => Some("notes"),
        _ => None,
    }
}

fn listed(lead: &str, rows: &[Row]) -> String {
    let items: String = rows.iter().map(|row| format!("<li>{}</li>\n", line(&row.body))).collect();
    format!("<dt>{lead}</dt>\n<dd><ul>\n{items}</ul></dd>\n")
}

fn row(row: &Row) -> String {
    let label = match &row.label {
        Span::Words(words) => escaped(words.trim()),
        Span::Math(formula) => math(formula, false),
    };
    let body = match (row.kind, &row.body[..]) {
        (Kind::Source, [Span::Words(source)]) => format!("<code>{}</code>", escaped(source)),
        (kind, [Span::Math(formula), remark @ ..]) if remark.is_empty() || kind == Kind::Hessian => {
            format!("<div class=\"formula\">{}</div>{}", math(formula, true), remarked(remark))
        }
        _ => line(&row.body),
    };
    format!("<dt>{label}</dt>\n<dd>{body}</dd>\n")
}

/// What words say of a formula, without the comma that would join them on one line.
fn remarked(remark: &[Span]) -> String {
    let mut spans = remark.to_vec();
    if let Some(Span::Words(words)) = spans.first_mut() {
        *words = words.trim_start_matches([',', ' ']).to_string();
    }
    if spans.is_empty() { String::new() } else { format!("<p class=\"remark\">{}</p>", line(&spans)) }
}

fn line(spans: &[Span]) -> String {
    let one = |span: &Span| match span {
        Span::Words(words) => escaped(words),
        Span::Math(formula) => math(formula, false),
    };
    spans.iter().map(one).collect()
}
