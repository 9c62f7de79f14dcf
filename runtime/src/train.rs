//! The training loop.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::batch::{self, Evaluation};
use crate::clock::Clock;
use crate::data::augment::Augmenter;
use crate::data::{self, Dataset, Normalization, Order, Samples, Wanted};
use crate::divergence::{self, Source};
use crate::feed::{Feed, Maker};
use crate::manifest::{Manifest, Outline, Ranks, TensorKind};
use crate::metrics::{self, Kind, Record};
use crate::options::{LOG_EVERY, TrainOptions};
use crate::pool::Pool;
use crate::program::{EVAL, INIT, Program, RoutineId, Snapshot, TRAIN, UPDATE};
use crate::report::{Epoch, Outcome, Reporter, Start, Step};
use crate::run::{self, Description, Position, RunFolder};
use crate::settings::Settings;
use crate::{Error, checkpoint, interrupt, ranks};

/// How often a reporter hears of steps, and the state is saved within a long epoch.
const REPORT_EVERY: Duration = Duration::from_millis(50);
const SAVE_EVERY: Duration = Duration::from_secs(60);

/// Trains, or evaluates with `--eval-only`. Ctrl-C and termination end it after the step in hand, saved.
pub fn train(
    program: &mut Program,
    options: &TrainOptions,
    out: &mut dyn Reporter,
) -> Result<Outcome, Error> {
    let inputs = Inputs::read(&Outline::from(program.manifest()), options)?;
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

/// What a run takes from outside: read and checked against the outline, before there need be any code.
pub struct Inputs {
    settings: Settings,
    /// Of the run that goes on.
    description: Option<Description>,
    train: Arc<Samples>,
    test: Option<Samples>,
    /// Samples of the training set that are held back.
    validation: Vec<u32>,
    normalization: Option<Normalization>,
    order: Order,
    augmenter: Augmenter,
    threads: usize,
}

impl Inputs {
    /// An error names what does not fit.
    pub fn read(outline: &Outline, options: &TrainOptions) -> Result<Self, Error> {
        let description = match &options.resume {
            Some(folder) => Some(Description::read(folder, outline)?),
            None => None,
        };
        check_ranks(outline.ranks)?;
        let settings = match &description {
            Some(description) => description.settings.clone().resume(options)?,
            None => Settings::resolve(outline, options)?,
        };
        let threads = Pool::count(options.threads)?;
        let Dataset { train, test, normalization } = load_data(outline, &settings)?;
        let (members, validation) = data::split(train.len(), outline.defaults.validation, settings.seed)?;
        let per_step = outline.batch * ranks::count() * outline.accumulate;
        let needed = if options.eval_only { per_step.min(members.len()) } else { per_step };
        let order = Order::new(members, needed, settings.seed, settings.shuffle)?;
        let augmenter = augmenter(outline, &train, settings.seed)?;
        Ok(Inputs {
            settings,
            description,
            train: Arc::new(train),
            test,
            validation,
            normalization,
            order,
            augmenter,
            threads,
        })
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
    ranks::agree(check_alike(program.manifest()))?;
    let mut session = ranks::agree(Session::prepare(program, options, inputs))?;
    if options.eval_only {
        return session.evaluate_only(options);
    }
    let opened = session.open(options, description, out);
    ranks::agree(opened)?;
    session.start(out);
    session.steps(out, stop)?;
    session.finish(out)
}

/// A run while it is going on.
struct Session<'p> {
    program: &'p mut Program,
    pool: Pool,
    samples: Arc<Samples>,
    test_samples: Option<Samples>,
    validation_members: Vec<u32>,
    normalization: Option<Normalization>,
    feed: Feed,
    /// Makes the batches of the feed again.
    maker: Maker,
    steps_per_epoch: u64,
    settings: Settings,
    clock: Clock,
    train: RoutineId,
    update: Option<RoutineId>,
    eval: Option<RoutineId>,
    position: Position,
    /// Step at which this session ends.
    end: u64,
    log_every: u64,
    /// Where the run is kept, and, of the first rank, what writes it.
    folder: Option<PathBuf>,
    run: Option<RunFolder>,
    // What happened in this session.
    first: u64,
    began: Instant,
    /// When the epoch began, or this session of it, and at which step: the speed is counted from here.
    epoch_began: (Instant, u64),
    /// Samples per second in the epoch before.
    speed_before: f64,
    loss: Option<f64>,
    accuracy: Option<f64>,
    /// Evaluations of the weights as they are.
    validation: Option<Evaluation>,
    test: Option<Evaluation>,
    saved: Instant,
    /// The last state without a number that is not finite, and its step, where there is no folder to read it from.
    good: Option<(u64, Snapshot)>,
    /// Factors that can divide nothing were spoken of.
    warned: bool,
    /// Somebody has asked the run to end.
    asked_to_stop: bool,
}

impl<'p> Session<'p> {
    /// Everything that can be refused is refused here, before the folder of the run is touched.
    fn prepare(program: &'p mut Program, options: &TrainOptions, inputs: Inputs) -> Result<Self, Error> {
        let Inputs { settings, train: samples, test, validation, order, augmenter, threads, .. } = inputs;
        let normalization = inputs.normalization;
        let mut pool = Pool::new(threads, program.manifest().scratch_bytes)?;
        initialize(program, &settings, &mut pool)?;
        let position = start_state(program, options)?;
        let steps_per_epoch = order.steps_per_epoch();
        let steps = u64::from(settings.epochs) * steps_per_epoch;
        let end = options.steps.map_or(steps, |limit| limit.min(steps));
        let clock = Clock::new(program, &settings, steps_per_epoch);
        let (batch, per_step) = (program.manifest().batch, program.manifest().accumulate as u64);
        let last = if options.eval_only { position.step } else { end };
        let (rank, ranks) = (ranks::rank(), ranks::count());
        let maker = Maker { samples: Arc::clone(&samples), order, augmenter, batch, per_step, rank, ranks };
        let feed = Feed::new(maker.clone(), position.step * per_step..last * per_step)?;
        let (train, update, eval) =
            (program.required(TRAIN)?, program.routine(UPDATE), program.routine(EVAL));
        let now = Instant::now();
        Ok(Session {
            first: position.step,
            log_every: options.log_every.unwrap_or(LOG_EVERY).max(1),
            folder: options.resume.as_ref().or(options.out.as_ref()).cloned(),
            run: None,
            began: now,
            epoch_began: (now, position.step),
            speed_before: 0.0,
            loss: None,
            accuracy: None,
            validation: None,
            test: None,
            saved: now,
            good: None,
            warned: false,
            asked_to_stop: false,
            program,
            pool,
            samples,
            test_samples: test,
            validation_members: validation,
            normalization,
            feed,
            maker,
            steps_per_epoch,
            settings,
            clock,
            train,
            update,
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
            _ if !ranks::is_first() => {
                if let (Some(folder), true) = (&options.resume, self.position.best.is_some()) {
                    self.position.best = self.position.best.filter(|_| run::has_best(folder));
                }
                None
            }
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
                let manifest = self.program.manifest();
                let description = Description::new(manifest, &self.settings, self.steps_per_epoch);
                let description = Description { normalization: self.normalization.clone(), ..description };
                Some(RunFolder::create(folder, description, self.program)?)
            }
            _ => None,
        };
        if self.folder.is_none() {
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
            ranks: ranks::count(),
            threads: self.pool.threads(),
            train_samples: self.samples.len() - self.validation_members.len(),
            validation_samples: Some(self.validation_members.len()).filter(|samples| *samples > 0),
            test_samples: self.test_samples.as_ref().map(|test| test.len()),
            steps_per_epoch: self.steps_per_epoch,
            first_step: self.first,
            last_step: self.end,
            settings: &self.settings,
        });
    }

    fn steps(&mut self, out: &mut dyn Reporter, stop: &AtomicBool) -> Result<(), Error> {
        let mut reported = Instant::now();
        self.asked_to_stop = ranks::any(stop.load(Ordering::Relaxed));
        while self.position.step < self.end && !self.is_exhausted() && !self.asked_to_stop {
            self.step(out)?;
            if self.position.step.is_multiple_of(self.log_every) {
                self.record(Kind::Step, self.samples_per_s())?;
            }
            if self.position.step.is_multiple_of(self.steps_per_epoch) {
                self.epoch(out)?;
            }
            let now = Instant::now();
            if now - reported >= REPORT_EVERY {
                reported = now;
                out.step(&self.step_report());
            }
            if self.decide(stop, now) {
                self.save(out)?;
            }
        }
        Ok(())
    }

    /// Whether the state is to be saved within an epoch; and whether the run has been asked to stop. Clocks differ: that of
    /// the first rank counts.
    fn decide(&mut self, stop: &AtomicBool, now: Instant) -> bool {
        let vote = |votes: bool| f64::from(u8::from(votes));
        let mut votes = [vote(stop.load(Ordering::Relaxed)), vote(ranks::is_first() && self.is_due(now))];
        ranks::total(&mut votes);
        self.asked_to_stop = votes[0] > 0.0;
        votes[1] > 0.0
    }

    /// Whether the state is to be saved within an epoch, by this rank's clock.
    fn is_due(&self, now: Instant) -> bool {
        match self.program.manifest().defaults.checkpoint {
            // The end of an epoch has saved already.
            Some(_) if self.position.step.is_multiple_of(self.steps_per_epoch) => false,
            Some(steps) => self.position.step.is_multiple_of(steps.max(1)),
            None => now - self.saved >= SAVE_EVERY,
        }
    }

    /// The validation loss has not fallen for as long as the program has patience.
    fn is_exhausted(&self) -> bool {
        let patience = self.program.manifest().defaults.patience;
        patience.is_some_and(|patience| self.position.waited >= patience)
    }

    /// The gradients of as many batches as a step takes, and the update.
    fn step(&mut self, out: &mut dyn Reporter) -> Result<(), Error> {
        (self.validation, self.test) = (None, None);
        let batches = self.program.manifest().accumulate as u64;
        let (mut loss, mut accuracy) = (0.0, None);
        self.clock.set(self.program, &mut self.pool, self.position.step);
        for batch in 0..batches {
            self.clock.set_number(self.program, self.position.step * batches + batch);
            loss += self.batch(out)? / batches as f64;
            let hits = self.program.scalars().accuracy.map(|at| f64::from(self.program.f32_at(at)));
            accuracy = hits.map(|hits| accuracy.unwrap_or(0.0) + hits / batches as f64);
        }
        if let Some(update) = self.update {
            self.clock.set_number(self.program, self.position.step);
            self.program.run(update, &mut self.pool);
        }
        (self.loss, self.accuracy) = (Some(loss), accuracy);
        self.position.step += 1;
        self.position.loss_sum += loss;
        self.position.accuracy_sum += accuracy.unwrap_or_default();
        Ok(())
    }

    /// Forward and backward on the next batch; its loss.
    fn batch(&mut self, out: &mut dyn Reporter) -> Result<f64, Error> {
        self.feed.place(self.program)?;
        self.program.run(self.train, &mut self.pool);
        let loss = f64::from(self.program.f32_at(self.program.scalars().loss));
        if loss.is_finite() { Ok(loss) } else { Err(self.not_finite(loss, out)) }
    }

    /// Steps since the last one was a multiple of an epoch's.
    fn steps_in_epoch(&self) -> u64 {
        (self.position.step + self.steps_per_epoch - 1) % self.steps_per_epoch + 1
    }

    fn samples_per_s(&self) -> f64 {
        let (began, first) = self.epoch_began;
        if self.position.step == first {
            return self.speed_before;
        }
        let manifest = self.program.manifest();
        let samples =
            (self.position.step - first) * (manifest.batch * ranks::count() * manifest.accumulate) as u64;
        samples as f64 / began.elapsed().as_secs_f64().max(1e-9)
    }

    fn step_report(&self) -> Step {
        Step {
            step: self.position.step,
            epoch: (self.position.step.saturating_sub(1) / self.steps_per_epoch) as u32 + 1,
            loss: self.loss.unwrap_or_default(),
            accuracy: self.accuracy,
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
        let steps = self.steps_per_epoch;
        let report = Epoch {
            epoch: (self.position.step / steps) as u32,
            epochs: self.settings.epochs,
            step: self.position.step,
            loss: self.position.loss_sum / steps as f64,
            accuracy: self.accuracy.map(|_| self.position.accuracy_sum / steps as f64),
            lr: self.clock.rate(self.program),
            samples_per_s,
            validation: self.validation,
            test: self.test,
        };
        out.epoch(&report);
        self.keep_best(&report)?;
        (self.position.loss_sum, self.position.accuracy_sum) = (0.0, 0.0);
        self.save(out)?;
        (self.epoch_began, self.speed_before) = ((Instant::now(), self.position.step), samples_per_s);
        Ok(())
    }

    /// Evaluates the weights as they are on the validation split and the test set, where there are any.
    fn evaluate(&mut self) {
        let Some(eval) = self.eval else { return };
        let members = &self.validation_members;
        if self.validation.is_none() && !members.is_empty() {
            let (samples, pool) = (&self.samples, &mut self.pool);
            self.validation = Some(batch::evaluate_members(self.program, eval, samples, members, pool));
        }
        if let (Some(test), None) = (&self.test_samples, &self.test) {
            self.test = Some(batch::evaluate(self.program, eval, test, &mut self.pool));
        }
    }

    /// The best epoch is that of the highest accuracy, or the smallest loss, on the validation split, else on the test
    /// set, else in training.
    fn keep_best(&mut self, report: &Epoch) -> Result<(), Error> {
        let score = match report.validation.or(report.test) {
            Some(Evaluation { accuracy: Some(accuracy), .. }) => accuracy,
            Some(Evaluation { loss, .. }) => -loss,
            None => -report.loss,
        };
        if let Some(validation) = report.validation {
            self.position.wait(validation.loss);
        }
        let is_best = self.position.rate(score);
        ranks::agree(match &self.run {
            Some(run) if is_best => run.save_best(self.program),
            _ => Ok(()),
        })
    }

    fn record(&mut self, kind: Kind, samples_per_s: f64) -> Result<(), Error> {
        let steps = self.steps_in_epoch() as f64;
        let of_epoch = |evaluation: Option<Evaluation>| evaluation.filter(|_| kind == Kind::Epoch);
        let (validation, test) = (of_epoch(self.validation), of_epoch(self.test));
        let (loss, accuracy) = match kind {
            Kind::Step => (self.loss.unwrap_or_default(), self.accuracy),
            Kind::Epoch => {
                let accuracy = self.accuracy.map(|_| self.position.accuracy_sum / steps);
                (self.position.loss_sum / steps, accuracy)
            }
        };
        let record = Record {
            kind,
            step: self.position.step,
            epoch: self.position.step as f64 / self.steps_per_epoch as f64,
            loss,
            accuracy,
            lr: self.clock.rate(self.program),
            samples_per_s,
            validation_loss: validation.map(|validation| validation.loss),
            validation_accuracy: validation.and_then(|validation| validation.accuracy),
            validation_top5: validation.and_then(|validation| validation.top5),
            validation_rmse: validation.and_then(|validation| validation.rmse),
            test_loss: test.map(|test| test.loss),
            test_accuracy: test.and_then(|test| test.accuracy),
            test_top5: test.and_then(|test| test.top5),
            test_rmse: test.and_then(|test| test.rmse),
            blocks: metrics::factors(self.program),
        };
        ranks::agree(self.run.as_mut().map_or(Ok(()), |run| run.record(&record)))
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
        if self.folder.is_none() {
            self.good = Some((self.position.step, self.program.snapshot()));
        }
        ranks::agree(match &mut self.run {
            Some(run) => run.save(self.program, &self.position),
            None => Ok(()),
        })
    }

    fn finish(mut self, out: &mut dyn Reporter) -> Result<Outcome, Error> {
        let over = self.position.step >= self.end || self.is_exhausted();
        let interrupted = !over && self.asked_to_stop;
        self.save(out)?;
        if !interrupted {
            self.evaluate();
        }
        let outcome = Outcome {
            steps: self.position.step,
            loss: self.loss,
            validation: self.validation.filter(|_| !interrupted),
            test: self.test.filter(|_| !interrupted),
            train: None,
            stopped_early: self.is_exhausted().then_some(self.position.waited),
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
            None => Some(batch::evaluate(self.program, eval, &self.samples, &mut self.pool)),
        };
        Ok(Outcome {
            steps: self.position.step,
            loss: None,
            validation: self.validation,
            test: self.test,
            train,
            stopped_early: None,
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
        step.saturating_sub(1) / self.steps_per_epoch + 1
    }

    /// What happened after `step`, and where it began, or else what is seen `after` it.
    fn diverged(&mut self, what: String, after: &str, step: u64, out: &mut dyn Reporter) -> Error {
        // All ranks see the same losses and weights.
        ranks::end_jointly(0);
        let origin = self.origin(step, out).map_or(after.to_string(), |source| format!("; {source}"));
        let kept = match &self.run {
            Some(run) => format!("; {} keeps the last good state", run.path().display()),
            None => String::new(),
        };
        Error::new(what + &origin).with_help(format!("try a smaller learning rate (--lr){kept}"))
    }

    /// Goes on from the last good state to `step`, to see where it went wrong.
    fn origin(&mut self, step: u64, out: &mut dyn Reporter) -> Option<Source> {
        let first = match (&self.folder, &self.good) {
            (Some(folder), _) => run::read_state(folder, self.program).ok().map(|position| position.step),
            (None, Some((first, good))) => {
                self.program.restore(good);
                Some(*first)
            }
            (None, None) => None,
        };
        let first = if ranks::any(first.is_none()) { None } else { first }?;
        if step > first + 1 {
            out.warn(&format!("after step {step} not all numbers are finite; looking for the first of them from step {first} on"));
        }
        let batches = self.program.manifest().accumulate as u64;
        let (train, update, clock) = (self.train, self.update, &self.clock);
        let (mut maker, mut batch) = (self.maker.clone(), self.maker.empty());
        let parts = batches + u64::from(update.is_some());
        divergence::search(self.program, &mut self.pool, first..step, parts, |program, pool, step, part| {
            clock.set(program, pool, step);
            match update {
                Some(update) if part == batches => update,
                _ => {
                    let number = step * batches + part;
                    clock.set_number(program, number);
                    maker.make(number, &mut batch);
                    batch.place(program);
                    train
                }
            }
        })
    }
}

fn load_data(outline: &Outline, settings: &Settings) -> Result<Dataset, Error> {
    let Some(spec) = &settings.data else {
        let help = format!("give --data DATA, or `data = …` in the `train` item: {}", data::KINDS);
        return Err(Error::usage("no data to train on").with_help(help));
    };
    data::load(spec, &Wanted::by(outline))
}

/// What changes the training samples; images only can be changed.
fn augmenter(outline: &Outline, samples: &Samples, seed: u64) -> Result<Augmenter, Error> {
    let operations = outline.defaults.augment.clone();
    let shape = match *outline.input_shape.as_slice() {
        [channels, height, width] => [channels, height, width],
        _ if operations.is_empty() => [1, 1, samples.sample_size],
        _ => return Err(Error::new("only images of channels, height and width can be augmented")),
    };
    let black = (0..shape[0]).map(|channel| samples.black(channel)).collect();
    Ok(Augmenter::new(operations, shape, black, seed))
}

/// Whether the code is for as many ranks as there are.
fn check_ranks(ranks: Ranks) -> Result<(), Error> {
    let count = ranks::count();
    let (built, cure) = match ranks {
        Ranks::Alone if count > 1 => {
            ("one rank".to_string(), "build it with a blkc that has the feature `mpi`".into())
        }
        Ranks::Synchronized(built) if built != count => (
            format!("{built} ranks with synchronized statistics"),
            format!("start it by mpirun -n {built}, or build it anew"),
        ),
        _ => return Ok(()),
    };
    Err(Error::new(format!("this program was built for {built}, and started on {count}")).with_help(cure))
}

/// Weights stay the same on all ranks only where the same code computes their updates.
fn check_alike(manifest: &Manifest) -> Result<(), Error> {
    let text = format!("{} {:?} {}", manifest.spec_hash, manifest.target, manifest.arena_bytes);
    let mut crc = flate2::Crc::new();
    crc.update(text.as_bytes());
    let all = ranks::gather([f64::from(crc.sum())]);
    match all.iter().position(|one| *one != all[0]) {
        Some(rank) => {
            Err(Error::new(format!("ranks 0 and {rank} have different code, by program or processor"))
                .with_help("start the same program everywhere, compiled for one --target-cpu"))
        }
        None => Ok(()),
    }
}

/// The state of a new run: initial weights of the seed, everything else zero.
pub(crate) fn initialize(program: &mut Program, settings: &Settings, pool: &mut Pool) -> Result<(), Error> {
    program.clear();
    let [low, high] = program.scalars().seed;
    program.set_u32(low, settings.seed as u32);
    program.set_u32(high, (settings.seed >> 32) as u32);
    if let Some(share) = program.scalars().share {
        program.set_f64(share, 1.0 / ranks::count() as f64);
    }
    if let Some(first_sample) = program.scalars().first_sample {
        let first = ranks::rank() * program.manifest().batch;
        program.set_u32(first_sample, first as u32);
    }
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
