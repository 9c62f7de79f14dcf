//! What each stage reads, and at which positions: the dependences that groups and statements must respect.

use std::collections::{HashMap, HashSet};

use super::stage::{Kind, StageId, Stages};
use super::view::{Source, view};
use crate::axes::Axis;
use crate::sym::{Expr, Node, Symbol};

/// `from` has to come before the stage that owns the edge.
#[derive(Clone, Debug)]
pub(super) struct Edge {
    pub from: StageId,
    /// Pairs (axis of `from`, axis of the owner) whose positions agree.
    pub pairs: Vec<(Axis, Axis)>,
    /// Whether every axis of what is read is met at the owner's own position along that very axis.
    pub identity: bool,
    /// The owner reads what `from` computes (else `from` reads what the owner overwrites).
    pub value: bool,
}

#[derive(Clone, Debug)]
struct SymbolRead {
    reader: StageId,
    /// (Axis of the symbol, axis of the reader).
    pairs: Vec<(Axis, Axis)>,
    identity: bool,
}

#[derive(Default)]
pub(super) struct Dependences {
    /// By stage.
    pub before: Vec<Vec<Edge>>,
    after: Vec<Vec<StageId>>,
    readers: HashMap<Symbol, Vec<SymbolRead>>,
    /// Stages that may overwrite what they read, entry by entry.
    entrywise: Vec<bool>,
}

/// Reads of all stages.
pub(super) fn reads(stages: &Stages) -> Dependences {
    let mut result = Dependences::default();
    for stage in 0..stages.list.len() {
        result.add(stages, stage);
    }
    result
}

impl Dependences {
    /// Enters the reads of `stage`, the next one.
    pub fn add(&mut self, stages: &Stages, stage: StageId) {
        self.before.push(Vec::new());
        self.after.push(Vec::new());
        let kind = &stages.list[stage].kind;
        self.entrywise.push(matches!(kind, Kind::Pointwise | Kind::Orthonormal));
        for read in walk(stages, stage) {
            match read.source {
                Source::Value(expr) => {
                    let (from, pairs, identity) = (stages.of[&expr], read.pairs, read.identity);
                    self.link(stage, Edge { from, pairs, identity, value: true });
                }
                Source::Symbol(symbol) => {
                    let read = SymbolRead { reader: stage, pairs: read.pairs, identity: read.identity };
                    self.readers.entry(symbol).or_default().push(read);
                }
            }
        }
    }

    fn link(&mut self, to: StageId, edge: Edge) {
        self.after[edge.from].push(to);
        self.before[to].push(edge);
    }

    /// Lets `writer` store straight into the symbol, after everyone who reads the old value. `false`, and nothing
    /// changed, where somebody needs the old value later or `writer` itself reads other entries of it.
    pub fn overwrite(&mut self, writer: StageId, symbol: Symbol) -> bool {
        let reads = self.readers.get(&symbol).cloned().unwrap_or_default();
        let (own, others): (Vec<_>, Vec<_>) = reads.into_iter().partition(|read| read.reader == writer);
        if own.iter().any(|read| !read.identity || !self.entrywise[writer]) {
            return false;
        }
        let later = self.reached_from(writer);
        if others.iter().any(|read| later.contains(&read.reader)) {
            return false;
        }
        for read in others {
            let pairs = read.pairs.iter().map(|&(of_symbol, of_reader)| (of_reader, of_symbol)).collect();
            self.link(writer, Edge { from: read.reader, pairs, identity: read.identity, value: false });
        }
        true
    }

    /// The stages that read what `stage` computes.
    pub fn users(&self, stage: StageId) -> impl Iterator<Item = StageId> + '_ {
        let reads =
            move |user: &StageId| self.before[*user].iter().any(|edge| edge.from == stage && edge.value);
        self.after[stage].iter().copied().filter(reads)
    }

    /// The stages that have to come after `stage`, as far as they are directly bound to it.
    pub fn followers(&self, stage: StageId) -> &[StageId] {
        &self.after[stage]
    }

    fn reached_from(&self, stage: StageId) -> HashSet<StageId> {
        let mut seen = HashSet::new();
        let mut open = vec![stage];
        while let Some(next) = open.pop() {
            open.extend(self.after[next].iter().filter(|&&follower| seen.insert(follower)));
        }
        seen
    }

    /// All stages, each after those it depends on; otherwise in the order of the graph.
    pub fn sorted(&self) -> Vec<StageId> {
        let mut missing: Vec<usize> = self.before.iter().map(Vec::len).collect();
        let mut ready: std::collections::BTreeSet<StageId> =
            (0..missing.len()).filter(|&stage| missing[stage] == 0).collect();
        let mut result = Vec::with_capacity(missing.len());
        while let Some(stage) = ready.pop_first() {
            result.push(stage);
            for &follower in &self.after[stage] {
                missing[follower] -= 1;
                if missing[follower] == 0 {
                    ready.insert(follower);
                }
            }
        }
        result
    }
}

/// A read of memory by a stage.
struct Read {
    source: Source,
    pairs: Vec<(Axis, Axis)>,
    identity: bool,
}

/// Axes as the expression at hand names them, with the stage's own axis that each stands for.
type Env = Vec<(Axis, Axis)>;

struct Walk<'a> {
    stages: &'a Stages<'a>,
    seen: HashSet<(Expr, Env)>,
    reads: Vec<Read>,
}

fn walk(stages: &Stages, stage: StageId) -> Vec<Read> {
    let own = &stages.list[stage];
    let env: Env = stages.domain(stage).map(|axis| (axis, axis)).collect();
    let mut walk = Walk { stages, seen: HashSet::new(), reads: Vec::new() };
    if own.copy {
        walk.visit(own.expr, &env);
    } else {
        walk.descend(own.expr, &env);
    }
    walk.reads
}

impl Walk<'_> {
    fn visit(&mut self, expr: Expr, env: &Env) {
        let axes = self.stages.graph.axes_of(expr);
        let env: Env = env.iter().filter(|entry| axes.contains(&entry.0)).copied().collect();
        if !self.seen.insert((expr, env.clone())) {
            return;
        }
        match view(self.stages.graph, &self.stages.layouts, expr) {
            Some(view) => {
                let own = |axis: Axis| env.iter().find(|entry| entry.0 == axis).map(|entry| entry.1);
                let pair = |dim: &super::view::Dim| Some((dim.origin?, own(dim.axis)?));
                let pairs: Vec<(Axis, Axis)> = view.dims.iter().filter_map(pair).collect();
                let identity = pairs.len() == view.dims.len() && pairs.iter().all(|pair| pair.0 == pair.1);
                self.reads.push(Read { source: view.source, pairs, identity });
            }
            None => self.descend(expr, &env),
        }
    }

    fn descend(&mut self, expr: Expr, env: &Env) {
        let graph = self.stages.graph;
        if let Node::Rename(arg, pairs) = graph.node(expr) {
            return self.visit(*arg, &renamed(env, pairs));
        }
        for arg in graph.node(expr).args() {
            self.visit(arg, env);
        }
    }
}

/// The environment of the argument of a renaming: what it calls `old` is what the result calls `new`.
pub(super) fn renamed<T: Copy>(env: &[(Axis, T)], pairs: &[(Axis, Axis)]) -> Vec<(Axis, T)> {
    let unmentioned = |axis: Axis| !pairs.iter().any(|pair| pair.0 == axis || pair.1 == axis);
    let renamed = pairs
        .iter()
        .filter_map(|&(old, new)| env.iter().find(|entry| entry.0 == new).map(|entry| (old, entry.1)));
    env.iter().filter(|entry| unmentioned(entry.0)).copied().chain(renamed).collect()
}
