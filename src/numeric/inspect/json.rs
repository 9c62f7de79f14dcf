//! The report as JSON (docs/inspect.md). A number that is infinite is the string "inf", one that is unknown null.

use serde_json::{Map, Value, json};

use super::global::{Global, Identities};
use super::marchenko::MarchenkoPastur;
use super::skip::{Conditions, Skip};
use super::verdict::{Grade, ranking};
use super::{BlockReport, Hessians, Report};
use crate::numeric::spectrum::{Known, Spectrum};

pub fn report(report: &Report) -> Value {
    json!({
        "network": report.network,
        "batch": report.samples,
        "seed": report.seed,
        "weights": report.weights,
        "data": report.data,
        "loss": number(report.loss),
        "blocks": report.blocks.iter().map(block).collect::<Vec<_>>(),
        "verdict": ranking(report).iter().map(grade).collect::<Vec<_>>(),
    })
}

/// JSON has no infinity.
pub fn number(value: f64) -> Value {
    match value {
        _ if value.is_nan() => Value::Null,
        f64::INFINITY => "inf".into(),
        f64::NEG_INFINITY => "-inf".into(),
        _ => value.into(),
    }
}

fn block(block: &BlockReport) -> Value {
    let parameter = |p: &super::Parameter| json!({"name": p.name, "shape": p.shape, "offset": p.offset});
    let by_mode = |pick: &dyn Fn(&super::ModeFactors) -> f64| -> Value {
        block
            .factors
            .iter()
            .map(|f| (f.mode.name().to_string(), number(pick(f))))
            .collect::<Map<_, _>>()
            .into()
    };
    let of_parameter = |(i, p): (usize, &super::Parameter)| (p.name.clone(), by_mode(&|f| f.m_w[i]));
    json!({
        "name": block.name,
        "input_size": block.input_size,
        "output_size": block.output_size,
        "parameters": block.parameters.iter().map(parameter).collect::<Vec<_>>(),
        "H_z": hessians(&block.of_input),
        "H_W": hessians(&block.of_weights),
        "m_z": by_mode(&|f| f.m_z),
        "m_W": block.parameters.iter().enumerate().map(of_parameter).collect::<Map<_, _>>(),
        "m": by_mode(&|f| f.m),
        "marchenko_pastur": block.marchenko.as_ref().map_or(Value::Null, marchenko),
        "skip": block.skip.as_ref().map_or(Value::Null, skip),
        "global": block.global.as_ref().map_or(Value::Null, global),
    })
}

fn marchenko(found: &MarchenkoPastur) -> Value {
    let (low, high) = found.law.edges();
    json!({
        "weight": found.weight,
        "rows": found.law.outputs,
        "columns": found.law.inputs,
        "variance": number(found.law.variance),
        "mean_over_deviation": number(found.mean_over_deviation),
        "edges": [number(low), number(high)],
        "slack": number(found.slack),
        "below": found.below,
        "above": found.above,
        "kolmogorov_smirnov": number(found.distance),
        "eigenvalues": found.eigenvalues.iter().map(|&value| number(value)).collect::<Vec<_>>(),
    })
}

fn skip(found: &Skip) -> Value {
    let conditions = |c: &Conditions| {
        json!({
            "sigma_max": number(c.sigma),
            "condition_branch": number(c.branch),
            "condition": number(c.whole),
            "bound": number(c.bound()),
            "paper_conditions": c.printed(),
            "corrected_conditions": c.corrected(),
            "improves": c.improves(),
        })
    };
    json!({
        "shortcut": if found.identity { "I" } else { "S" },
        "per_sample": found.per_sample,
        "jacobians": found.jacobians.iter().map(conditions).collect::<Vec<_>>(),
    })
}

fn global(found: &Global) -> Value {
    let identities = |exact: &Identities| {
        json!({
            "spectra_differ": number(exact.spectra_differ),
            "h_above": number(exact.above),
            "h_below": number(exact.below),
            "h_above_times_m_z": number(exact.product),
            "correlation": number(exact.correlation),
        })
    };
    json!({
        "G": spectrum(&found.spectrum),
        "mean": number(found.mean),
        "heuristic": number(found.heuristic),
        "ratio": number(found.mean / found.heuristic),
        "identities": found.identities.as_ref().map_or(Value::Null, identities),
    })
}

fn grade(grade: &Grade) -> Value {
    json!({
        "block": grade.block,
        "hinders": grade.word(),
        "decades": number(grade.total()),
        "conditioning": number(grade.conditioning),
        "rank": number(grade.rank),
        "scale": number(grade.scale),
        "spread": number(grade.spread),
        "directions": [number(grade.directions.0), grade.directions.1],
        "gain": number(grade.factors.0),
        "gain_of_neighbours": number(grade.factors.1),
    })
}

fn hessians(hessians: &Hessians) -> Value {
    let forms = hessians.forms.iter().map(|(form, s)| (form.name().to_string(), spectrum(s)));
    forms.collect::<Map<_, _>>().into()
}

fn spectrum(spectrum: &Spectrum) -> Value {
    let mut value = json!({
        "dim": spectrum.dim,
        "trace": number(spectrum.trace),
        "mean": number(spectrum.mean()),
        "min": number(spectrum.min),
        "max": number(spectrum.max),
        "condition": number(spectrum.condition),
        "condition_nonzero": spectrum.condition_nonzero.map_or(Value::Null, number),
        "rank": number(spectrum.rank),
        "effective_rank": number(spectrum.effective_rank),
    });
    match &spectrum.known {
        Known::Full { eigenvalues, blocks } => {
            value["method"] = "full".into();
            value["diagonal_blocks"] = (*blocks).into();
            value["eigenvalues"] = eigenvalues.iter().map(|&value| number(value)).collect();
        }
        Known::Estimated { estimate, trace_is_exact } => {
            value["method"] = "lanczos".into();
            value["probes"] = estimate.probes.into();
            value["steps"] = estimate.steps.into();
            value["min_error"] = number(estimate.min.error);
            value["max_error"] = number(estimate.max.error);
            value["trace_estimate"] = number(estimate.trace.value);
            value["trace_standard_error"] = number(estimate.trace.error);
            value["trace_is_exact"] = (*trace_is_exact).into();
        }
    }
    value
}
