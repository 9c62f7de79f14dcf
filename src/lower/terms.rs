//! What a matrix product sums term by term, and how that differs between positions: at the border of an image fewer taps of
//! a window meet an entry, and a window read backwards with a step meets one at some positions only.

use std::collections::{HashMap, HashSet};

use super::gemm::pair;
use super::view::View;
use crate::axes::{Axis, AxisTable};
use crate::loops::Terms;

/// A product has at most so many terms: as many as an image of 512 × 512 has positions.
const MOST_TERMS: usize = 1 << 18;
/// So many terms, over all positions, are looked at.
const MOST_LOOKS: usize = 1 << 22;

/// Whether the terms over `summed` can be listed for each position of `choosing`.
pub(super) fn are_few(table: &AxisTable, summed: &[Axis], choosing: &[Axis]) -> bool {
    let terms = table.size(summed);
    terms <= MOST_TERMS && terms.saturating_mul(table.size(choosing)) <= MOST_LOOKS
}

/// An axis with a product for each position.
#[derive(Clone, Copy, Debug)]
pub(super) struct OuterAxis {
    pub axis: Axis,
    /// In A and B, in entries.
    pub strides: (usize, usize),
    /// Stride in [`Terms::choice`].
    pub list: usize,
}

/// Outer axes with their strides, and the terms at their positions.
pub(super) struct Sum {
    pub outer: Vec<OuterAxis>,
    pub terms: Terms,
    /// How many different blocks of A, and of B, all terms read.
    pub blocks: [usize; 2],
}

/// Terms that were looked at: the blocks of a network do the same.
#[derive(Default)]
pub(super) struct Known(HashMap<Vec<i64>, (Terms, [usize; 2])>);

impl Known {
    /// The terms over `summed` of a product of two views, for each position of `outer`.
    pub fn sum(
        &mut self,
        table: &AxisTable,
        views: [&View; 2],
        outer: &[Axis],
        summed: &[Axis],
    ) -> Option<Sum> {
        let strides = |&axis: &Axis| pair(views[0].step(axis), views[1].step(axis));
        let strides = outer.iter().map(strides).collect::<Option<Vec<_>>>()?;
        let slid = |axis: &Axis| views.iter().any(|view| view.slides_along(*axis));
        let choosing: Vec<Axis> = outer.iter().copied().filter(slid).collect();
        if !are_few(table, summed, &choosing) {
            return None;
        }
        let known = self.0.entry(key(table, views, &choosing, summed));
        let new = || {
            let terms = terms(table, views, &choosing, summed);
            let blocks = [different(&terms, |term| term.0), different(&terms, |term| term.1)];
            (terms, blocks)
        };
        let (terms, blocks) = known.or_insert_with(new).clone();
        let alike = terms.lists.len() == 1;
        let along = |axis: Axis| match choosing.iter().position(|&one| one == axis) {
            Some(place) if !alike => table.size(&choosing[place + 1..]),
            _ => 0,
        };
        let axes = outer.iter().zip(strides);
        let outer = axes.map(|(&axis, strides)| OuterAxis { axis, strides, list: along(axis) }).collect();
        Some(Sum { outer, terms, blocks })
    }
}

/// All that the terms depend on, whatever the axes are called.
fn key(table: &AxisTable, views: [&View; 2], choosing: &[Axis], summed: &[Axis]) -> Vec<i64> {
    let axes: Vec<Axis> = choosing.iter().chain(summed).copied().collect();
    let mut key = vec![choosing.len() as i64, summed.len() as i64];
    key.extend(axes.iter().map(|&axis| table.extent(axis) as i64));
    views.iter().for_each(|view| view.describe(&axes, &mut key));
    key
}

/// How many different offsets the terms have on one side.
fn different(terms: &Terms, side: fn(&(i64, i64)) -> i64) -> usize {
    terms.lists.iter().flatten().map(side).collect::<HashSet<i64>>().len()
}

/// The terms at every position of the axes that choose among lists.
fn terms(table: &AxisTable, views: [&View; 2], choosing: &[Axis], summed: &[Axis]) -> Terms {
    let mut lists = Lists::default();
    let mut choice = Vec::with_capacity(table.size(choosing));
    for position in positions(table, choosing) {
        choice.push(lists.number(list(table, views, (choosing, &position), summed)));
    }
    if lists.all.len() == 1 {
        choice.truncate(1);
    }
    Terms { lists: lists.all, choice }
}

/// The terms at one position: what is added to that of the outer loops.
fn list(
    table: &AxisTable,
    views: [&View; 2],
    (outer, position): (&[Axis], &[usize]),
    summed: &[Axis],
) -> Vec<(i64, i64)> {
    let find = |axes: &[Axis], position: &[usize], axis: Axis| {
        axes.iter().position(|&one| one == axis).map(|place| position[place])
    };
    let start = |view: &View| -> i64 {
        outer.iter().zip(position).map(|(&axis, &at)| view.step(axis) * at as i64).sum()
    };
    let starts = views.map(start);
    let term = |term: Vec<usize>| {
        let at = |axis| find(outer, position, axis).or_else(|| find(summed, &term, axis)).unwrap_or(0);
        Some((views[0].offset(&at)? - starts[0], views[1].offset(&at)? - starts[1]))
    };
    positions(table, summed).filter_map(term).collect()
}

/// Different lists, numbered.
#[derive(Default)]
struct Lists {
    all: Vec<Vec<(i64, i64)>>,
    known: HashMap<Vec<(i64, i64)>, u32>,
}

impl Lists {
    fn number(&mut self, list: Vec<(i64, i64)>) -> u32 {
        if let Some(&known) = self.known.get(&list) {
            return known;
        }
        let number = self.all.len() as u32;
        self.known.insert(list.clone(), number);
        self.all.push(list);
        number
    }
}

/// All positions along `axes`, the last one fastest.
fn positions<'a>(table: &'a AxisTable, axes: &'a [Axis]) -> impl Iterator<Item = Vec<usize>> + 'a {
    (0..table.size(axes)).map(|number| {
        let mut left = number;
        let mut position: Vec<usize> = axes
            .iter()
            .rev()
            .map(|&axis| {
                let extent = table.extent(axis);
                let at = left % extent;
                left /= extent;
                at
            })
            .collect();
        position.reverse();
        position
    })
}
