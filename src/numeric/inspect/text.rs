//! The report as text for a terminal.

use super::global::Global;
use super::histogram::Histogram;
use super::marchenko::MarchenkoPastur;
use super::skip::{Conditions, Skip};
use super::verdict::{self, Grade};
use super::{BlockReport, Hessians, Report};
use crate::numeric::products::Form;
use crate::numeric::spectrum::{Known, Spectrum};

/// Bins of a plot.
const BINS: usize = 40;
const BARS: [char; 9] = [' ', '▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

pub fn report(report: &Report) -> String {
    let mut page = header(report);
    for block in &report.blocks {
        page += &format!("\nblock {}   (b = {} of {})\n", block.name, block.index + 1, report.chain);
        page += &sizes(block);
        page += &table(block);
        for (title, hessians) in [("H_z", &block.of_input), ("H_W", &block.of_weights)] {
            page += &plots(title, hessians);
        }
        page += &factors(block);
        page += &block.marchenko.as_ref().map_or(String::new(), marchenko);
        page += &block.skip.as_ref().map_or(String::new(), skip);
        page += &block.global.as_ref().map_or(String::new(), global);
    }
    page + &closing(report)
}

fn header(report: &Report) -> String {
    let lines = [
        ("weights", report.weights.clone()),
        ("samples", report.data.clone()),
        ("loss", number(report.loss)),
    ];
    let lines: String = lines.iter().map(|(name, text)| format!("{name:<8} {text}\n")).collect();
    format!(
        "network {}: {} blocks, batch m = {}\n\n{lines}\
         H_z and H_W are the local Hessians of block b with respect to z_{{b−1}} (all samples) and all its parameters.\n",
        report.network, report.chain, report.samples
    )
}

fn sizes(block: &BlockReport) -> String {
    let count: usize = block.parameters.iter().map(|p| p.shape.iter().product::<usize>()).sum();
    let names: Vec<String> =
        block.parameters.iter().map(|p| format!("{} {}", p.name, extents(&p.shape))).collect();
    let list = if names.is_empty() { String::new() } else { format!(": {}", names.join(", ")) };
    format!("  sizes    {} → {}, {count} parameters{list}\n", block.input_size, block.output_size)
}

fn extents(shape: &[usize]) -> String {
    if shape.is_empty() {
        return "1".into();
    }
    shape.iter().map(usize::to_string).collect::<Vec<_>>().join("×")
}

const COLUMNS: [&str; 9] = ["", "rows", "trace", "mean", "min", "max", "condition", "of nonzero", "rank (effective)"];

fn table(block: &BlockReport) -> String {
    let mut rows: Vec<Vec<String>> = vec![COLUMNS.map(String::from).to_vec()];
    let mut notes: Vec<String> = Vec::new();
    for (letter, hessians) in [("z", &block.of_input), ("W", &block.of_weights)] {
        for (form, spectrum) in &hessians.forms {
            if *form == Form::Exact && hessians.exact_is_gauss_newton && hessians.forms.len() > 1 {
                notes.push(format!("H_{letter} exact is Gauss–Newton: Σ gᵢ ∇²Fᵢ vanishes"));
                continue;
            }
            let label = format!("H_{letter} {}", form.name());
            notes.extend(estimate_note(&label, spectrum));
            rows.push(row(label, spectrum));
        }
    }
    let notes = notes.into_iter().map(|note| format!("  note     {note}\n"));
    aligned(&rows) + &notes.collect::<String>()
}

fn row(label: String, spectrum: &Spectrum) -> Vec<String> {
    let estimated = matches!(spectrum.known, Known::Estimated { .. });
    let about = if estimated { "≈" } else { "" };
    let bound = if estimated && spectrum.condition.is_finite() { "≥" } else { "" };
    let nonzero = spectrum.condition_nonzero.map_or("?".into(), number);
    vec![
        label,
        spectrum.dim.to_string(),
        number(spectrum.trace),
        number(spectrum.mean()),
        number(spectrum.min),
        number(spectrum.max),
        format!("{bound}{}", number(spectrum.condition)),
        nonzero,
        format!("{about}{} ({about}{})", number(spectrum.rank.round()), number(spectrum.effective_rank)),
    ]
}

/// How good estimated numbers are.
fn estimate_note(label: &str, spectrum: &Spectrum) -> Option<String> {
    let Known::Estimated { estimate, trace_is_exact } = &spectrum.known else { return None };
    let trace = match trace_is_exact {
        true => format!(
            "exact trace (estimated: {} ± {})",
            number(estimate.trace.value),
            number(estimate.trace.error)
        ),
        false => format!("trace ± {}", number(estimate.trace.error)),
    };
    Some(format!(
        "{label} by Lanczos, {} probes, {} steps: max ± {}, min ± {}, {trace}",
        estimate.probes,
        estimate.steps,
        number(estimate.max.error),
        number(estimate.min.error)
    ))
}

/// Columns to the right, the first to the left.
fn aligned(rows: &[Vec<String>]) -> String {
    let columns = rows.first().map_or(0, Vec::len);
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let line = |row: &Vec<String>| {
        let cells = row.iter().enumerate().map(|(column, cell)| match column {
            0 => format!("{cell:<0$}", widths[0]),
            _ => format!("{cell:>0$}", widths[column]),
        });
        format!("  {}\n", cells.collect::<Vec<_>>().join("  ").trim_end())
    };
    rows.iter().map(line).collect()
}

fn plots(title: &str, hessians: &Hessians) -> String {
    let Some((form, spectrum)) = hessians.forms.first() else { return String::new() };
    match Histogram::of(spectrum, BINS) {
        Some(histogram) => format!("  spectrum {title} {}  {}\n", form.name(), plot(&histogram)),
        None => String::new(),
    }
}

/// Heights relative to the fullest bin, between the ends of the axis.
fn plot(histogram: &Histogram) -> String {
    let fullest = histogram.bins.iter().copied().fold(f64::MIN_POSITIVE, f64::max);
    let bar = |&share: &f64| match share {
        0.0 => BARS[0],
        _ => BARS[(share / fullest * 8.0).ceil().clamp(1.0, 8.0) as usize],
    };
    let bars: String = histogram.bins.iter().map(bar).collect();
    let mut text = format!("{} ▕{bars}▏ {}", number(histogram.low), number(histogram.high));
    for (share, what) in [(histogram.zero, "zero"), (histogram.negative, "negative")] {
        if share > 5e-4 {
            text += &format!("  {:.1}% {what}", 100.0 * share);
        }
    }
    text
}

fn factors(block: &BlockReport) -> String {
    let mut text = String::new();
    for factors in &block.factors {
        let weights = block.parameters.iter().zip(&factors.m_w);
        let weights: Vec<String> =
            weights.map(|(p, value)| format!("m_{} {}", last_part(&p.name), number(*value))).collect();
        let list = if weights.is_empty() { String::new() } else { format!("  {}", weights.join("  ")) };
        let mode = factors.mode.name();
        text += &format!("  factors  {mode:<9} m_z {}{list}  m {}\n", number(factors.m_z), number(factors.m));
    }
    text
}

fn last_part(name: &str) -> &str {
    name.rsplit('.').next().unwrap_or(name)
}

fn marchenko(found: &MarchenkoPastur) -> String {
    let (low, high) = found.law.edges();
    format!(
        "  WᵀW      {} against Marchenko–Pastur: nonzero in [{}, {}], the law's edges [{}, {}] (σ² = {}); {} below and {} \
         above by more than {}; Kolmogorov–Smirnov {}\n",
        found.weight,
        number(found.eigenvalues.first().copied().unwrap_or(0.0)),
        number(found.eigenvalues.last().copied().unwrap_or(0.0)),
        number(low),
        number(high),
        number(found.law.variance),
        found.below,
        found.above,
        number(found.slack),
        number(found.distance),
    )
}

fn skip(found: &Skip) -> String {
    let shortcut = if found.identity { "y = z + φ(z)" } else { "y = S z + φ(z), S a projection" };
    let Some(worst) = found.worst() else {
        return format!("  skip     {shortcut}; its Jacobian is too large here, take fewer samples\n");
    };
    let of = if found.per_sample { ", worst of the samples" } else { "" };
    let mut text = format!(
        "  skip     {shortcut}: σ_max(Φ) = {}, C(Φ) = {}, C({} + Φ) = {}{of}\n",
        number(worst.sigma),
        number(worst.branch),
        if found.identity { "I" } else { "S" },
        number(worst.whole),
    );
    if found.identity {
        text += &remark(found);
    }
    text
}

/// The paper's conditions and the corrected ones, counted.
fn remark(found: &Skip) -> String {
    let all = found.jacobians.len();
    let count = |holds: fn(&Conditions) -> bool| found.jacobians.iter().filter(|c| holds(c)).count();
    let wrong = count(Conditions::contradicts);
    let verdict = match wrong {
        0 => String::new(),
        _ => format!("; the printed ones are wrong here {wrong} times"),
    };
    format!(
        "           C(I + Φ) < C(Φ) for {} of {all}; the paper's conditions hold for some s for {}, the corrected ones, \
         C(Φ) > (1 + σ)/(1 − σ), for {}{verdict}\n",
        count(Conditions::improves),
        count(Conditions::printed),
        count(Conditions::corrected),
    )
}

fn global(found: &Global) -> String {
    let mut text = format!(
        "  network  tr(G_b)/p_b = {}, m_W ∏ m_z = {} (ratio {}), λ_max(G_b) = {}\n",
        number(found.mean),
        number(found.heuristic),
        number(found.mean / found.heuristic),
        number(found.spectrum.max),
    );
    if let Some(exact) = &found.identities {
        text += &format!(
            "           spec⁺(G_b) = spec⁺(Ĥ_b A_b A_bᵀ) to {}; h_(b−1) = {} = h_b m_z + tr(Ĥ°K°)/N = {} + {}\n",
            scientific(exact.spectra_differ),
            number(exact.below),
            number(exact.product),
            number(exact.correlation),
        );
    }
    text
}

fn closing(report: &Report) -> String {
    let grades = verdict::ranking(report);
    let mut text = "\nverdict: what hinders the backward flow, in decades (powers of ten)\n".to_string();
    for (i, grade) in grades.iter().enumerate() {
        text += &format!("  {}. {}\n", i + 1, sentence(grade));
    }
    if report.blocks.iter().any(|block| block.index == 0) {
        text += &format!("  {} is the first block: no parameter lies below it\n", report.blocks[0].name);
    }
    text
}

pub(super) fn sentence(grade: &Grade) -> String {
    let reasons = grade.reasons(number);
    format!("{} hinders {}, {:.2} decades: {reasons}", grade.block, grade.word(), grade.total())
}

/// Four significant digits.
pub fn number(value: f64) -> String {
    let size = value.abs();
    match value {
        _ if value.is_infinite() => if value > 0.0 { "∞" } else { "−∞" }.into(),
        _ if size != 0.0 && !(1e-3..1e6).contains(&size) => scientific(value),
        _ if value.fract() == 0.0 => format!("{value:.0}"),
        _ => {
            let digits = (3 - size.max(1e-9).log10().floor() as i32).clamp(0, 7) as usize;
            let text = format!("{value:.digits$}");
            if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').into() } else { text }
        }
    }
}

fn scientific(value: f64) -> String {
    format!("{value:.2e}")
}
