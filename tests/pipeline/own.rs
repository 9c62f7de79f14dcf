//! Programs of our own (programs/*.blk): every routine of each, by every reading.

use std::path::Path;

use blkc::sym::{Symbol, Tensor};

use crate::machine::{Engine, PROBE, Pipeline, Values, network};
use crate::reference::{noise, slope};

/// One program at one batch size, with the values that its engines start from.
struct Subject {
    what: String,
    pipeline: Pipeline,
    engines: Vec<Engine>,
    values: Values,
    /// Draws anew at every step: the references of the intrinsics know no seed, the expressions do.
    draws: bool,
}

impl Subject {
    fn new(name: &str, batch: usize) -> Subject {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/pipeline/programs/{name}.blk"));
        let text = std::fs::read_to_string(path).expect("a program");
        let pipeline = Pipeline::new(network(&text, Some(batch)));
        let engines = Engine::all(&pipeline.lowered.program);
        let values = pipeline.start();
        let draws = text.contains("dropout") || text.contains("random");
        let mut subject =
            Subject { what: format!("{name}, batch {batch}"), pipeline, engines, values, draws };
        subject.feed();
        subject
    }

    fn put(&mut self, symbol: Symbol, entries: Vec<f64>) {
        self.values.insert(symbol, self.pipeline.tensor(symbol, entries));
    }

    /// A batch, a seed and a time.
    fn feed(&mut self) {
        let symbols = self.pipeline.plan.symbols.clone();
        let (inputs, targets) = (self.pipeline.size(symbols.input), self.pipeline.size(symbols.target));
        self.put(symbols.input, noise(1, inputs).iter().map(|x| 1.5 * x).collect());
        let targets = match symbols.accuracy {
            Some(_) => (0..targets).map(|sample| ((sample * sample + 1) % 3) as f64).collect(),
            None => noise(2, targets),
        };
        self.put(symbols.target, targets);
        self.put(symbols.seed[0], vec![7.0]);
        self.put(symbols.seed[1], vec![3.0]);
        self.put(symbols.time, vec![1.25]);
        self.put(symbols.total_time, vec![8.0]);
    }

    /// Every entry of every parameter moved a little, so that no two are equal and none is zero.
    fn shake(&mut self) {
        for (index, symbol) in self.pipeline.plan.symbols.params.clone().into_iter().enumerate() {
            let moves = noise(10 + index as u32, self.pipeline.size(symbol));
            let value = self.values.get_mut(&symbol).expect("a value");
            value.values.iter_mut().zip(moves).for_each(|(entry, by)| *entry += 0.05 * by);
        }
    }

    fn round(&mut self) {
        self.values = self.pipeline.rounded(std::mem::take(&mut self.values));
    }

    /// A routine by every engine is what its expressions mean; returns that.
    fn check(&self, routine: &str) -> Values {
        let expected = self.pipeline.evaluate(routine, &self.values);
        let slack = self.pipeline.conditioning(routine, &self.values, &expected);
        let runs: Vec<Values> =
            self.engines.iter().map(|engine| self.pipeline.run(engine, routine, &self.values)).collect();
        for (engine, written) in self.engines.iter().zip(&runs) {
            let what = format!("{}: {routine} by {}", self.what, engine.name());
            self.pipeline.agree_but(&what, written, &expected, self.pipeline.tolerance(), &slack);
        }
        if let [_, jit, native] = &runs[..] {
            assert_eq!(jit, native, "{}: {routine} has other bits as linked code", self.what);
        }
        expected
    }

    /// The step by the references of the intrinsics.
    fn check_references(&self, probed: &Values, stepped: &Values) {
        let (pipeline, what) = (&self.pipeline, &self.what);
        let blocks = pipeline.reference_blocks(&self.values);
        pipeline.agree(&format!("{what}: blocks by reference"), probed, &blocks, 1e-10);
        let averages = pipeline.reference_averages(&self.values);
        pipeline.agree(&format!("{what}: averages by reference"), stepped, &averages, 1e-10);
        let loss = stepped[&pipeline.plan.symbols.loss].values.sum();
        let reference = pipeline.reference_loss(&self.values);
        assert!(
            (loss - reference).abs() < 1e-10 * reference.abs().max(1.0),
            "{what}: loss {loss} is not {reference}"
        );
    }

    /// The updates by the references, from the derived gradients and factors.
    fn check_updates(&self, probed: &Values, stepped: &Values) {
        let symbols = &self.pipeline.plan.symbols;
        let mut known = self.values.clone();
        known.extend(
            symbols.m.iter().chain(symbols.m_w.iter().flatten()).map(|at| (*at, stepped[at].clone())),
        );
        known.extend(self.pipeline.probe.gradients.iter().map(|at| (*at, probed[at].clone())));
        let updates = self.pipeline.reference_updates(&known);
        self.pipeline.agree(&format!("{}: updates by reference", self.what), stepped, &updates, 1e-9);
    }

    /// Every gradient along a random direction, by central differences of the loss.
    fn check_slopes(&self, probed: &Values) {
        let (pipeline, probe) = (&self.pipeline, &self.pipeline.probe);
        let loss_symbol = pipeline.plan.symbols.loss;
        let derived = |values: &Values| pipeline.evaluate("train", values)[&loss_symbol].values.sum();
        let reference = |values: &Values| pipeline.reference_loss(values);
        let loss: &dyn Fn(&Values) -> f64 = if self.draws { &derived } else { &reference };
        for (index, (&at, gradient)) in pipeline.plan.symbols.params.iter().zip(&probe.gradients).enumerate()
        {
            let direction = pipeline.tensor(at, noise(50 + index as u32, pipeline.size(at)));
            let found = slope(&self.values, at, &direction, loss);
            let expected = (&probed[gradient].values * &direction.values).sum();
            let name = &pipeline.network.params[index].name;
            let size = probed[gradient].values.iter().map(|entry| entry * entry).sum::<f64>().sqrt();
            assert!(
                (found - expected).abs() < 1e-5 * size.max(0.1),
                "{}: slope of {name}: {found} is not {expected}",
                self.what
            );
        }
    }
}

/// Initialization, two steps, evaluation and the schedule of a program, by every reading.
fn check(name: &str, batch: usize) {
    let mut subject = Subject::new(name, batch);
    let initial = subject.check("init");
    subject.values.extend(initial);
    subject.shake();
    for step in [1.0, 2.0] {
        subject.values.insert(subject.pipeline.plan.symbols.step, Tensor::scalar(step));
        subject.round();
        let (probed, stepped) = (subject.check(PROBE), subject.check("train"));
        if !subject.draws {
            subject.check_references(&probed, &stepped);
            subject.check_updates(&probed, &stepped);
        }
        if step == 1.0 {
            subject.check_slopes(&probed);
        }
        subject.values.extend(stepped);
    }
    subject.round();
    let evaluated = subject.check("eval");
    if !subject.draws {
        let reference = subject.pipeline.reference_evaluation(&subject.values);
        subject.pipeline.agree(&format!("{name}: evaluation by reference"), &evaluated, &reference, 1e-10);
    }
    if subject.pipeline.routine("schedule").is_some() {
        subject.check("schedule");
    }
}

/// Every program is checked by a test of its own.
macro_rules! programs {
    ($($name:ident at $($batch:literal),+;)*) => {
        $(#[test]
        fn $name() {
            for batch in [$($batch),+] {
                check(stringify!($name), batch);
            }
        })*

        #[test]
        fn no_program_is_forgotten() {
            let known = [$(stringify!($name)),*];
            let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/pipeline/programs");
            for entry in std::fs::read_dir(folder).expect("the programs") {
                let name = entry.expect("an entry").path().file_stem().expect("a name").to_string_lossy().into_owned();
                assert!(known.contains(&name.as_str()), "{name} is not checked");
            }
        }
    };
}

programs! {
    activations at 13, 64;
    dropping at 16, 37;
    families at 21;
    images at 9;
    nested at 7, 32;
    norms at 5, 70;
    orthogonal at 19;
    projections at 33;
    regression at 1, 31;
    scaled at 24;
    scalar at 1, 2;
    two_weights at 12;
    wide at 48;
    windows at 4;
    words at 11;
}
