//! The report as text for a terminal.

use super::global::Global;
use super::histogram::Histogram;
use super::marchenko::MarchenkoPastur;
use super::skip::{Conditions, Skip};
use super::verdict::{self, Grade};
use super::{BlockReport, Hessians, ModeFactors, Report};
use crate::hessian::Form;
use crate::numeric::spectrum::{Known, RANK_TOLERANCE, Spectrum};

/// Bins of a plot.
const BINS: usize = 40;
/// Differences below this are those of the order of summation.
const ROUNDING: f64 = 1e-10;
const BARS: [char; 9] = [' ', '▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

pub fn report(report: &Report) -> String {
    let mut page = header(report);
    for block in &report.blocks {
        page += &format!("\nblock {}   (b = {} of {})\n", block.name, block.index + 1, report.chain);
        page += &format!("  {}\n{}", sizes_of(block), aligned(&rows(block)));
        page += &remarks(block).iter().map(|note| format!("  {note}\n")).collect::<String>();
        for (title, hessians) in block.hessians() {
            page += &plots(title, hessians);
        }
        page += &aligned(&factor_rows(block));
        page += &findings(block);
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

/// `64 → 128, 8192 parameters: …`
pub(super) fn sizes_of(block: &BlockReport) -> String {
    let count: usize = block.parameters.iter().map(|p| p.shape.iter().product::<usize>()).sum();
    let names: Vec<String> =
        block.parameters.iter().map(|p| format!("{} {}", block.within(p), extents(&p.shape))).collect();
    let list = if names.is_empty() { String::new() } else { format!(": {}", names.join(", ")) };
    format!("{} → {}, {count} parameters{list}", block.input_size, block.output_size)
}

fn extents(shape: &[usize]) -> String {
    if shape.is_empty() {
        return "1".into();
    }
    shape.iter().map(usize::to_string).collect::<Vec<_>>().join("×")
}

const COLUMNS: [&str; 9] =
    ["", "rows", "trace", "mean", "min", "max", "condition", "of nonzero", "rank (effective)"];

/// The numbers of every spectrum, the names of the columns first.
pub(super) fn rows(block: &BlockReport) -> Vec<Vec<String>> {
    let mut rows: Vec<Vec<String>> = vec![COLUMNS.map(String::from).to_vec()];
    for (letter, hessians) in block.hessians() {
        let shown = hessians.forms.iter().filter(|(form, _)| !is_repeated(hessians, *form));
        rows.extend(shown.map(|(form, spectrum)| row(format!("{letter} {}", form.name()), spectrum)));
    }
    rows
}

/// Whether a form's numbers stand there already.
fn is_repeated(hessians: &Hessians, form: Form) -> bool {
    form == Form::Exact && hessians.exact_is_gauss_newton && hessians.of(Form::GaussNewton).is_some()
}

/// What is to be said of the numbers.
fn remarks(block: &BlockReport) -> Vec<String> {
    let mut remarks = Vec::new();
    if block.of_input.forms.is_empty() {
        remarks.push(
            "the paper gives no form for this block (a batch norm right behind its one weight has one)"
                .into(),
        );
    }
    for (letter, hessians) in block.hessians() {
        for (form, spectrum) in &hessians.forms {
            match is_repeated(hessians, *form) {
                true => remarks.push(format!("{letter} exact is Gauss–Newton: Σ gᵢ ∇²Fᵢ vanishes")),
                false => remarks.extend(estimate_note(&format!("{letter} {}", form.name()), spectrum)),
            }
        }
    }
    remarks
}

/// What was found beyond the spectra, as paragraphs.
fn findings(block: &BlockReport) -> String {
    let parts = [
        block.marchenko.as_ref().map(marchenko),
        block.skip.as_ref().map(skip),
        block.global.as_ref().map(global),
    ];
    parts.into_iter().flatten().collect()
}

/// Everything of a block that is words, without line breaks of a terminal.
pub(super) fn notes(block: &BlockReport) -> Vec<String> {
    let mut notes = remarks(block);
    let found = block.skip.as_ref().map(skip).into_iter().chain(block.global.as_ref().map(global));
    notes.extend(found.map(|text| text.split_whitespace().collect::<Vec<_>>().join(" ")));
    notes
}

fn row(label: String, spectrum: &Spectrum) -> Vec<String> {
    let estimated = matches!(spectrum.known, Known::Estimated { .. });
    let about = if estimated { "≈" } else { "" };
    let bound = if estimated && spectrum.condition.is_finite() { "≥" } else { "" };
    let nonzero = spectrum.condition_nonzero.map_or("?".into(), number);
    let largest = spectrum.max.abs().max(spectrum.min.abs());
    let rounded = |value: f64| number(if value.abs() > RANK_TOLERANCE * largest { value } else { 0.0 });
    vec![
        label,
        spectrum.dim.to_string(),
        number(spectrum.trace),
        number(spectrum.mean()),
        rounded(spectrum.min),
        rounded(spectrum.max),
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

/// A row per factor, a column per mode.
pub(super) fn factor_rows(block: &BlockReport) -> Vec<Vec<String>> {
    let modes = block.factors.iter().map(|factors| factors.mode.name().to_string());
    let row = |label: String, pick: &dyn Fn(&ModeFactors) -> f64| {
        [label].into_iter().chain(block.factors.iter().map(|factors| number(pick(factors)))).collect()
    };
    let mut rows: Vec<Vec<String>> = vec![["factors".to_string()].into_iter().chain(modes).collect()];
    rows.push(row("m_z".into(), &|factors| factors.m_z));
    for (i, parameter) in block.parameters.iter().enumerate() {
        rows.push(row(format!("m_W of {}", block.within(parameter)), &|factors| factors.m_w[i]));
    }
    rows.push(row("m, ∏ m_z above".into(), &|factors| factors.m));
    rows
}

fn marchenko(found: &MarchenkoPastur) -> String {
    let ((low, high), law) = (found.law.edges(), found.law);
    let end = |value: Option<&f64>| number(value.copied().unwrap_or(0.0));
    format!(
        "  WᵀW against Marchenko–Pastur: nonzero eigenvalues in [{}, {}], the law's edges [{}, {}] for σ² = {};\n    {} \
         below and {} above them by more than {}; Kolmogorov–Smirnov distance {}\n",
        end(found.eigenvalues.first()),
        end(found.eigenvalues.last()),
        number(low),
        number(high),
        number(law.variance),
        found.below,
        found.above,
        number(found.slack),
        number(found.distance),
    )
}

fn skip(found: &Skip) -> String {
    let shortcut = if found.identity { "y = z + φ(z)" } else { "y = S z + φ(z), S a projection" };
    let Some(worst) = found.worst() else {
        return format!("  shortcut {shortcut}; its Jacobian is too large here, take fewer samples\n");
    };
    let of = if found.per_sample { ", worst of the samples" } else { "" };
    let mut text = format!(
        "  shortcut {shortcut}: σ_max(Φ) = {}, C(Φ) = {}, C({} + Φ) = {}{of}\n",
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
        "    C(I + Φ) < C(Φ) for {} of {all}; the paper's conditions hold for some s for {},\n    the corrected ones, C(Φ) > \
         (1 + σ)/(1 − σ), for {}{verdict}\n",
        count(Conditions::improves),
        count(Conditions::printed),
        count(Conditions::corrected),
    )
}

fn global(found: &Global) -> String {
    let mut text = format!(
        "  network  Gauss–Newton block G_b: tr(G_b)/p_b = {}, m_W ∏ m_z = {} (ratio {}), λ_max(G_b) = {}\n",
        number(found.mean),
        number(found.heuristic),
        number(found.mean / found.heuristic),
        number(found.spectrum.max),
    );
    if let Some(exact) = &found.identities {
        text += &format!(
            "    spec⁺(G_b) = spec⁺(Ĥ_b A_b A_bᵀ) to {}; h_(b−1) = {} = h_b m_z + tr(Ĥ°K°)/N_(b−1) = {} {} {}\n",
            if exact.spectra_differ < ROUNDING {
                "rounding".into()
            } else {
                scientific(exact.spectra_differ)
            },
            number(exact.below),
            number(exact.product),
            if exact.correlation < 0.0 { "−" } else { "+" },
            number(exact.correlation.abs()),
        );
    }
    text
}

fn closing(report: &Report) -> String {
    let grades = verdict::ranking(report);
    let mut text = match grades.is_empty() {
        true => String::new(),
        false => {
            "\nverdict: what hinders the backward flow most, in decades (powers of ten; docs/inspect.md)\n"
                .to_string()
        }
    };
    for (i, grade) in grades.iter().enumerate() {
        text += &format!("  {}. {}\n", i + 1, sentence(grade));
        text += &grade.reasons(number).iter().map(|reason| format!("     {reason}\n")).collect::<String>();
    }
    if let Some(first) = report.blocks.iter().find(|block| block.index == 0 && !grades.is_empty()) {
        text += &format!("  {} is the first block: no parameter lies below it\n", first.name);
    }
    text
}

/// What a grade comes to.
pub fn sentence(grade: &Grade) -> String {
    format!("{} hinders {}: {:.2} decades", grade.block, grade.word(), grade.total())
}

/// Four significant digits.
pub fn number(value: f64) -> String {
    let size = value.abs();
    match value {
        _ if value.is_nan() => "?".into(),
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
