//! The training loop.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::batch::{self, Evaluation};
use crate::clock::Clock;
use crate::data::{self, Dataset, Order, Wanted};
use crate::divergence::{self, Source};
use crate::manifest::{Manifest, TensorKind};
use crate::metrics::{self, Kind, Record};
use crate::options::{LOG_EVERY, TrainOptions};
use crate::pool::Pool;
use crate::program::{EVAL, INIT, Program, RoutineId, Snapshot, TRAIN};
use crate::report::{Epoch, Outcome, Reporter, Start, Step};
use crate::run::{self, Description, Position, RunFolder};
use crate::settings::Settings;
use crate::{Error, checkpoint, interrupt};

/// How often a reporter hears of steps, and the state is saved within a long epoch.
const REPORT_EVERY: Duration = Duration::from_millis(50);
const SAVE_EVERY: Duration = Duration::from_secs(60);

/// Trains, or evaluates with `--eval-only`. Ctrl-C and termination end it after the step in hand, saved.
pub fn train(
    program: &mut Program,
    options: &TrainOptions,
    out: &mut dyn Reporter,
) -> Result<Outcome, Error> {
    let inputs = Inputs::read(program.manifest(), options)?;
    train_on(program, inputs, options, out)
}

/// As [`train`], on inputs that were read before.
pub fn train_on(
    program: &mut Program,
    inputs: Inputs,
    options: &TrainOptions,
    out: &mut dyn Reporter,
) -> Result<Outcome, Error> {
    train_until(program, inputs, options, out, interrupt::watch())
}

/// What a run takes from outside: read and checked against the manifest, before there need be any code.
pub struct Inputs {
    settings: Settings,
    /// Of the run that goes on.
    description: Option<Description>,
    data: Dataset,
    order: Order,
    threads: usize,
}

impl Inputs {
    /// An error names what does not fit.
    pub fn read(manifest: &Manifest, options: &TrainOptions) -> Result<Self, Error> {
        let description = match &options.resume {
            Some(folder) => Some(Description::read(folder, manifest)?),
            None => None,
        };
        let settings = match &description {
            Some(description) => description.settings.clone().resume(options)?,
            None => Settings::resolve(manifest, options)?,
        };
        let threads = match options.threads {
            Some(0) => return Err(Error::usage("--threads 0: at least one thread is needed")),
            Some(threads) => threads,
            None => Pool::available(),
        };
        let data = load_data(manifest, &settings)?;
        let batch = manifest.batch;
        let needed = if options.eval_only { batch.min(data.train.len()) } else { batch };
        let order = Order::new(data.train.len(), needed, settings.seed, settings.shuffle)?;
        Ok(Inputs { settings, description, data, order, threads })
    }
}

/// As [`train_on`], and ends when `stop` is raised.
pub fn train_until(
    program: &mut Program,
    mut inputs: Inputs,
    options: &TrainOptions,
    out: &mut dyn Reporter,
    stop: &AtomicBool,
) -> Result<Outcome, Error> {
    let description = inputs.description.take();
    let mut session = Session::prepare(program, options, inputs)?;
    if options.eval_only {
        return session.evaluate_only(options);
    }
    session.open(options, description, out)?;
    session.start(out);
    session.steps(out, stop)?;
    session.finish(out, stop)
}

/// A run while it is going on.
struct Session<'p> {
    program: &'p mut Program,
    pool: Pool,
    data: Dataset,
    order: Order,
    settings: Settings,
    clock: Clock,
    train: RoutineId,
    eval: Option<RoutineId>,
    position: Position,
    /// Step at which this session ends.
    end: u64,
    log_every: u64,
    run: Option<RunFolder>,
    // What happened in this session.
    first: u64,
    began: Instant,
    /// When the epoch began, or this session of it, and at which step: the speed is counted from here.
    epoch_began: (Instant, u64),
    /// Samples per second in the epoch before.
    speed_before: f64,
    loss: Option<f64>,
    /// Evaluation of the weights as they are.
    test: Option<Evaluation>,
    saved: Instant,
    /// The last state without a number that is not finite, and its step, where there is no folder to read it from.
    good: Option<(u64, Snapshot)>,
    /// Factors that can divide nothing were spoken of.
    warned: bool,
}

impl<'p> Session<'p> {
    /// Everything that can be refused is refused here, before the folder of the run is touched.
    fn prepare(program: &'p mut Program, options: &TrainOptions, inputs: Inputs) -> Result<Self, Error> {
        let Inputs { settings, data, order, threads, .. } = inputs;
        let mut pool = Pool::new(threads, program.manifest().scratch_bytes)?;
        initialize(program, &settings, &mut pool)?;
        let position = start_state(program, options)?;
        let steps = u64::from(settings.epochs) * order.steps_per_epoch();
        let end = options.steps.map_or(steps, |limit| limit.min(steps));
        let clock = Clock::new(program, &settings, order.steps_per_epoch());
        let (train, eval) = (program.required(TRAIN)?, program.routine(EVAL));
        let now = Instant::now();
        Ok(Session {
            first: position.step,
            log_every: options.log_every.unwrap_or(LOG_EVERY).max(1),
            run: None,
            began: now,
            epoch_began: (now, position.step),
            speed_before: 0.0,
            loss: None,
            test: None,
            saved: now,
            good: None,
            warned: false,
            program,
            pool,
            data,
            order,
            settings,
            clock,
            train,
            eval,
            position,
            end,
        })
    }

    fn open(
        &mut self,
        options: &TrainOptions,
        description: Option<Description>,
        out: &mut dyn Reporter,
    ) -> Result<(), Error> {
        let run = match (&options.resume, description, &options.out) {
            (Some(folder), Some(mut description), _) => {
                description.settings = self.settings.clone();
                if let Some(warning) = description.retarget(&self.program.manifest().target) {
                    out.warn(&warning);
                }
                if self.position.best.is_some() && !run::has_best(folder) {
                    out.warn("best.safetensors is lost or damaged: the best epoch is chosen from here on");
                    self.position.best = None;
                }
                Some(RunFolder::reopen(folder, description, &self.position)?)
            }
            (_, _, Some(folder)) => {
                let steps_per_epoch = self.order.steps_per_epoch();
                let normalization = self.data.normalization.clone();
                let description = Description::new(self.program.manifest(), &self.settings, steps_per_epoch);
                let description = Description { normalization, ..description };
                Some(RunFolder::create(folder, description, self.program)?)
            }
            _ => None,
        };
        if run.is_none() {
            self.good = Some((self.position.step, self.program.snapshot()));
        }
        self.run = run;
        Ok(())
    }

    fn start(&self, out: &mut dyn Reporter) {
        let manifest = self.program.manifest();
        let parameters = manifest.tensors.iter().filter(|tensor| tensor.kind == TensorKind::Parameter);
        out.start(&Start {
            network: &manifest.network,
            optimizer: &manifest.optimizer,
            parameters: parameters.map(|tensor| tensor.len()).sum(),
            batch: manifest.batch,
            threads: self.pool.threads(),
            train_samples: self.data.train.len(),
            test_samples: self.data.test.as_ref().map(|test| test.len()),
            steps_per_epoch: self.order.steps_per_epoch(),
            first_step: self.first,
            last_step: self.end,
            settings: &self.settings,
        });
    }

    fn steps(&mut self, out: &mut dyn Reporter, stop: &AtomicBool) -> Result<(), Error> {
        let mut reported = Instant::now();
        while self.position.step < self.end && !stop.load(Ordering::Relaxed) {
            self.step(out)?;
            if self.position.step.is_multiple_of(self.log_every) {
                self.record(Kind::Step, self.samples_per_s())?;
            }
            if self.position.step.is_multiple_of(self.order.steps_per_epoch()) {
                self.epoch(out)?;
            }
            let now = Instant::now();
            if now - reported >= REPORT_EVERY {
                reported = now;
                out.step(&self.step_report());
                if now - self.saved >= SAVE_EVERY {
                    self.save(out)?;
                }
            }
        }
        Ok(())
    }

    fn step(&mut self, out: &mut dyn Reporter) -> Result<(), Error> {
        batch::fill(self.program, &self.data.train, self.order.batch(self.position.step));
        self.clock.set(self.program, &mut self.pool, self.position.step);
        self.program.run(self.train, &mut self.pool);
        self.test = None;
        let loss = f64::from(self.program.f32_at(self.program.scalars().loss));
        if !loss.is_finite() {
            return Err(self.not_finite(loss, out));
        }
        self.loss = Some(loss);
        self.position.step += 1;
        self.position.loss_sum += loss;
        self.position.accuracy_sum += self.accuracy().unwrap_or_default();
        Ok(())
    }

    /// Fraction of hits in the last batch.
    fn accuracy(&self) -> Option<f64> {
        self.program.scalars().accuracy.map(|offset| f64::from(self.program.f32_at(offset)))
    }

    /// Steps since the last one was a multiple of an epoch's.
    fn steps_in_epoch(&self) -> u64 {
        (self.position.step + self.order.steps_per_epoch() - 1) % self.order.steps_per_epoch() + 1
    }

    fn samples_per_s(&self) -> f64 {
        let (began, first) = self.epoch_began;
        if self.position.step == first {
            return self.speed_before;
        }
        let samples = (self.position.step - first) * self.program.manifest().batch as u64;
        samples as f64 / began.elapsed().as_secs_f64().max(1e-9)
    }

    fn step_report(&self) -> Step {
        Step {
            step: self.position.step,
            epoch: (self.position.step.saturating_sub(1) / self.order.steps_per_epoch()) as u32 + 1,
            loss: self.loss.unwrap_or_default(),
            accuracy: self.accuracy(),
            samples_per_s: self.samples_per_s(),
        }
    }

    /// The end of an epoch: evaluated, recorded, told, saved.
    fn epoch(&mut self, out: &mut dyn Reporter) -> Result<(), Error> {
        self.check_finite(out)?;
        self.warn_of_factors(out);
        let samples_per_s = self.samples_per_s();
        self.evaluate();
        self.record(Kind::Epoch, samples_per_s)?;
        let steps = self.order.steps_per_epoch();
        let report = Epoch {
            epoch: (self.position.step / steps) as u32,
            epochs: self.settings.epochs,
            step: self.position.step,
            loss: self.position.loss_sum / steps as f64,
            accuracy: self.accuracy().map(|_| self.position.accuracy_sum / steps as f64),
            lr: self.clock.rate(self.program),
            samples_per_s,
            test: self.test,
        };
        out.epoch(&report);
        self.keep_best(&report)?;
        (self.position.loss_sum, self.position.accuracy_sum) = (0.0, 0.0);
        self.save(out)?;
        (self.epoch_began, self.speed_before) = ((Instant::now(), self.position.step), samples_per_s);
        Ok(())
    }

    /// Evaluates the weights as they are on the test set, where there is one.
    fn evaluate(&mut self) {
        let (Some(eval), Some(test), None) = (self.eval, &self.data.test, &self.test) else { return };
        self.test = Some(batch::evaluate(self.program, eval, test, &mut self.pool));
    }

    /// The best epoch is that of the highest accuracy, or the smallest loss, on the test set, else in training.
    fn keep_best(&mut self, report: &Epoch) -> Result<(), Error> {
        let score = match report.test {
            Some(Evaluation { accuracy: Some(accuracy), .. }) => accuracy,
            Some(Evaluation { loss, .. }) => -loss,
            None => -report.loss,
        };
        if self.position.best.is_none_or(|best| score > best) {
            self.position.best = Some(score);
            if let Some(run) = &self.run {
                run.save_best(self.program)?;
            }
        }
        Ok(())
    }

    fn record(&mut self, kind: Kind, samples_per_s: f64) -> Result<(), Error> {
        if self.run.is_none() {
            return Ok(());
        }
        let steps = self.steps_in_epoch() as f64;
        let test = self.test.filter(|_| kind == Kind::Epoch);
        let (loss, accuracy) = match kind {
            Kind::Step => (self.loss.unwrap_or_default(), self.accuracy()),
            Kind::Epoch => {
                let accuracy = self.accuracy().map(|_| self.position.accuracy_sum / steps);
                (self.position.loss_sum / steps, accuracy)
            }
        };
        let record = Record {
            kind,
            step: self.position.step,
            epoch: self.position.step as f64 / self.order.steps_per_epoch() as f64,
            loss,
            accuracy,
            lr: self.clock.rate(self.program),
            samples_per_s,
            test_loss: test.map(|test| test.loss),
            test_accuracy: test.and_then(|test| test.accuracy),
            test_top5: test.and_then(|test| test.top5),
            test_rmse: test.and_then(|test| test.rmse),
            blocks: metrics::factors(self.program),
        };
        self.run.as_mut().map_or(Ok(()), |run| run.record(&record))
    }

    /// Once in a run, when scale factors have left the range in which the compiled step divides by them.
    fn warn_of_factors(&mut self, out: &mut dyn Reporter) {
        if self.warned {
            return;
        }
        let degenerate = metrics::degenerate(self.program);
        if !degenerate.is_empty() {
            self.warned = true;
            out.warn(&format!(
                "scale factors cannot divide after step {}: {}; such a factor counts as 1 (another `mode` may hold)",
                self.position.step,
                degenerate.join(", ")
            ));
        }
    }

    fn save(&mut self, out: &mut dyn Reporter) -> Result<(), Error> {
        self.check_finite(out)?;
        self.saved = Instant::now();
        match &mut self.run {
            Some(run) => run.save(self.program, &self.position)?,
            None => self.good = Some((self.position.step, self.program.snapshot())),
        }
        Ok(())
    }

    fn finish(mut self, out: &mut dyn Reporter, stop: &AtomicBool) -> Result<Outcome, Error> {
        let interrupted = self.position.step < self.end && stop.load(Ordering::Relaxed);
        self.save(out)?;
        if !interrupted {
            self.evaluate();
        }
        let outcome = Outcome {
            steps: self.position.step,
            loss: self.loss,
            test: self.test.filter(|_| !interrupted),
            train: None,
            seconds: self.began.elapsed().as_secs_f64(),
            interrupted,
            run: self.run.as_ref().map(|run| run.path().to_path_buf()),
        };
        out.end(&outcome);
        Ok(outcome)
    }

    fn evaluate_only(mut self, options: &TrainOptions) -> Result<Outcome, Error> {
        if options.weights.is_none() && options.resume.is_none() {
            return Err(Error::usage("--eval-only has no weights to evaluate")
                .with_help("give them by --weights FILE or --resume RUN"));
        }
        let eval = self.program.required(EVAL)?;
        self.evaluate();
        let train = match self.test {
            Some(_) => None,
            None => Some(batch::evaluate(self.program, eval, &self.data.train, &mut self.pool)),
        };
        Ok(Outcome {
            steps: self.position.step,
            loss: None,
            test: self.test,
            train,
            seconds: self.began.elapsed().as_secs_f64(),
            interrupted: false,
            run: None,
        })
    }

    /// The run stops here; what was saved before stays.
    fn not_finite(&mut self, loss: f64, out: &mut dyn Reporter) -> Error {
        let step = self.position.step + 1;
        let after = match self.infected().as_str() {
            "" => "; all weights are still finite".to_string(),
            names => format!("; not finite after it: {names}"),
        };
        let what = format!("the loss of step {step} (epoch {}) is {loss}", self.epoch_of(step));
        self.diverged(what, &after, step, out)
    }

    /// A step can have a finite loss and leave weights that are not: they are neither saved nor evaluated.
    fn check_finite(&mut self, out: &mut dyn Reporter) -> Result<(), Error> {
        let step = self.position.step;
        let names = self.infected();
        if names.is_empty() {
            return Ok(());
        }
        let what = format!("not finite after step {step} (epoch {}): {names}", self.epoch_of(step));
        Err(self.diverged(what, "", step, out))
    }

    /// Some of the tensors with a number that is not finite.
    fn infected(&self) -> String {
        divergence::infected(self.program).take(4).collect::<Vec<_>>().join(", ")
    }

    /// Epoch of a step, both counted from 1.
    fn epoch_of(&self, step: u64) -> u64 {
        step.saturating_sub(1) / self.order.steps_per_epoch() + 1
    }

    /// What happened after `step`, and where it began, or else what is seen `after` it.
    fn diverged(&mut self, what: String, after: &str, step: u64, out: &mut dyn Reporter) -> Error {
        let origin = self.origin(step, out).map_or(after.to_string(), |source| format!("; {source}"));
        let kept = match &self.run {
            Some(run) => format!("; {} keeps the last good state", run.path().display()),
            None => String::new(),
        };
        Error::new(what + &origin).with_help(format!("try a smaller learning rate (--lr){kept}"))
    }

    /// Goes on from the last good state to `step`, to see where it went wrong.
    fn origin(&mut self, step: u64, out: &mut dyn Reporter) -> Option<Source> {
        let first = match (&self.run, &self.good) {
            (Some(run), _) => run::read_state(run.path(), self.program).ok()?.step,
            (None, Some((first, good))) => {
                self.program.restore(good);
                *first
            }
            (None, None) => return None,
        };
        if step > first + 1 {
            out.warn(&format!("after step {step} not all numbers are finite; looking for the first of them from step {first} on"));
        }
        let (data, order, clock) = (&self.data, &mut self.order, &self.clock);
        divergence::search(self.program, &mut self.pool, self.train, first..step, |program, pool, step| {
            batch::fill(program, &data.train, order.batch(step));
            clock.set(program, pool, step);
        })
    }
}

fn load_data(manifest: &Manifest, settings: &Settings) -> Result<Dataset, Error> {
    let Some(spec) = &settings.data else {
        return Err(Error::usage("no data to train on").with_help(
            "give --data DATA, or `data = …` in the `train` item: digits, csv:FILE, npz:FILE, idx:DIR",
        ));
    };
    data::load(spec, &Wanted::by(manifest))
}

/// The state of a new run: initial weights of the seed, everything else zero.
pub(crate) fn initialize(program: &mut Program, settings: &Settings, pool: &mut Pool) -> Result<(), Error> {
    program.clear();
    let [low, high] = program.scalars().seed;
    program.set_u32(low, settings.seed as u32);
    program.set_u32(high, (settings.seed >> 32) as u32);
    // Initial states may be options of the optimizer. A clock of a run writes the same numbers again.
    Clock::new(program, settings, 1);
    let init = program.required(INIT)?;
    program.run(init, pool);
    Ok(())
}

/// Overlays the weights or the run that the options name.
fn start_state(program: &mut Program, options: &TrainOptions) -> Result<Position, Error> {
    if let Some(file) = &options.weights {
        checkpoint::load(program, checkpoint::Content::Weights, file)?;
    }
    match &options.resume {
        Some(folder) => run::read_state(folder, program),
        None => Ok(Position::default()),
    }
}
