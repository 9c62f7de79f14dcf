//! The page of an explanation: an opening, and for each block rows in reading order. Text, LaTeX and HTML draw it.

use super::{Argument, BlockExplanation, Content, Exact, Explanation};
use crate::hessian::Form;
use crate::hessian::facts::Step;
use crate::hessian::jacobian::TooManyTerms;
use crate::hessian::local::exact::{Cross, has_few_pairs};
use crate::hessian::local::{Span, Statement, loss_curvature};
use crate::sym::formula::{Big, Formula};

/// What a row is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// The block's program text.
    Source,
    /// Map, sizes, loss.
    Setting,
    Jacobian,
    Hessian,
    Step,
    Factor,
    Mode,
    Assumption,
    /// What the structure of the block says.
    Note,
    /// What a name stands for.
    Where,
}

/// A labelled line.
#[derive(Clone, PartialEq, Debug)]
pub struct Row {
    pub kind: Kind,
    pub label: Span,
    pub body: Vec<Span>,
}

/// A part of the opening.
#[derive(Clone, PartialEq, Debug)]
pub enum Paragraph {
    Sentences(Vec<Span>),
    Display(Formula),
}

impl Row {
    fn new(kind: Kind, label: impl Into<Span>, body: Vec<Span>) -> Row {
        Row { kind, label: label.into(), body }
    }
}

fn z(below: impl Into<Formula>) -> Formula {
    Formula::from("z").below(below)
}

/// b − 1, B − 1
fn before(letter: &str) -> Formula {
    Formula::Sum(vec![(false, letter.into()), (true, Formula::Number(1.0))])
}

/// F_b(W_b, z_{b−1})
fn map(letter: &str) -> Formula {
    Formula::call(Formula::from("F").below(letter), vec![Formula::from("W").below(letter), z(before(letter))])
}

/// z_b^{k+½}
fn target() -> Formula {
    let half = Formula::Sum(vec![(false, "k".into()), (false, Formula::Number(0.5))]);
    Formula::Iterate(Box::new(z("b")), Box::new(half))
}

fn difference(a: Formula, b: Formula) -> Formula {
    Formula::Sum(vec![(false, a), (true, b)])
}

/// ∂l/∂x
fn slope(x: Formula) -> Formula {
    Formula::Partial(Box::new("l".into()), Box::new(x))
}

/// The title of the page.
pub fn title(explanation: &Explanation) -> String {
    format!(
        "network {}: {} blocks, {}, batch m = {}",
        explanation.network,
        explanation.sizes.len().saturating_sub(1),
        explanation.sizes.join(" → "),
        explanation.batch
    )
}

/// Objective, targets, losses, and how the formulas are to be read.
pub fn opening(explanation: &Explanation) -> Vec<Paragraph> {
    let count = Formula::Number(explanation.sizes.len().saturating_sub(1) as f64);
    let gamma = || Formula::from("γ");
    let penalty = Formula::Matrix(vec![
        Formula::Fraction(vec![gamma()], vec![Formula::Number(2.0)]),
        difference(z("b"), map("b")).squared_norm(),
    ]);
    let objective = Formula::call("Q", vec!["W".into(), "z".into(), gamma()]).equals(Formula::Sum(vec![
        (false, Formula::call("l", vec![map("B")])),
        (false, Formula::big(Big::Sum, vec!["b<B".into()], penalty)),
    ]));
    let iterate = Formula::Iterate(Box::new(z("b")), Box::new("k".into()));
    let half = Formula::Number(0.5);
    let local = Formula::Matrix(vec![half, difference(target(), map("b")).squared_norm()]);
    let loss = |letter: &str| Formula::from("L").below(letter);
    let weight = || Formula::from("W").below("b");
    vec![
        Paragraph::Sentences(vec![
            "Blocks ".into(),
            z("b").equals(map("b")).into(),
            ", b = 1..B, ".into(),
            Formula::from("B").equals(count).into(),
            "; ".into(),
            Formula::from("l").into(),
            " is the mean loss of the batch. The network minimizes".into(),
        ]),
        Paragraph::Display(objective),
        Paragraph::Sentences(vec![
            "With ".into(),
            gamma().equals(Formula::Number(1.0)).into(),
            " and the targets".into(),
        ]),
        Paragraph::Display(target().equals(difference(iterate, slope(z("b"))))),
        Paragraph::Sentences(vec![
            "every block has a back-matching loss ".into(),
            loss("b").equals(local).into(),
            ", for the last block ".into(),
            loss("B").equals(Formula::call("l", vec![Formula::from("F").below("B")])).into(),
            ". Back-propagation is one gradient step on each of them: ".into(),
            Formula::Partial(Box::new(loss("b")), Box::new(weight())).equals(slope(weight())).into(),
            " and ".into(),
            Formula::Partial(Box::new(loss("b")), Box::new(z(before("b"))))
                .equals(slope(z(before("b"))))
                .into(),
            ".".into(),
        ]),
        Paragraph::Sentences(conventions(explanation.options.form)),
        Paragraph::Sentences(accumulation(explanation)),
    ]
}

/// How the formulas of the blocks are to be read.
fn conventions(form: Form) -> Vec<Span> {
    let h = |of: &str| Formula::from("H").below(of);
    let j = || Formula::from("J");
    let gram = Formula::Matrix(vec![j().transpose(), j()]);
    let through = Formula::Matrix(vec![j().transpose(), loss_curvature(), j()]);
    let trace = |of: Formula| Formula::call("tr", vec![of]);
    let m = |of: &str| Formula::from("m").below(of);
    let entries = Formula::from("N").below(before("b"));
    let m_z = Formula::Fraction(vec![trace(h("z"))], vec![entries]);
    let m_w = Formula::Fraction(vec![trace(h("W"))], vec!["m".into(), Formula::from("p").below("W")]);
    let mut spans: Vec<Span> = vec![
        "Local Hessians are in Gauss–Newton form, ".into(),
        Formula::from("H").equals(gram).into(),
        " (last block: ".into(),
        through.into(),
        ")".into(),
    ];
    if form == Form::Exact {
        spans.push(", and exact, ".into());
        spans.push(exact_form().into());
        spans.push(": ".into());
        spans.push(Formula::from("g").equals(slope(z("b"))).into());
        spans.push(" is held constant while the vector–Jacobian product ".into());
        spans.push(Formula::Matrix(vec![j().transpose(), "g".into()]).into());
        spans.push(" is differentiated".into());
    }
    spans.extend([
        ". Formulas are per sample ".into(),
        Formula::from("j").into(),
        " unless they sum over ".into(),
        Formula::from("j").into(),
        "; Avg is the mean over the batch, repeated. The scale factors are ".into(),
        m("z").equals(m_z).into(),
        " and ".into(),
        m("W").equals(m_w).into(),
        " (last block: with ".into(),
        Formula::Product(vec!["m".into(), loss_curvature()]).into(),
        ").".into(),
    ]);
    spans
}

/// Which factors are shown and used, and under what m is a product.
fn accumulation(explanation: &Explanation) -> Vec<Span> {
    let shown = explanation.options.mode;
    let mode = match explanation.trained_by {
        None => format!("The factors are in mode {}; the optimizer uses none. ", shown.name()),
        Some(used) if used == shown => format!("The factors are in mode {}, the optimizer's. ", used.name()),
        Some(used) => {
            format!("The factors are in mode {}; the optimizer uses {}. ", shown.name(), used.name())
        }
    };
    let of = |letter: &str, index: &str| {
        Formula::from(letter).below(Formula::List(vec![index.into(), "z".into()]))
    };
    let product = Formula::Big(Big::Product, vec!["k>b".into()], Box::new(of("m", "k")));
    let global = Formula::accented("H", crate::sym::formula::Accent::Hat).below("b");
    let entries = Formula::from("N").below("b");
    let trace = Formula::Fraction(vec![Formula::call("tr", vec![global])], vec![entries]);
    vec![
        Span::Words(mode),
        "Block b's gradient is divided by ".into(),
        Formula::Product(vec!["m".into(), Formula::from("m").below("W")]).into(),
        " with ".into(),
        Formula::from("m").equals(product).into(),
        ": this stands for the mean eigenvalue ".into(),
        trace.into(),
        " of the Hessian of the whole network by ".into(),
        z("b").into(),
        ", and is it where traces of products factorize (weights of different blocks independent, zero mean)"
            .into(),
        ".".into(),
    ]
}

/// Hᵉˣᵃᶜᵗ = H + R, R = Σᵢ gᵢ ∇²Fᵢ
fn exact_form() -> Formula {
    let index = || vec!["i".to_string()];
    let curved = Formula::Gradient(Box::new(Formula::from("F").indexed(index())));
    let residual =
        Formula::big(Big::Sum, index(), Formula::Matrix(vec![Formula::from("g").indexed(index()), curved]));
    let exact = Formula::Iterate(Box::new("H".into()), Box::new("exact".into()));
    let sum = Formula::Sum(vec![(false, "H".into()), (false, "R".into())]);
    exact.equals(Formula::With(Box::new(sum), vec![Formula::from("R").equals(residual)]))
}

/// The heading of a block.
pub fn heading(explanation: &Explanation, name: &str, position: usize) -> String {
    format!("block {name}   (b = {position} of {})", explanation.sizes.len().saturating_sub(1))
}

/// What stands below a heading.
pub fn body<'e>(explanation: &'e Explanation, content: &'e Content) -> Result<Vec<Row>, &'e str> {
    match content {
        Content::As(other) => Err(other),
        Content::Own(block) => {
            let mut rows = rows(block);
            rows.retain(|row| explanation.options.steps || row.kind != Kind::Step);
            Ok(rows)
        }
    }
}

/// All rows of a block.
pub fn rows(block: &BlockExplanation) -> Vec<Row> {
    let mut rows = Vec::new();
    if let Some(written) = &block.written {
        rows.push(Row::new(Kind::Source, "written", vec![Span::Words(written.clone())]));
    }
    let map = z("b").equals(block.map.clone());
    rows.push(Row::new(Kind::Setting, Formula::from("F").below("b"), vec![map.into()]));
    rows.push(Row::new(Kind::Setting, "sizes", sizes(block)));
    rows.push(Row::new(Kind::Setting, "loss", vec![loss(block.curvature.is_some()).into()]));
    if let Some((_, formula)) = &block.curvature {
        rows.push(Row::new(Kind::Setting, loss_curvature(), vec![formula.clone().into()]));
    }
    for argument in &block.arguments {
        rows.extend(argument_rows(block, argument));
    }
    let crosses = block.crosses.iter().filter(|_| block.form == Form::Exact);
    rows.extend(crosses.map(|cross| cross_row(block, cross)));
    let parameters = block.tensors.len().saturating_sub(2);
    if block.form == Form::Exact && !has_few_pairs(parameters) {
        let left_out = format!("mixed second derivatives of {parameters} parameters are too many to list");
        rows.push(Row::new(Kind::Hessian, "cross", vec![Span::Words(left_out)]));
    }
    if block.form == Form::Paper && block.paper.is_none() {
        let none =
            "the paper gives no form for this block (a batch norm right behind its one weight has one)";
        rows.push(Row::new(Kind::Hessian, "paper", vec![none.into()]));
    }
    rows.extend(block.arguments.iter().filter_map(factor_row));
    if let Some(mode) = block.modes.first() {
        rows.push(Row::new(Kind::Mode, "mode", vec![mode.mode.name().into()]));
        let assumed = |text: &String| Row::new(Kind::Assumption, "  if", vec![text.as_str().into()]);
        rows.extend(mode.assumptions.iter().map(assumed));
    }
    for (place, (name, definition)) in block.definitions.iter().enumerate() {
        let label = if place == 0 { "where" } else { "" };
        rows.push(Row::new(Kind::Where, label, vec![name.clone().equals(definition.clone()).into()]));
    }
    for (place, note) in block.notes.iter().enumerate() {
        rows.push(Row::new(Kind::Note, if place == 0 { "notes" } else { "" }, note.text.clone()));
    }
    rows.extend(steps(block));
    rows
}

/// L_b of one block, under neutral names.
pub fn loss(is_last: bool) -> Formula {
    let map = Formula::call(Formula::from("F").below("b"), vec!["W".into(), "z".into()]);
    let value = match is_last {
        true => Formula::call("l", vec![map]),
        false => Formula::Matrix(vec![Formula::Number(0.5), difference(target(), map).squared_norm()]),
    };
    Formula::from("L").below("b").equals(value)
}

/// Extents with the letters that index them: `W: 128×64 (i, k)`.
fn sizes(block: &BlockExplanation) -> Vec<Span> {
    let mut spans: Vec<Span> = Vec::new();
    for (place, tensor) in block.tensors.iter().enumerate() {
        if place > 0 {
            spans.push(",  ".into());
        }
        spans.push(tensor.name.clone().into());
        let extents: Vec<String> = tensor.axes.iter().map(|axis| axis.1.to_string()).collect();
        if extents.is_empty() {
            spans.push(": 1".into());
            continue;
        }
        spans.push(Span::Words(format!(": {} (", extents.join("×"))));
        for (nth, (letter, _)) in tensor.axes.iter().enumerate() {
            if nth > 0 {
                spans.push(", ".into());
            }
            spans.push(Formula::from(letter.as_str()).into());
        }
        spans.push(")".into());
    }
    spans
}

fn argument_rows(block: &BlockExplanation, argument: &Argument) -> Vec<Row> {
    let symbol = Formula::from(argument.symbol.clone());
    let of = |name: &str| Formula::from(name).below(symbol.clone());
    let (derived, formulas) = match &argument.derived {
        Ok(found) => found,
        Err(reason) => return vec![Row::new(Kind::Jacobian, of("J"), vec![Span::Words(reason.to_string())])],
    };
    let acts = Formula::Matrix(vec![of("J"), symbol.clone().varied()]);
    let mut rows =
        vec![Row::new(Kind::Jacobian, of("J"), vec![acts.equals(formulas.jacobian.clone()).into()])];
    let shown = block.form == Form::Paper;
    let body = match &block.paper {
        Some(paper) if shown && derived.is_input => of_paper(&paper.of_z),
        Some(paper) if shown && derived.lifts() => of_paper(&paper.of_w),
        _ => spans(&formulas.hessian),
    };
    rows.push(Row::new(Kind::Hessian, of("H"), body));
    if let Some(exact) = argument.exact.as_ref().filter(|_| block.form == Form::Exact) {
        rows.extend(exact_rows(&symbol, exact));
    }
    rows
}

/// Σᵢ gᵢ ∇²Fᵢ and the exact Hessian.
fn exact_rows(symbol: &Formula, exact: &Result<Exact, TooManyTerms>) -> Vec<Row> {
    let of = |name: &str| Formula::from(name).below(symbol.clone());
    let row = |label: Span, body: Vec<Span>| Row::new(Kind::Hessian, label, body);
    let residual: Span = of("R").into();
    let exact = match exact {
        Ok(exact) => exact,
        Err(reason) => return vec![row(residual, vec![Span::Words(reason.to_string())])],
    };
    if exact.residual.operator.terms.is_empty() {
        let zero =
            vec![Formula::Number(0.0).into(), ", F is piecewise affine in ".into(), symbol.clone().into()];
        return vec![row(residual, zero)];
    }
    let (formula, whole) = match &exact.formulas {
        Ok(formulas) => formulas,
        Err(reason) => return vec![row(residual, vec![Span::Words(reason.to_string())])],
    };
    let mut rows = vec![row(residual, vec![formula.clone().into()])];
    if let Some(whole) = whole {
        let sum = Formula::Sum(vec![(false, of("H")), (false, of("R"))]);
        rows.push(row("exact".into(), vec![sum.equals(whole.clone()).into()]));
    }
    rows
}

/// An entry of the second derivative by two parameters.
fn cross_row(block: &BlockExplanation, cross: &(Cross, Statement)) -> Row {
    let name = |place: usize| {
        let tensor = &block.tensors[place + 2];
        (tensor.name.clone(), tensor.axes.iter().map(|axis| axis.0.clone()).collect::<Vec<String>>())
    };
    let ((row, rows), (column, columns)) = (name(cross.0.row), name(cross.0.column));
    let columns =
        columns.into_iter().map(|letter| if rows.contains(&letter) { letter + "′" } else { letter });
    let indices = rows.iter().cloned().chain(columns).collect();
    let label = Formula::from("R").below(Formula::List(vec![row, column]));
    let entry =
        Statement { formula: label.indexed(indices).equals(cross.1.formula.clone()), ..cross.1.clone() };
    Row::new(Kind::Hessian, "cross", spans(&entry))
}

/// A formula, then its remark.
fn spans(statement: &Statement) -> Vec<Span> {
    let mut spans = vec![statement.formula.clone().into()];
    if !statement.remark.is_empty() {
        spans.push(", ".into());
        spans.extend(statement.remark.clone());
    }
    spans
}

fn of_paper(statement: &Statement) -> Vec<Span> {
    let mut all = spans(statement);
    all.push("   (paper: statistics held constant)".into());
    all
}

/// The steps of every Jacobian, then those of the factors.
fn steps(block: &BlockExplanation) -> Vec<Row> {
    let mut all: Vec<(Formula, &Step)> = Vec::new();
    for argument in &block.arguments {
        if let Ok((derived, _)) = &argument.derived {
            let of = Formula::from("J").below(argument.symbol.clone());
            all.extend(derived.steps.iter().map(|step| (of.clone(), step)));
        }
    }
    let factors: Vec<Formula> =
        block.arguments.iter().map(|argument| Formula::from("m").below(argument.symbol.clone())).collect();
    let of_mode = block.modes.first().into_iter().flat_map(|mode| &mode.steps);
    all.extend(of_mode.map(|step| (Formula::List(factors.clone()), step)));
    let mut known: Option<Formula> = None;
    let mut rows = Vec::new();
    for (of, step) in all {
        let mut body: Vec<Span> = Vec::new();
        if known.as_ref() != Some(&of) {
            body.extend([of.clone().into(), ": ".into()]);
            known = Some(of);
        }
        body.push(Span::Words(format!("{} ({}), {}", step.rule.name, step.rule.identity, step.detail)));
        let label = if rows.is_empty() { "steps" } else { "" };
        rows.push(Row::new(Kind::Step, label, body));
    }
    rows
}

fn factor_row(argument: &Argument) -> Option<Row> {
    let (_, factor) = argument.factors.first()?;
    let label = Formula::from("m").below(argument.symbol.clone());
    let formula = match &factor.derived {
        Some(derived) => derived.clone().equals(factor.formula.clone()),
        None => factor.formula.clone(),
    };
    Some(Row::new(Kind::Factor, label, vec![formula.into()]))
}
