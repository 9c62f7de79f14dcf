//! Which block hinders the backward flow most, and by what (docs/inspect.md).
//!
//! Three measures of H_z, each in decades (powers of ten) and none for a block that passes the flow on evenly:
//!
//! - conditioning: log₁₀(λ_max / geometric mean of the nonzero eigenvalues), which sees small eigenvalues and is not
//!   governed by the very smallest, as the condition number is;
//! - rank: log₁₀(min(N_{b−1}, N_b) / rank), the directions that the shapes would let through;
//! - scale: |log₁₀ ‖J_z‖²_F/N_{b−1} − its mean over the blocks before and after|; that is m_z but for the last block,
//!   whose m_z has the loss's curvature in it.
//!
//! Their sum ranks the blocks. The first block is left out: no parameter lies below it.

use std::collections::HashMap;

use super::{BlockReport, ModeFactors, Report};
use crate::hessian::factors::factors as symbolic_factors;
use crate::hessian::{BlockExprs, Form};
use crate::ir::ScaleMode;
use crate::numeric::point::Point;

#[derive(Clone, Debug, PartialEq)]
pub struct Grade {
    pub block: String,
    pub conditioning: f64,
    pub rank: f64,
    pub scale: f64,
    /// What they rest on: λ_max over the geometric mean of the nonzero eigenvalues; rank, and what the shapes allow;
    /// ‖J_z‖²_F/N_{b−1}, and its geometric mean over the neighbours.
    pub spread: f64,
    pub directions: (f64, usize),
    pub factors: (f64, f64),
}

impl Grade {
    pub fn total(&self) -> f64 {
        self.conditioning + self.rank + self.scale
    }

    /// How strongly the block hinders, in a word.
    pub fn word(&self) -> &'static str {
        match self.total() {
            total if total >= 2.0 => "strongly",
            total if total >= 1.0 => "noticeably",
            _ => "little",
        }
    }

    /// The numbers that it rests on, in words.
    pub fn reasons(&self, number: impl Fn(f64) -> String) -> [String; 3] {
        let (rank, most) = self.directions;
        let (own, neighbours) = self.factors;
        [
            format!(
                "{:.2} conditioning: the largest eigenvalue of H_z is {}× the geometric mean of the nonzero ones",
                self.conditioning,
                number(self.spread)
            ),
            format!("{:.2} rank: {} of {most} directions pass", self.rank, number(rank.round())),
            format!(
                "{:.2} scale: ‖J_z‖²/N = {}, its neighbours' geometric mean is {}",
                self.scale,
                number(own),
                number(neighbours)
            ),
        ]
    }
}

/// The blocks that were inspected but for the first of the chain, those that hinder most in front.
pub fn ranking(report: &Report) -> Vec<Grade> {
    let mut grades: Vec<Grade> = report.blocks.iter().filter_map(|block| grade(report, block)).collect();
    grades.sort_by(|a, b| b.total().total_cmp(&a.total()));
    grades
}

/// A vanishing number counts as thirty decades.
fn decades(value: f64) -> f64 {
    value.max(1e-30).log10()
}

fn grade(report: &Report, block: &BlockReport) -> Option<Grade> {
    let spectrum = block.of_input.of(Form::GaussNewton).or(block.of_input.of(Form::Exact))?;
    if block.index == 0 {
        return None;
    }
    let most = report.samples * block.input_size.min(block.output_size);
    let middle = spectrum.geometric_mean();
    let spread = if middle > 0.0 { spectrum.max / middle } else { 1.0 };
    let own = report.gains[block.index];
    let beside = [block.index.checked_sub(1), Some(block.index + 1)];
    let beside: Vec<f64> =
        beside.into_iter().flatten().filter_map(|i| report.gains.get(i)).map(|&gain| decades(gain)).collect();
    let neighbours = beside.iter().sum::<f64>() / beside.len().max(1) as f64;
    Some(Grade {
        block: block.name.clone(),
        conditioning: decades(spread.max(1.0)),
        rank: decades(most as f64 / spectrum.rank.max(1e-30)).max(0.0),
        scale: (decades(own) - neighbours).abs(),
        spread,
        directions: (spectrum.rank, most),
        factors: (own, 10_f64.powf(neighbours)),
    })
}

/// ‖J_z‖²_F/N_{b−1} of every block of the chain: m_z in mode `trace`, as if no loss followed.
pub(super) fn gains(point: &mut Point, factors: &HashMap<usize, Vec<ModeFactors>>) -> Vec<f64> {
    let blocks = point.blocks.clone();
    let of_trace = |factors: &ModeFactors| factors.mode == ScaleMode::Trace;
    let gain = |(index, block): (usize, BlockExprs)| {
        let known = factors.get(&index).and_then(|all| all.iter().find(|factors| of_trace(factors)));
        match known {
            Some(known) if block.loss.is_none() => known.m_z,
            _ => {
                let alone = BlockExprs { loss: None, params: vec![], ..block };
                let symbolic = symbolic_factors(&mut point.graph, &alone, ScaleMode::Trace);
                point.number(symbolic.m_z)
            }
        }
    };
    blocks.into_iter().enumerate().map(gain).collect()
}
