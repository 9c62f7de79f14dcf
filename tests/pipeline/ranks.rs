//! Steps that several ranks take together, without any processes: each rank has an arena of its own in the loop interpreter,
//! which performs the exchanges. Synchronized ranks compute what one program computes with their batches as one; ranks that
//! average leave behind the averages of what each computes alone; and all ranks end up with the same bits.

use std::collections::BTreeMap;

use blkc::axes::BATCH;
use blkc::hessian::Plan;
use blkc::hessian::program::derive_for;
use blkc::hessian::ranks::{Ranks, depends_on_samples};
use blkc::ir::Network;
use blkc::loops::{interpret, verify};
use blkc::lower::{Lowered, Options, lower};
use blkc::sym::{Storage, Symbol};

use crate::machine::{network, read, write};
use crate::reference::noise;

/// Convolution, statistics over positions and over samples alone, a pool, dropout where `extra` says so.
fn images(extra: &str, settings: &str) -> String {
    format!(
        "network net(x: f32[2, 6, 6]) -> class[3] {{
    x
    |> block c {{ conv(5, pad = 1) |> batch_norm |> relu |> max_pool(2) }}
    |> block h {{ flatten |> dense(9) |> batch_norm |> tanh{extra} }}
    |> block out {{ dense(3, bias = true) }}
    |> cross_entropy
}}
train net {{
    {settings}
}}
"
    )
}

/// No batch statistics.
fn plain(settings: &str) -> String {
    format!(
        "network net(x: f32[11]) -> class[3] {{
    x
    |> block h {{ dense(16, bias = true) |> tanh |> dropout(0.3) }}
    |> block out {{ dense(3, bias = true) }}
    |> cross_entropy
}}
train net {{
    {settings}
}}
"
    )
}

const SGD: &str = "optimizer = sgd(lr = 0.1, momentum = 0.9, weight_decay = 1e-2)";
const OPTIMIZERS: [&str; 6] = [
    SGD,
    "optimizer = scale_amended(lr = 0.02)",
    "optimizer = scale_amended(lr = 0.02, mode = measured)",
    "optimizer = scale_amended(lr = 0.02, mode = trace)",
    "optimizer = sgd(lr = 0.1)\n    clip = 0.2",
    "optimizer = sgd(lr = 0.1, momentum = 0.5)\n    accumulate = 2",
];

/// A program and the arenas of its ranks.
struct Job {
    network: Network,
    plan: Plan,
    lowered: Lowered,
    arenas: Vec<Vec<u8>>,
}

impl Job {
    /// `batch` is the network's: of one rank, or of all where they are synchronized.
    fn new(text: &str, batch: usize, ranks: Ranks, count: usize) -> Job {
        let network = network(text, Some(batch));
        let plan = derive_for(&network, ranks).expect("can be shared");
        let lowered = lower(&plan, &Options::default()).expect("lowers");
        verify::verify(&lowered.program).unwrap_or_else(|problems| panic!("{problems:#?}"));
        let arenas = vec![vec![0; lowered.program.arena_bytes]; count];
        let mut job = Job { network, plan, lowered, arenas };
        let symbols = job.plan.symbols.clone();
        for rank in 0..count {
            job.put(rank, symbols.seed[0], &[7.0]);
            let values: Vec<f64> = job.hypers();
            symbols.hypers.iter().zip(values).for_each(|(&at, value)| job.put(rank, at, &[value]));
            symbols.share.iter().for_each(|&share| job.put(rank, share, &[1.0 / count as f64]));
            let first = (rank * job.batch()) as f64;
            symbols.first_sample.iter().for_each(|&at| job.put(rank, at, &[first]));
        }
        job.run("init");
        job
    }

    fn hypers(&self) -> Vec<f64> {
        let hypers = self.network.training.iter().flat_map(|training| &training.hypers);
        hypers.map(|hyper| hyper.value).collect()
    }

    /// Of one rank.
    fn batch(&self) -> usize {
        self.plan.graph.axes.extent(BATCH)
    }

    fn place(&self, symbol: Symbol) -> (usize, Storage, usize) {
        let info = self.plan.graph.symbol_info(symbol);
        (self.lowered.symbol_offsets[&symbol], info.storage, self.plan.graph.axes.size(&info.axes))
    }

    fn put(&mut self, rank: usize, symbol: Symbol, values: &[f64]) {
        let (offset, storage, _) = self.place(symbol);
        write(&mut self.arenas[rank], offset, storage, values.iter().copied());
    }

    fn run(&mut self, routine: &str) {
        let mut arenas: Vec<&mut [u8]> = self.arenas.iter_mut().map(Vec::as_mut_slice).collect();
        interpret::run_ranks(&self.lowered.program, routine, &mut arenas);
    }

    /// A step from sample `first` of an endless set on; every rank takes the samples behind those of the one before it.
    /// Returns the sample behind the last.
    fn step(&mut self, number: usize, first: usize) -> usize {
        let symbols = self.plan.symbols.clone();
        let settings = &self.network.training.as_ref().expect("a train item").settings;
        let (parts, batch) = (settings.accumulate as usize, self.batch());
        let (_, _, entries) = self.place(symbols.input);
        let size = entries / batch;
        let mut sample = first;
        for part in 0..parts {
            for rank in 0..self.arenas.len() {
                let all = noise(5, (sample + batch) * size);
                self.put(rank, symbols.input, &all[sample * size..]);
                let labels: Vec<f64> = (sample..sample + batch).map(|at| (at * at % 3) as f64).collect();
                self.put(rank, symbols.target, &labels);
                self.put(rank, symbols.step, &[(number * parts + part + 1) as f64]);
                sample += batch;
            }
            self.run("train");
        }
        if parts > 1 {
            (0..self.arenas.len()).for_each(|rank| self.put(rank, symbols.step, &[(number + 1) as f64]));
            self.run("update");
        }
        sample
    }

    /// What a rank's steps leave behind, by name.
    fn left(&self, rank: usize) -> BTreeMap<String, Vec<f64>> {
        let symbols = &self.plan.symbols;
        let factors = symbols.m_z.iter().chain(&symbols.m).chain(symbols.m_w.iter().flatten());
        let lasting = symbols.params.iter().chain(&symbols.stats).chain(&symbols.states);
        let all = lasting.chain(factors).chain([&symbols.loss]).chain(&symbols.accuracy);
        let value = |&symbol: &Symbol| {
            let (offset, storage, count) = self.place(symbol);
            let name = self.plan.graph.symbol_info(symbol).name.clone();
            (name, read(&self.arenas[rank], offset, storage, count))
        };
        all.map(value).collect()
    }

    fn assert_alike(&self, what: &str) {
        let first = self.left(0);
        for rank in 1..self.arenas.len() {
            assert_eq!(self.left(rank), first, "{what}: ranks 0 and {rank} differ");
        }
    }
}

fn assert_near(what: &str, have: &BTreeMap<String, Vec<f64>>, want: &BTreeMap<String, Vec<f64>>) {
    assert_eq!(have.keys().collect::<Vec<_>>(), want.keys().collect::<Vec<_>>(), "{what}");
    for (name, want) in want {
        let largest = want.iter().fold(1e-2f64, |largest, x| largest.max(x.abs()));
        for (have, want) in have[name].iter().zip(want) {
            assert!((have - want).abs() <= 2e-5 * largest, "{what}: {name}: {have:e}, not {want:e}");
        }
    }
}

/// Three steps.
fn trained(mut job: Job) -> Job {
    let mut sample = 0;
    for number in 0..3 {
        sample = job.step(number, sample);
    }
    job
}

#[test]
fn synchronized_ranks_are_one_program_with_all_samples() {
    for settings in OPTIMIZERS {
        let text = images(" |> dropout(0.3)", settings);
        let whole = trained(Job::new(&text, 12, Ranks::Alone, 1));
        for count in [2, 3] {
            let ranks = trained(Job::new(&text, 12, Ranks::Synchronized(count), count));
            let what = format!("{count} ranks, {settings}");
            ranks.assert_alike(&what);
            assert_near(&what, &ranks.left(0), &whole.left(0));
        }
    }
}

#[test]
fn without_batch_statistics_averages_are_the_whole_batch_too() {
    for settings in OPTIMIZERS {
        // These factors are measured on each rank's samples, and their means are others.
        if settings.contains("mode") {
            continue;
        }
        let whole = trained(Job::new(&plain(settings), 12, Ranks::Alone, 1));
        for count in [2, 3] {
            let ranks = trained(Job::new(&plain(settings), 12 / count, Ranks::Averaging, count));
            let what = format!("{count} ranks, {settings}");
            ranks.assert_alike(&what);
            assert_near(&what, &ranks.left(0), &whole.left(0));
        }
    }
}

/// A step of sgd is linear in the gradient, and running averages are in the statistics.
#[test]
fn averaging_ranks_leave_the_mean_of_what_each_computes() {
    let text = images("", SGD);
    let mut ranks = Job::new(&text, 6, Ranks::Averaging, 2);
    ranks.step(0, 0);
    ranks.assert_alike("a step of sgd");
    let mut alone = [0, 6].map(|first| {
        let mut job = Job::new(&text, 6, Ranks::Alone, 1);
        job.step(0, first);
        job.left(0)
    });
    let [mean, other] = &mut alone;
    for (mean, other) in mean.values_mut().zip(other.values()) {
        mean.iter_mut().zip(other).for_each(|(mean, other)| *mean = (*mean + other) / 2.0);
    }
    assert_near("a step of sgd", &ranks.left(0), mean);
}

#[test]
fn averaging_ranks_stay_alike() {
    for settings in OPTIMIZERS {
        let ranks = trained(Job::new(&images(" |> dropout(0.3)", settings), 4, Ranks::Averaging, 3));
        ranks.assert_alike(settings);
        let loss = &ranks.left(0)["loss"];
        assert!(loss[0].is_finite(), "{settings}: {loss:?}");
    }
}

/// Alone, a program that could be shared computes what another one does.
#[test]
fn one_rank_is_nothing_else() {
    for settings in OPTIMIZERS {
        let text = images(" |> dropout(0.3)", settings);
        let alone = trained(Job::new(&text, 8, Ranks::Alone, 1));
        let rank = trained(Job::new(&text, 8, Ranks::Averaging, 1));
        assert_near(settings, &rank.left(0), &alone.left(0));
    }
}

/// Nothing that a step leaves behind may differ from rank to rank.
#[test]
fn no_step_leaves_what_only_one_rank_knows() {
    for settings in OPTIMIZERS {
        let text = images("", settings);
        for ranks in [Ranks::Averaging, Ranks::Synchronized(2)] {
            let job = Job::new(&text, 8, ranks, 2);
            let symbols = &job.plan.symbols;
            for routine in job.plan.routines.iter().filter(|routine| routine.name != "eval") {
                for write in &routine.writes {
                    let own = symbols.gradients.contains(&write.symbol) && ranks == Ranks::Averaging;
                    let differs = depends_on_samples(&job.plan.graph, symbols, write.value);
                    let name = &job.plan.graph.symbol_info(write.symbol).name;
                    assert!(own || !differs, "{settings}: `{name}` after `{}`", routine.name);
                }
            }
        }
    }
}

/// One meeting for all gradients, losses and statistics: each costs the ranks the wait for the slowest.
#[test]
fn averaging_ranks_meet_once_a_step() {
    let job = Job::new(&images("", SGD), 8, Ranks::Averaging, 2);
    let meetings = |routine: &str| {
        let routine = job.lowered.program.routines.iter().find(|known| known.name == routine);
        routine.map(|routine| routine.levels.iter().filter(|level| !level.exchanges.is_empty()).count())
    };
    assert_eq!((meetings("train"), meetings("eval")), (Some(1), Some(0)));
}

#[test]
fn what_cannot_be_shared_is_refused() {
    let network = network(&images("", SGD), Some(7));
    let refused = derive_for(&network, Ranks::Synchronized(2)).expect_err("7 samples on 2 ranks");
    assert!(refused.contains("7 samples cannot be shared by 2 ranks"), "{refused}");
}
