//! The threads that run levels of tasks.
//!
//! A job is a routine's function and a range of task numbers. All threads, the caller among them, claim chunks of the range
//! from one atomic *ticket* (generation of the job, next task), so that a thread that the system has taken away costs
//! only the chunk that it holds, and nobody waits for a thread that never came. What a task computes does not depend
//! on who claims it: results are the same for any number of threads.

use std::ptr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::thread::{self, JoinHandle, Thread};

use crate::Error;
use crate::manifest::{NOTE_BYTES, RoutineFn, wipe_note};
use crate::memory::{AlignedMemory, CACHE_LINE};
use crate::subnormal::Flushed;

/// Rounds of `spin_loop` before a waiting thread gives its core away, then yields before an idle worker sleeps.
const SPINS: u32 = 2_000;
const YIELDS: u32 = 200;

/// The next task of a job that no thread may join any more.
const CLOSED: u32 = u32::MAX;

/// A range of tasks of one function over one arena.
#[derive(Clone, Copy)]
pub struct Job {
    pub function: RoutineFn,
    pub base: *mut u8,
    pub first: u32,
    pub tasks: u32,
}

/// Threads that wait for jobs; dropped, it ends them.
pub struct Pool {
    shared: Arc<Shared>,
    workers: Vec<JoinHandle<()>>,
    handles: Vec<Thread>,
    scratch: AlignedMemory,
}

/// Two cache lines that are written by different threads do not share one.
#[repr(align(128))]
struct Line<T>(T);

struct Shared {
    /// Generation of the job (high half) and the next task to claim, counted from the job's first (low half).
    ticket: Line<AtomicU64>,
    /// Tasks that are not yet done.
    remaining: Line<AtomicU32>,
    // The job; written only while no task is unclaimed or running.
    function: AtomicPtr<()>,
    base: AtomicPtr<u8>,
    first: AtomicU32,
    tasks: AtomicU32,
    // Workers that sleep.
    sleepers: Line<AtomicUsize>,
    asleep: Vec<AtomicBool>,
    stop: AtomicBool,
    threads: u32,
}

impl Pool {
    /// A pool of `threads` threads, the caller being one, each with `scratch_bytes` of scratch, or what a note takes if that is more.
    pub fn new(threads: usize, scratch_bytes: usize) -> Result<Self, Error> {
        let scratch_bytes = scratch_bytes.max(NOTE_BYTES);
        let threads = threads.clamp(1, 1024);
        let shared = Arc::new(Shared::new(threads));
        let mut workers = Vec::new();
        for index in 0..threads - 1 {
            let scratch = AlignedMemory::zeroed(scratch_bytes, CACHE_LINE)?;
            let shared = Arc::clone(&shared);
            let worker = thread::Builder::new()
                .name(format!("blk-{}", index + 1))
                .spawn(move || shared.work(index, &scratch))
                .map_err(|cause| Error::new(format!("cannot start {threads} threads: {cause}")))?;
            workers.push(worker);
        }
        let handles = workers.iter().map(|worker| worker.thread().clone()).collect();
        Ok(Pool { shared, workers, handles, scratch: AlignedMemory::zeroed(scratch_bytes, CACHE_LINE)? })
    }

    /// Threads of this machine that the process may use.
    pub fn available() -> usize {
        thread::available_parallelism().map_or(1, |threads| threads.get())
    }

    /// As many threads as are asked for, else those of this machine.
    pub fn count(asked: Option<usize>) -> Result<usize, Error> {
        match asked {
            Some(0) => Err(Error::usage("--threads 0: at least one thread is needed")),
            Some(threads) => Ok(threads),
            None => Ok(Pool::available()),
        }
    }

    pub fn threads(&self) -> usize {
        self.workers.len() + 1
    }

    /// Bytes of scratch of all threads together.
    pub fn scratch_bytes(&self) -> usize {
        self.scratch.size() * self.threads()
    }

    /// Runs the tasks, which are of one level, in order on the calling thread.
    ///
    /// # Safety
    /// The function must be sound on this arena and a scratch of this pool's size, for each of these tasks.
    pub unsafe fn run_serial(&mut self, job: Job) {
        let scratch = self.scratch.as_ptr();
        // SAFETY: it is the calling thread's.
        let _flushed = unsafe { begin(scratch) };
        for task in job.first..job.first + job.tasks {
            // SAFETY: promised by the caller.
            unsafe { (job.function)(job.base, task, scratch) };
        }
    }

    /// Runs the tasks, which are of one level, on all threads, in no particular order, and returns when all are done.
    ///
    /// # Safety
    /// As [`Pool::run_serial`]; and the tasks must be free of data races against each other.
    pub unsafe fn run(&mut self, job: Job) {
        if self.workers.is_empty() || job.tasks <= 1 {
            // SAFETY: promised by the caller.
            return unsafe { self.run_serial(job) };
        }
        let generation = self.shared.publish(job);
        self.wake();
        self.shared.claim_all(generation, self.scratch.as_ptr());
        self.shared.wait_until_done();
    }

    fn wake(&self) {
        if self.shared.sleepers.0.load(Ordering::SeqCst) == 0 {
            return;
        }
        for (asleep, thread) in self.shared.asleep.iter().zip(&self.handles) {
            if asleep.load(Ordering::SeqCst) {
                thread.unpark();
            }
        }
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::SeqCst);
        for thread in &self.handles {
            thread.unpark();
        }
        for worker in self.workers.drain(..) {
            // A worker runs nothing that can panic.
            let _ = worker.join();
        }
    }
}

/// What a thread does before its tasks of a job: it forgets what those of the last one have left packed, and takes subnormal numbers
/// for zero until the result is dropped.
///
/// # Safety
/// The scratch is one of a pool, and this thread's.
unsafe fn begin(scratch: *mut u8) -> Flushed {
    // SAFETY: a pool's scratch has room for a note.
    unsafe { wipe_note(scratch) };
    Flushed::new()
}

fn pack(generation: u32, next: u32) -> u64 {
    u64::from(generation) << 32 | u64::from(next)
}

fn unpack(ticket: u64) -> (u32, u32) {
    ((ticket >> 32) as u32, ticket as u32)
}

impl Shared {
    fn new(threads: usize) -> Self {
        Shared {
            ticket: Line(AtomicU64::new(0)),
            remaining: Line(AtomicU32::new(0)),
            function: AtomicPtr::new(ptr::null_mut()),
            base: AtomicPtr::new(ptr::null_mut()),
            first: AtomicU32::new(0),
            tasks: AtomicU32::new(0),
            sleepers: Line(AtomicUsize::new(0)),
            asleep: (1..threads).map(|_| AtomicBool::new(false)).collect(),
            stop: AtomicBool::new(false),
            threads: threads as u32,
        }
    }

    /// Opens a job. Called only when the one before is done.
    fn publish(&self, job: Job) -> u32 {
        // A worker may come late to that one. It must not take the new number of tasks for the old one's: the old ticket is
        // closed first, and who reads a new field then fails to claim with it.
        let last = unpack(self.ticket.0.load(Ordering::Relaxed)).0;
        self.ticket.0.store(pack(last, CLOSED), Ordering::Relaxed);
        self.function.store(job.function as *mut (), Ordering::Release);
        self.base.store(job.base, Ordering::Release);
        self.first.store(job.first, Ordering::Release);
        self.tasks.store(job.tasks, Ordering::Release);
        self.remaining.0.store(job.tasks, Ordering::Relaxed);
        let generation = last.wrapping_add(1);
        self.ticket.0.store(pack(generation, 0), Ordering::SeqCst);
        generation
    }

    /// Claims and runs chunks of job `generation` until none is left. Subnormal numbers count as zero in all tasks.
    fn claim_all(&self, generation: u32, scratch: *mut u8) {
        // SAFETY: it is this thread's.
        let _flushed = unsafe { begin(scratch) };
        let mut ticket = self.ticket.0.load(Ordering::Acquire);
        loop {
            let (current, next) = unpack(ticket);
            // Read before the claim and used after it: a claim that succeeds proves that the job was still open, and
            // an open job's fields do not change.
            let tasks = self.tasks.load(Ordering::Acquire);
            if current != generation || next >= tasks {
                return;
            }
            let (function, base) = (self.function.load(Ordering::Acquire), self.base.load(Ordering::Acquire));
            let first = self.first.load(Ordering::Acquire);
            let chunk = ((tasks - next) / (2 * self.threads)).max(1);
            let claimed = pack(generation, next + chunk);
            match self.ticket.0.compare_exchange_weak(ticket, claimed, Ordering::AcqRel, Ordering::Acquire) {
                Err(newer) => ticket = newer,
                Ok(_) => {
                    // SAFETY: the pointer was made from a `RoutineFn` in `publish`.
                    let function = unsafe { std::mem::transmute::<*mut (), RoutineFn>(function) };
                    for task in first + next..first + next + chunk {
                        // SAFETY: promised by the caller of `Pool::run`.
                        unsafe { function(base, task, scratch) };
                    }
                    self.remaining.0.fetch_sub(chunk, Ordering::Release);
                    ticket = self.ticket.0.load(Ordering::Acquire);
                }
            }
        }
    }

    /// Waits for the chunks that other threads hold, giving the core away when that takes long.
    fn wait_until_done(&self) {
        let mut spins = 0;
        while self.remaining.0.load(Ordering::Acquire) != 0 {
            spins += 1;
            if spins < SPINS { std::hint::spin_loop() } else { thread::yield_now() }
        }
    }

    fn work(&self, index: usize, scratch: &AlignedMemory) {
        let mut seen = 0;
        while let Some(generation) = self.wait_for_job(index, seen) {
            self.claim_all(generation, scratch.as_ptr());
            seen = generation;
        }
    }

    /// The generation of a job newer than `seen`; `None` when the pool ends.
    fn wait_for_job(&self, index: usize, seen: u32) -> Option<u32> {
        for round in 0..SPINS + YIELDS {
            if let Some(generation) = self.newer(seen) {
                return Some(generation);
            }
            if round < SPINS { std::hint::spin_loop() } else { thread::yield_now() }
        }
        self.sleepers.0.fetch_add(1, Ordering::SeqCst);
        self.asleep[index].store(true, Ordering::SeqCst);
        // The caller publishes before it looks for sleepers, and a sleeper says so before it looks for a job: one of
        // the two sees the other.
        let generation = loop {
            if self.stop.load(Ordering::SeqCst) {
                break None;
            }
            if let Some(generation) = self.newer(seen) {
                break Some(generation);
            }
            thread::park();
        };
        self.asleep[index].store(false, Ordering::SeqCst);
        self.sleepers.0.fetch_sub(1, Ordering::SeqCst);
        generation
    }

    fn newer(&self, seen: u32) -> Option<u32> {
        let generation = unpack(self.ticket.0.load(Ordering::SeqCst)).0;
        (generation != seen).then_some(generation)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Adds one to counter `task` of the arena, and proves that the scratch is private.
    unsafe extern "C" fn count(base: *mut u8, task: u32, scratch: *mut u8) {
        unsafe {
            let counter = base.cast::<u32>().add(task as usize);
            let private = scratch.cast::<u32>();
            private.write_volatile(task);
            counter.write(counter.read() + 1);
            assert_eq!(private.read_volatile(), task);
        }
    }

    fn counts(threads: usize, tasks: u32, rounds: usize) -> Vec<u32> {
        let mut pool = Pool::new(threads, 256).unwrap();
        let mut counters = vec![0u32; tasks as usize];
        let job = Job { function: count, base: counters.as_mut_ptr().cast(), first: 0, tasks };
        for _ in 0..rounds {
            // SAFETY: every task touches its own counter.
            unsafe { pool.run(job) };
        }
        counters
    }

    #[test]
    fn runs_every_task_once() {
        for threads in [1, 2, 3, 8] {
            for tasks in [0, 1, 2, 7, 100] {
                assert_eq!(counts(threads, tasks, 300), vec![300; tasks as usize], "{threads} threads");
            }
        }
    }

    #[test]
    fn jobs_of_different_sizes_follow_each_other() {
        // A thread that comes late to a short job must not take tasks of the long one behind it.
        let mut pool = Pool::new(4, 64).unwrap();
        let mut counters = [vec![0u32; 2], vec![0u32; 40]];
        let rounds = 200_000;
        for _ in 0..rounds {
            for counters in &mut counters {
                let tasks = counters.len() as u32;
                let job = Job { function: count, base: counters.as_mut_ptr().cast(), first: 0, tasks };
                // SAFETY: every task touches its own counter.
                unsafe { pool.run(job) };
            }
        }
        assert_eq!(counters, [vec![rounds; 2], vec![rounds; 40]]);
    }

    /// Adds one to the arena's counter if the thread has noted nothing, and makes a note.
    unsafe extern "C" fn note(base: *mut u8, _task: u32, scratch: *mut u8) {
        // SAFETY: the arena is a counter that all threads add to.
        unsafe {
            let note = scratch.cast::<u64>();
            (*base.cast::<AtomicU32>()).fetch_add(u32::from(note.read() == 0), Ordering::Relaxed);
            note.write(1);
        }
    }

    #[test]
    fn a_thread_forgets_its_note_before_every_job() {
        for threads in [1, 3] {
            let mut pool = Pool::new(threads, 0).unwrap();
            let fresh = AtomicU32::new(0);
            let job = Job { function: note, base: (&raw const fresh).cast_mut().cast(), first: 0, tasks: 50 };
            for _ in 0..100 {
                // SAFETY: tasks share an atomic number.
                unsafe { pool.run(job) };
            }
            let fresh = fresh.into_inner();
            assert!((100..=100 * threads as u32).contains(&fresh), "{fresh} of {threads} threads");
        }
    }

    /// Halves number `task`.
    unsafe extern "C" fn halve(base: *mut u8, task: u32, _scratch: *mut u8) {
        unsafe {
            let number = base.cast::<f32>().add(task as usize);
            number.write(std::hint::black_box(number.read()) * 0.5);
        }
    }

    #[test]
    fn subnormal_numbers_count_as_zero_on_every_thread() {
        if !cfg!(any(target_arch = "x86_64", target_arch = "aarch64")) {
            return;
        }
        for threads in [1, 4] {
            let mut pool = Pool::new(threads, 64).unwrap();
            let mut numbers = vec![f32::MIN_POSITIVE; 400];
            let job = Job { function: halve, base: numbers.as_mut_ptr().cast(), first: 0, tasks: 400 };
            // SAFETY: every task touches its own number.
            unsafe { pool.run(job) };
            assert!(numbers.iter().all(|number| number.to_bits() == 0), "{threads} threads");
        }
    }

    #[test]
    fn wakes_threads_that_sleep() {
        let mut pool = Pool::new(3, 64).unwrap();
        let mut counters = vec![0u32; 64];
        for _ in 0..3 {
            thread::sleep(std::time::Duration::from_millis(20));
            let job = Job { function: count, base: counters.as_mut_ptr().cast(), first: 32, tasks: 32 };
            // SAFETY: every task touches its own counter.
            unsafe { pool.run(job) };
        }
        assert_eq!(counters[..32], [0; 32]);
        assert_eq!(counters[32..], [3; 32]);
    }
}
