//! The explanation for programs: docs/explain-json.md describes the schema. Formulas stand as text, as LaTeX and as what
//! they compute: values as a list of nodes, operators as sums of index networks over them.

mod dag;

use serde_json::{Value, json};

use super::{Argument, BlockExplanation, Content, Exact, Explanation, Factor, page};
use crate::hessian::facts::Step;
use crate::hessian::local::{Span, Statement};
use crate::ir::ScaleMode;
use crate::sym::formula::{Formula, latex, text};
use dag::Dag;

/// Changes when a reader of the old schema could not read the new one.
pub const VERSION: u32 = 1;

/// The whole document.
pub fn render(explanation: &Explanation) -> String {
    let blocks: Vec<Value> = explanation.blocks.iter().map(|section| {
        let (same_as, content) = match &section.content {
            Content::As(other) => (json!(other), Value::Null),
            Content::Own(block) => (Value::Null, block_value(explanation, block)),
        };
        json!({"name": section.name, "position": section.position, "same_as": same_as, "explanation": content})
    }).collect();
    let opening: Vec<Value> = page::opening(explanation).iter().map(paragraph).collect();
    let document = json!({
        "format": "blkc-explain",
        "version": VERSION,
        "network": explanation.network,
        "batch": explanation.batch,
        "sizes": explanation.sizes,
        "form": explanation.options.form.name(),
        "mode": explanation.options.mode.name(),
        "mode_of_the_optimizer": explanation.trained_by.map(ScaleMode::name),
        "opening": opening,
        "blocks": blocks,
    });
    format!("{document:#}\n")
}

fn paragraph(paragraph: &page::Paragraph) -> Value {
    match paragraph {
        page::Paragraph::Sentences(spans) => json!({"text": plain(spans)}),
        page::Paragraph::Display(one) => formula(one),
    }
}

fn plain(spans: &[Span]) -> String {
    let one = |span: &Span| match span {
        Span::Words(words) => words.clone(),
        Span::Math(formula) => text::text(formula),
    };
    spans.iter().map(one).collect()
}

fn formula(formula: &Formula) -> Value {
    json!({"text": text::text(formula), "latex": latex::latex(formula)})
}

fn statement(statement: &Statement) -> Value {
    let mut value = formula(&statement.formula);
    value["remark"] = json!(plain(&statement.remark));
    value
}

/// A formula and, under `key`, what it computes.
fn with(mut formula: Value, key: &str, value: Value) -> Value {
    formula[key] = value;
    formula
}

fn block_value(explanation: &Explanation, block: &BlockExplanation) -> Value {
    let mut dag = Dag::new(&explanation.graph, block);
    let arguments: Vec<Value> =
        block.arguments.iter().map(|argument| argument_value(&mut dag, block, argument)).collect();
    let loss_hessian = block
        .curvature
        .as_ref()
        .map(|(operator, formula_of)| with(formula(formula_of), "operator", dag.operator(operator)));
    let crosses: Vec<Value> = block
        .crosses
        .iter()
        .map(|(cross, entry)| {
            let name = |place: usize| text::text(&block.tensors[place + 2].name);
            json!({
                "row": name(cross.row),
                "column": name(cross.column),
                "entry": statement(entry),
                "operator": dag.operator(&cross.operator),
            })
        })
        .collect();
    let map = formula(&Formula::from("z").below("b").equals(block.map.clone()));
    let map = with(map, "value", dag.value(block.tensors[1].expr));
    let definitions: Vec<Value> = block
        .definitions
        .iter()
        .map(|(name, definition)| json!({"name": formula(name), "definition": formula(definition)}))
        .collect();
    let tensors: Vec<Value> = block
        .tensors
        .iter()
        .map(|tensor| {
            let axes: Vec<Value> = tensor
                .axes
                .iter()
                .map(|(letter, extent)| json!({"letter": letter, "extent": extent}))
                .collect();
            json!({"name": text::text(&tensor.name), "axes": axes, "over": dag.axes_of(tensor.expr)})
        })
        .collect();
    let modes: Vec<Value> = block
        .modes
        .iter()
        .map(|factors| {
            json!({
                "mode": factors.mode.name(),
                "assumptions": factors.assumptions,
                "steps": steps(&factors.steps),
            })
        })
        .collect();
    json!({
        "written": block.written,
        "tensors": tensors,
        "map": map,
        "loss": formula(&page::loss(block.curvature.is_some())),
        "loss_hessian": loss_hessian,
        "arguments": arguments,
        "crosses": crosses,
        "modes": modes,
        "notes": block.notes.iter().map(|note| json!({
            "kind": note.kind.name(), "text": plain(&note.text),
        })).collect::<Vec<Value>>(),
        "definitions": definitions,
        "axes": dag.axes(),
        "symbols": dag.symbols(),
        "nodes": dag.nodes(),
    })
}

fn steps(steps: &[Step]) -> Vec<Value> {
    let one = |step: &Step| json!({"rule": step.rule.name, "law": step.rule.identity, "detail": step.detail});
    steps.iter().map(one).collect()
}

fn argument_value(dag: &mut Dag, block: &BlockExplanation, argument: &Argument) -> Value {
    let factors: Vec<Value> = argument
        .factors
        .iter()
        .map(|(mode, factor)| json!({"mode": mode.name(), "factor": factor_value(dag, factor)}))
        .collect();
    let mut value = json!({
        "name": argument.name,
        "symbol": text::text(&argument.symbol.clone().into()),
        "path": dag.path(argument.value),
        "factors": factors,
    });
    let (derived, formulas) = match &argument.derived {
        Ok(found) => found,
        Err(reason) => return with(value, "no_closed_form", json!(reason.to_string())),
    };
    value["kind"] = json!(if derived.is_input { "input" } else { "parameter" });
    value["jacobian"] = with(formula(&formulas.jacobian), "operator", dag.operator(&derived.operator));
    value["steps"] = json!(steps(&derived.steps));
    value["gauss_newton"] = with(statement(&formulas.hessian), "product", gauss_newton(block));
    value["second_order"] = argument.exact.as_ref().map_or(Value::Null, |exact| residual(dag, exact));
    value["paper"] = match &block.paper {
        Some(paper) if derived.is_input => statement(&paper.of_z),
        Some(paper) if derived.lifts() => statement(&paper.of_w),
        _ => Value::Null,
    };
    value
}

/// Jᵀ J, or Jᵀ Hess(l) J, by the names of the operators beside it.
fn gauss_newton(block: &BlockExplanation) -> Value {
    let factor = |operator: &str, transposed: bool| json!({"operator": operator, "transposed": transposed});
    let mut product = vec![factor("jacobian", true)];
    product.extend(block.curvature.as_ref().map(|_| factor("loss_hessian", false)));
    product.push(factor("jacobian", false));
    json!(product)
}

fn residual(dag: &mut Dag, exact: &Result<Exact, crate::hessian::jacobian::TooManyTerms>) -> Value {
    let exact = match exact {
        Ok(exact) => exact,
        Err(reason) => return json!({"no_closed_form": reason.to_string()}),
    };
    let mut value = match &exact.formulas {
        Ok((of_residual, whole)) => {
            with(formula(of_residual), "exact", whole.as_ref().map_or(Value::Null, formula))
        }
        Err(reason) => json!({"text": reason.to_string(), "latex": Value::Null}),
    };
    value["is_zero"] = json!(exact.residual.operator.terms.is_empty());
    value["operator"] = dag.operator(&exact.residual.operator);
    value
}

fn factor_value(dag: &mut Dag, factor: &Factor) -> Value {
    let mut value = with(formula(&factor.formula), "value", dag.value(factor.value));
    value["derived"] = factor.derived.as_ref().map_or(Value::Null, formula);
    value
}
