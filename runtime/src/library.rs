//! The C interface of a compiled network (`blkc build --emit lib`): a trainer on the caller's buffers. What each
//! function does for its caller stands in `header.h`, which is written beside the library.
//!
//! Nothing here unwinds into the caller: the library is built with aborting panics, and every pointer, length and label
//! is checked as far as it can be.

use std::cell::RefCell;
use std::ffi::{CStr, CString, c_char, c_double, c_float, c_int, c_uint, c_void};
use std::ptr;
use std::sync::OnceLock;

use crate::clock::Clock;
use crate::features;
use crate::manifest::{Manifest, Outline, Path, Task, Tensor};
use crate::pool::Pool;
use crate::program::{EVAL, Program, RoutineId, TRAIN, UPDATE};
use crate::settings::Settings;
use crate::{Error, train};

/// A trainer that C holds.
pub struct Trainer {
    program: Program,
    pool: Pool,
    settings: Settings,
    steps_per_epoch: u64,
    /// None before `init`.
    clock: Option<Clock>,
    /// Batches since `init`.
    batches: u64,
}

/// What is computed of every sample.
struct Results<'a> {
    outputs: Option<&'a mut [f32]>,
    losses: Option<&'a mut [f32]>,
}

impl Trainer {
    /// With its initial weights still to be drawn. No threads stands for all of the machine.
    pub fn new(program: Program, threads: usize) -> Result<Self, Error> {
        let threads = if threads == 0 { Pool::available() } else { threads };
        let pool = Pool::new(threads, program.manifest().scratch_bytes)?;
        let settings =
            Settings::resolve(&Outline::from(program.manifest()), &crate::TrainOptions::default())?;
        Ok(Trainer { program, pool, settings, steps_per_epoch: 1, clock: None, batches: 0 })
    }

    /// Initial weights of the seed. The schedule runs over `epochs` of `steps_per_epoch`.
    pub fn init(&mut self, seed: u64, epochs: u32, steps_per_epoch: u64) -> Result<(), Error> {
        if epochs == 0 || steps_per_epoch == 0 {
            return Err(Error::new("epochs and steps_per_epoch are at least 1"));
        }
        (self.settings.seed, self.settings.epochs) = (seed, epochs);
        (self.steps_per_epoch, self.batches) = (steps_per_epoch, 0);
        train::initialize(&mut self.program, &self.settings, &mut self.pool)?;
        self.restart_clock();
        Ok(())
    }

    /// A number of the optimizer or the schedule.
    pub fn set(&mut self, name: &str, value: f64) -> Result<(), Error> {
        if !value.is_finite() {
            return Err(Error::new(format!("`{name}` is to be a finite number")));
        }
        self.settings.set(name, value)?;
        if self.clock.is_some() {
            self.restart_clock();
        }
        Ok(())
    }

    fn restart_clock(&mut self) {
        self.clock = Some(Clock::new(&mut self.program, &self.settings, self.steps_per_epoch));
    }

    /// The gradients of a whole batch, and an update when there are as many batches as it takes; returns the batch's mean
    /// loss before the update.
    pub fn step(&mut self, inputs: &[f32], targets: TargetsOf) -> Result<f32, Error> {
        let (train, update) = (self.program.required(TRAIN)?, self.program.routine(UPDATE));
        self.check_labels(&targets)?;
        let clock = self.clock.as_ref().ok_or_else(uninitialized)?;
        fill(&mut self.program, inputs, &targets);
        let per_step = self.program.manifest().accumulate as u64;
        let step = self.batches / per_step;
        clock.set(&mut self.program, &mut self.pool, step);
        clock.set_number(&mut self.program, self.batches);
        self.program.run(train, &mut self.pool);
        self.batches += 1;
        if let Some(update) = update.filter(|_| self.batches.is_multiple_of(per_step)) {
            clock.set_number(&mut self.program, step);
            self.program.run(update, &mut self.pool);
        }
        Ok(self.program.f32_at(self.program.scalars().loss))
    }

    /// Outputs and losses of up to a batch of samples, with the running statistics.
    fn eval(
        &mut self,
        inputs: &[f32],
        targets: TargetsOf,
        count: usize,
        results: Results,
    ) -> Result<(), Error> {
        let eval: RoutineId = self.program.required(EVAL)?;
        self.check_labels(&targets)?;
        self.clock.as_ref().ok_or_else(uninitialized)?;
        fill(&mut self.program, inputs, &targets);
        self.program.run(eval, &mut self.pool);
        let width = self.program.manifest().task.outputs();
        let scalars = self.program.scalars();
        if let Some(outputs) = results.outputs {
            outputs.copy_from_slice(self.program.floats(scalars.output, count * width));
        }
        if let Some(losses) = results.losses {
            losses.copy_from_slice(self.program.floats(scalars.sample_loss, count));
        }
        Ok(())
    }

    fn check_labels(&self, targets: &TargetsOf) -> Result<(), Error> {
        let (TargetsOf::Labels(labels), Task::Class { classes }) = (targets, self.program.manifest().task)
        else {
            return Ok(());
        };
        let fits = |label: i32| usize::try_from(label).is_ok_and(|label| label < classes);
        match labels.iter().position(|label| !fits(*label)) {
            Some(at) => {
                let label = labels[at];
                Err(Error::new(format!(
                    "sample {at} has label {label}, but the network has {classes} classes"
                )))
            }
            None => Ok(()),
        }
    }

    /// The tensor of that name, if it has `len` numbers.
    fn tensor(&self, name: &str, len: usize) -> Result<Tensor, Error> {
        let tensors = &self.program.manifest().tensors;
        let tensor = tensors.iter().find(|tensor| tensor.name == name);
        let tensor = tensor.ok_or_else(|| Error::new(format!("the network has no tensor `{name}`")))?;
        if tensor.len() != len {
            return Err(Error::new(format!("`{name}` has {} numbers, not {len}", tensor.len())));
        }
        Ok(tensor.clone())
    }
}

fn uninitialized() -> Error {
    Error::new("the trainer has no weights yet: call blk_init first")
}

/// Targets as the caller has them.
pub enum TargetsOf<'a> {
    Labels(&'a [i32]),
    Values(&'a [f32]),
    /// Only the outputs are wanted.
    None,
}

/// Places behind the samples keep what they had.
fn fill(program: &mut Program, inputs: &[f32], targets: &TargetsOf) {
    let (input, target) = (program.scalars().input, program.scalars().target);
    program.floats_mut(input, inputs.len()).copy_from_slice(inputs);
    match targets {
        TargetsOf::Labels(labels) => program.integers_mut(target, labels.len()).copy_from_slice(labels),
        TargetsOf::Values(values) => program.floats_mut(target, values.len()).copy_from_slice(values),
        TargetsOf::None => {}
    }
}

thread_local! {
    static LAST_ERROR: RefCell<CString> = RefCell::default();
}

/// 0, or -1 with the error kept for `blk_last_error`.
fn status(result: Result<(), Error>) -> c_int {
    match result {
        Ok(()) => 0,
        Err(error) => {
            let text = error.to_string().replace('\0', " ");
            LAST_ERROR.set(CString::new(text).unwrap_or_default());
            -1
        }
    }
}

fn absent(what: &str) -> Error {
    Error::new(format!("{what} is a null pointer"))
}

/// # Safety
/// As the header says of trainers.
unsafe fn trainer<'a>(trainer: *mut Trainer) -> Result<&'a mut Trainer, Error> {
    // SAFETY: the caller's promise.
    unsafe { trainer.as_mut() }.ok_or_else(|| absent("the trainer"))
}

/// # Safety
/// `start` is null or points to `len` numbers.
unsafe fn slice<'a, T>(start: *const T, len: usize, what: &str) -> Result<&'a [T], Error> {
    if start.is_null() {
        return Err(absent(what));
    }
    // SAFETY: the caller's promise.
    Ok(unsafe { std::slice::from_raw_parts(start, len) })
}

/// # Safety
/// `start` is null or points to `len` numbers.
unsafe fn slice_mut<'a, T>(start: *mut T, len: usize) -> Option<&'a mut [T]> {
    // SAFETY: the caller's promise.
    (!start.is_null()).then(|| unsafe { std::slice::from_raw_parts_mut(start, len) })
}

/// # Safety
/// `name` is null or a string.
unsafe fn text<'a>(name: *const c_char) -> Result<&'a str, Error> {
    if name.is_null() {
        return Err(absent("the name"));
    }
    // SAFETY: the caller's promise.
    unsafe { CStr::from_ptr(name) }.to_str().map_err(|_| Error::new("the name is not UTF-8"))
}

/// # Safety
/// `start` is null or points to the targets of `count` samples.
unsafe fn targets<'a>(task: Task, start: *const c_void, count: usize) -> Result<TargetsOf<'a>, Error> {
    // SAFETY: the caller's promise, here and below.
    Ok(match task {
        Task::Class { .. } => TargetsOf::Labels(unsafe { slice(start.cast(), count, "the target") }?),
        Task::Float { size } => {
            TargetsOf::Values(unsafe { slice(start.cast(), count * size, "the target") }?)
        }
    })
}

unsafe extern "C" {
    static blk_paths: *const Path;
    static blk_paths_len: u64;
}

/// Of the codes that the compiler has written the first that this machine can run; the last where it can run none,
/// which then says what is missing.
fn path() -> &'static Path {
    static CHOSEN: OnceLock<usize> = OnceLock::new();
    // SAFETY: the compiler writes these symbols together: so many pointers (at least one) to what lives for ever.
    let paths = unsafe { std::slice::from_raw_parts(&raw const blk_paths, blk_paths_len as usize) };
    // SAFETY: as above.
    let at = |index: usize| -> &'static Path { unsafe { &*paths[index] } };
    let runs = |index: &usize| features::missing(needed_by(at(*index))).is_empty();
    at(*CHOSEN.get_or_init(|| (0..paths.len()).find(runs).unwrap_or(paths.len() - 1)))
}

/// The names of features.
fn needed_by(path: &'static Path) -> impl Iterator<Item = &'static str> {
    // SAFETY: the compiler writes the text with its length.
    let bytes = unsafe { std::slice::from_raw_parts(path.features, path.features_len as usize) };
    std::str::from_utf8(bytes).unwrap_or_default().split(',').filter(|name| !name.is_empty())
}

pub(crate) fn manifest_bytes() -> &'static [u8] {
    let path = path();
    // SAFETY: the compiler writes the manifest with its length.
    unsafe { std::slice::from_raw_parts(path.manifest, path.manifest_len as usize) }
}

/// The program that this library was linked with.
pub(crate) fn linked(manifest: Manifest) -> Result<Program, Error> {
    let count = manifest.routines.len();
    // SAFETY: one entry for every routine of the manifest, compiled with it.
    unsafe { Program::from_entries(manifest, std::slice::from_raw_parts(path().entries, count)) }
}

#[unsafe(no_mangle)]
pub extern "C" fn blk_manifest_json() -> *const c_char {
    static TEXT: OnceLock<CString> = OnceLock::new();
    TEXT.get_or_init(|| CString::new(manifest_bytes()).unwrap_or_default()).as_ptr()
}

#[unsafe(no_mangle)]
pub extern "C" fn blk_last_error() -> *const c_char {
    LAST_ERROR.with_borrow(|text| text.as_ptr())
}

#[unsafe(no_mangle)]
pub extern "C" fn blk_create(threads: c_uint) -> *mut Trainer {
    let made = Manifest::parse(manifest_bytes()).and_then(linked);
    match made.and_then(|program| Trainer::new(program, threads as usize)) {
        Ok(trainer) => Box::into_raw(Box::new(trainer)),
        Err(error) => {
            status(Err(error));
            ptr::null_mut()
        }
    }
}

/// # Safety
/// As in the header, here and below.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn blk_destroy(trainer: *mut Trainer) {
    if !trainer.is_null() {
        // SAFETY: made by `blk_create`, given back once.
        drop(unsafe { Box::from_raw(trainer) });
    }
}

/// # Safety
/// As in the header.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn blk_init(
    this: *mut Trainer,
    seed: u64,
    epochs: c_uint,
    steps_per_epoch: u64,
) -> c_int {
    // SAFETY: the caller's promise.
    status(unsafe { trainer(this) }.and_then(|trainer| trainer.init(seed, epochs, steps_per_epoch)))
}

/// # Safety
/// As in the header.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn blk_set(this: *mut Trainer, name: *const c_char, value: c_double) -> c_int {
    // SAFETY: the caller's promise.
    let set = || unsafe { trainer(this)?.set(text(name)?, value) };
    status(set())
}

/// # Safety
/// As in the header.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn blk_step(
    this: *mut Trainer,
    input: *const c_float,
    target: *const c_void,
    loss: *mut c_float,
) -> c_int {
    let step = || -> Result<(), Error> {
        // SAFETY: the caller's promise.
        let trainer = unsafe { trainer(this) }?;
        let Manifest { batch, task, .. } = *trainer.program.manifest();
        let size = batch * trainer.program.manifest().sample_size();
        // SAFETY: the caller's promise.
        let (inputs, targets) = unsafe { (slice(input, size, "the input")?, targets(task, target, batch)?) };
        let mean = trainer.step(inputs, targets)?;
        // SAFETY: the caller's promise.
        if let Some(loss) = unsafe { loss.as_mut() } {
            *loss = mean;
        }
        Ok(())
    };
    status(step())
}

/// # Safety
/// As in the header.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn blk_eval(
    this: *mut Trainer,
    input: *const c_float,
    target: *const c_void,
    count: c_uint,
    output: *mut c_float,
    losses: *mut c_float,
) -> c_int {
    let eval = || -> Result<(), Error> {
        // SAFETY: the caller's promise.
        let trainer = unsafe { trainer(this) }?;
        let Manifest { batch, task, .. } = *trainer.program.manifest();
        let (count, size) = (count as usize, trainer.program.manifest().sample_size());
        if count > batch {
            return Err(Error::new(format!("{count} samples are more than the batch of {batch}")));
        }
        if target.is_null() && !losses.is_null() {
            return Err(Error::new("losses need targets"));
        }
        // SAFETY: the caller's promise, here and below.
        let targets = match target.is_null() {
            true => TargetsOf::None,
            false => unsafe { targets(task, target, count) }?,
        };
        let results = Results {
            outputs: unsafe { slice_mut(output, count * task.outputs()) },
            losses: unsafe { slice_mut(losses, count) },
        };
        trainer.eval(unsafe { slice(input, count * size, "the input") }?, targets, count, results)
    };
    status(eval())
}

/// # Safety
/// As in the header.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn blk_read(
    this: *mut Trainer,
    name: *const c_char,
    values: *mut c_float,
    len: usize,
) -> c_int {
    let read = || -> Result<(), Error> {
        // SAFETY: the caller's promise.
        let (trainer, name) = unsafe { (trainer(this)?, text(name)?) };
        let tensor = trainer.tensor(name, len)?;
        // SAFETY: the caller's promise.
        let values = unsafe { slice_mut(values, len) }.ok_or_else(|| absent("the buffer"))?;
        values.copy_from_slice(&trainer.program.tensor(&tensor));
        Ok(())
    };
    status(read())
}

/// # Safety
/// As in the header.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn blk_write(
    this: *mut Trainer,
    name: *const c_char,
    values: *const c_float,
    len: usize,
) -> c_int {
    let write = || -> Result<(), Error> {
        // SAFETY: the caller's promise.
        let (trainer, name) = unsafe { (trainer(this)?, text(name)?) };
        let tensor = trainer.tensor(name, len)?;
        // SAFETY: the caller's promise.
        let values = unsafe { slice(values, len, "the buffer") }?;
        trainer.program.set_tensor(&tensor, values);
        Ok(())
    };
    status(write())
}
