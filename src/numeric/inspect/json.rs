//! The report as JSON (docs/inspect.md). A number that is infinite is the string "inf", one that is unknown null.

use serde_json::{Map, Value, json};

use super::{BlockReport, Hessians, Report};
use crate::numeric::spectrum::{Known, Spectrum};

pub fn report(report: &Report) -> Value {
    json!({
        "network": report.network,
        "batch": report.samples,
        "seed": report.seed,
        "loss": number(report.loss),
        "blocks": report.blocks.iter().map(block).collect::<Vec<_>>(),
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
