//! The report as one HTML page without outside parts: tables, and spectra as SVG.

use super::histogram::Histogram;
use super::marchenko::MarchenkoPastur;
use super::text::{self, number};
use super::verdict::{self, Grade};
use super::{BlockReport, Hessians, Report};
use crate::hessian::Form;
use crate::numeric::spectrum::{Known, Spectrum};
use crate::sym::formula::mathml::escaped;

const STYLE: &str = include_str!("page.css");

/// Extents of a plot in SVG units, and the room for its axis.
const WIDTH: f64 = 360.0;
const HEIGHT: f64 = 120.0;
const AXIS: f64 = 18.0;
const BINS: usize = 48;
/// Height of a plot over its fullest bin, where a curve needs some more.
const ROOM: f64 = 1.15;
/// Points of the law's curve.
const CURVE: usize = 120;

pub fn report(report: &Report) -> String {
    let title = escaped(&format!("Local Hessians of {}", report.network));
    let blocks: String = report.blocks.iter().map(|block| section(report, block)).collect();
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<title>{title}</title>\n\
         <style>\n{STYLE}</style>\n</head>\n<body>\n<main>\n<h1>{title}</h1>\n{}{}{blocks}</main>\n</body>\n</html>\n",
        facts(&[
            ("weights", report.weights.clone()),
            ("samples", report.data.clone()),
            ("batch", report.samples.to_string()),
            ("loss", number(report.loss)),
        ]),
        verdict_section(report),
    )
}

fn facts(pairs: &[(&str, String)]) -> String {
    let pair = |(name, value): &(&str, String)| {
        format!("<div><dt>{}</dt><dd>{}</dd></div>", escaped(name), escaped(value))
    };
    format!("<dl>{}</dl>\n", pairs.iter().map(pair).collect::<String>())
}

fn verdict_section(report: &Report) -> String {
    let grades = verdict::ranking(report);
    let Some(most) = grades.iter().map(Grade::total).reduce(f64::max) else { return String::new() };
    let item = |grade: &Grade| {
        let reasons = grade.reasons(number).map(|reason| format!("<li>{}</li>", escaped(&reason))).concat();
        format!(
            "<li><strong>{}</strong>{}<ul>{reasons}</ul></li>",
            escaped(&text::sentence(grade)),
            stacked(grade, most)
        )
    };
    let first = report.blocks.iter().find(|block| block.index == 0);
    let first = first.map_or(String::new(), |block| {
        format!(
            "<p class=\"note\">{} is the first block: no parameter lies below it.</p>",
            escaped(&block.name)
        )
    });
    format!(
        "<section>\n<h2>What hinders the backward flow most</h2>\n<p class=\"note\">In decades (powers of ten): <span \
         class=\"key conditioning\"></span> conditioning, <span class=\"key rank\"></span> rank, <span class=\"key \
         scale\"></span> scale.</p>\n<ol>{}</ol>\n{first}</section>\n",
        grades.iter().map(item).collect::<String>()
    )
}

/// The three measures as parts of one bar; the longest bar is the whole width.
fn stacked(grade: &Grade, most: f64) -> String {
    let parts = [("conditioning", grade.conditioning), ("rank", grade.rank), ("scale", grade.scale)];
    let part = |(class, decades): (&str, f64)| {
        let share = 100.0 * decades / most.max(1.0);
        format!("<span class=\"{class}\" style=\"width:{share:.2}%\"></span>")
    };
    format!("<div class=\"bar\" aria-hidden=\"true\">{}</div>", parts.map(part).concat())
}

fn section(report: &Report, block: &BlockReport) -> String {
    let plots: String = block
        .hessians()
        .into_iter()
        .filter_map(|(name, hessians)| spectrum_figure(name, hessians))
        .chain(block.marchenko.as_ref().map(marchenko_figure))
        .collect();
    let notes: String = text::notes(block)
        .iter()
        .map(|note| format!("<p class=\"note\">{}</p>\n", escaped(note.trim())))
        .collect();
    format!(
        "<section>\n<h2>{} <small>b = {} of {} · {}</small></h2>\n{}<div class=\"figures\">{plots}</div>\n{}{notes}</section>\n",
        escaped(&block.name),
        block.index + 1,
        report.chain,
        escaped(&text::sizes_of(block)),
        table(&text::rows(block)),
        table(&text::factor_rows(block)),
    )
}

fn table(rows: &[Vec<String>]) -> String {
    let line = |row: &Vec<String>, tag: &str| {
        let cell = |cell: &String| format!("<{tag}>{}</{tag}>", escaped(cell));
        format!("<tr>{}</tr>", row.iter().map(cell).collect::<String>())
    };
    let Some((head, body)) = rows.split_first() else { return String::new() };
    let body: String = body.iter().map(|row| line(row, "td")).collect();
    format!(
        "<div class=\"wide\"><table><thead>{}</thead><tbody>{body}</tbody></table></div>\n",
        line(head, "th")
    )
}

fn spectrum_figure(name: &str, hessians: &Hessians) -> Option<String> {
    let (form, spectrum) = hessians.forms.first()?;
    let histogram = Histogram::of(spectrum, BINS)?;
    let ends = [number(histogram.low), number(histogram.high)];
    let label = format!("Spectrum of {name}, {} form, log axis", form.name());
    let plot = svg(&label, &bars(&histogram.bins, 1.0), "", &ends);
    Some(figure(&plot, &caption(name, *form, spectrum, &histogram)))
}

fn caption(name: &str, form: Form, spectrum: &Spectrum, histogram: &Histogram) -> String {
    let mut text = format!("{name}, {}: {} eigenvalues", form.name(), spectrum.dim);
    if matches!(spectrum.known, Known::Estimated { .. }) {
        text += " (density estimated)";
    }
    for (share, what) in [(histogram.zero, "zero"), (histogram.negative, "negative")] {
        if share > 5e-4 {
            text += &format!(", {:.1}% {what}", 100.0 * share);
        }
    }
    text
}

fn marchenko_figure(found: &MarchenkoPastur) -> String {
    let (low, high) = found.law.edges();
    let last = found.eigenvalues.last().copied().unwrap_or(high).max(high) * 1.02;
    // Few eigenvalues need wide bins to be a density.
    let bins = (found.eigenvalues.len() / 3).clamp(6, BINS);
    let mut counts = vec![0.0; bins];
    for value in &found.eigenvalues {
        counts[((value / last * bins as f64) as usize).min(bins - 1)] += 1.0;
    }
    let width = last / bins as f64;
    let total = found.eigenvalues.len() as f64 * width;
    let densities: Vec<f64> = counts.iter().map(|count| count / total).collect();
    let place = |i: usize| low + (high - low) * (i as f64 + 0.5) / CURVE as f64;
    let curve: Vec<(f64, f64)> = (0..CURVE).map(|i| (place(i) / last, found.law.density(place(i)))).collect();
    // A density that has a pole at 0 must not press the histogram flat.
    let fullest = densities.iter().copied().fold(f64::MIN_POSITIVE, f64::max);
    let label = format!("Eigenvalues of WᵀW of {} with the Marchenko–Pastur density", found.weight);
    let line = path(&curve, ROOM * fullest);
    let plot = svg(&label, &bars(&densities, ROOM), &line, &["0".into(), number(last)]);
    let text = format!(
        "WᵀW of {} and the Marchenko–Pastur law: edges [{}, {}], {} below, {} above, Kolmogorov–Smirnov {}",
        found.weight,
        number(low),
        number(high),
        found.below,
        found.above,
        number(found.distance)
    );
    figure(&plot, &text)
}

fn figure(plot: &str, caption: &str) -> String {
    format!("<figure>{plot}<figcaption>{}</figcaption></figure>\n", escaped(caption))
}

/// Bars over the whole width; the fullest reaches the top, or 1/`room` of the height.
fn bars(shares: &[f64], room: f64) -> String {
    let fullest = shares.iter().copied().fold(f64::MIN_POSITIVE, f64::max) * room;
    let step = WIDTH / shares.len() as f64;
    let bar = |(i, share): (usize, &f64)| {
        // What is there must be seen.
        let height = if *share > 0.0 { (share / fullest * HEIGHT).max(1.5) } else { 0.0 };
        let (x, y, width) = (i as f64 * step + 0.5, HEIGHT - height, step - 1.0);
        match *share > 0.0 {
            true => format!("<rect x=\"{x:.1}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"{height:.1}\"/>"),
            false => String::new(),
        }
    };
    shares.iter().enumerate().map(bar).collect()
}

/// A curve of (share of the width, height in units of `top`).
fn path(points: &[(f64, f64)], top: f64) -> String {
    let point = |(x, y): &(f64, f64)| format!("{:.1},{:.1}", x * WIDTH, HEIGHT - (y / top).min(1.0) * HEIGHT);
    let points: Vec<String> = points.iter().map(point).collect();
    format!("<polyline points=\"{}\"/>", points.join(" "))
}

fn svg(label: &str, bars: &str, line: &str, ends: &[String; 2]) -> String {
    let [low, high] = ends;
    format!(
        "<svg viewBox=\"0 0 {WIDTH} {}\" role=\"img\" aria-label=\"{}\"><g class=\"bars\">{bars}</g>{line}<line x1=\"0\" \
         y1=\"{HEIGHT}\" x2=\"{WIDTH}\" y2=\"{HEIGHT}\"/><text x=\"0\" y=\"{}\">{low}</text><text x=\"{WIDTH}\" y=\"{}\" \
         text-anchor=\"end\">{high}</text></svg>",
        HEIGHT + AXIS,
        escaped(label),
        HEIGHT + 14.0,
        HEIGHT + 14.0,
    )
}
