//! Which block hinders the backward flow most, and by what (docs/inspect.md).
//!
//! Three measures of H_z, each in decades (powers of ten) and none for a block that passes the flow on evenly:
//!
//! - conditioning: log₁₀(λ_max / mean of the nonzero eigenvalues);
//! - rank: log₁₀(min(N_{b−1}, N_b) / rank), the directions that the shapes would let through;
//! - scale: |log₁₀ m_z − mean of log₁₀ m_z over the neighbours|.
//!
//! Their sum ranks the blocks. The first block is left out: no parameter lies below it.

use super::{BlockReport, Report};
use crate::ir::ScaleMode;
use crate::numeric::products::Form;

#[derive(Clone, Debug, PartialEq)]
pub struct Grade {
    pub block: String,
    pub conditioning: f64,
    pub rank: f64,
    pub scale: f64,
    /// What they rest on: λ_max over the mean of the nonzero eigenvalues; rank, and what the shapes allow; m_z, and the
    /// geometric mean over the neighbours.
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

    /// The numbers in a sentence.
    pub fn reasons(&self, number: impl Fn(f64) -> String) -> String {
        let (rank, most) = self.directions;
        let (own, neighbours) = self.factors;
        format!(
            "its largest eigenvalue is {}× the mean of the nonzero ones ({:.2} decades), {} of {most} directions pass \
             ({:.2}), m_z = {} against {} at its neighbours ({:.2})",
            number(self.spread),
            self.conditioning,
            number(rank.round()),
            self.rank,
            number(own),
            number(neighbours),
            self.scale,
        )
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
    let spread = if spectrum.trace > 0.0 { spectrum.max * spectrum.rank / spectrum.trace } else { 1.0 };
    let own = report.m_z[block.index];
    let beside = [block.index.checked_sub(1), Some(block.index + 1)];
    let beside: Vec<f64> =
        beside.into_iter().flatten().filter_map(|i| report.m_z.get(i)).map(|&m_z| decades(m_z)).collect();
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

/// Factors m_z of all blocks of the chain, exactly on this batch.
pub(super) fn chain_of(factors: &std::collections::HashMap<usize, Vec<super::ModeFactors>>) -> Vec<f64> {
    let mut indices: Vec<&usize> = factors.keys().collect();
    indices.sort_unstable();
    let exact = |index: &&usize| factors[*index].iter().find(|factors| factors.mode == ScaleMode::Trace);
    indices.iter().map(|index| exact(index).map_or(1.0, |factors| factors.m_z)).collect()
}
