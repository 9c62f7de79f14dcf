//! The processes that train together: ranks, started by `mpirun`. Which one this is, what all of them add up or agree on,
//! and how they end together.
//!
//! Like the MPI that it stands for, this is one thing per process: [`join`] finds out, and everything else asks. A process
//! that was not started with others is the only rank; nothing here then costs or changes anything. All functions but those
//! that only ask are *collective*: every rank has to call them, in the same order.

#[cfg(feature = "mpi")]
mod mpi;

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crate::Error;
use crate::manifest::{Exchange, ExchangeOp};
use crate::memory::AlignedMemory;

/// What an implementation of MPI does for us.
struct Engine {
    sum_f32: fn(&mut [f32]),
    max_f32: fn(&mut [f32]),
    sum_f64: fn(&mut [f64]),
    leave: fn(),
    abort: fn(i32),
}

struct World {
    rank: usize,
    count: usize,
    engine: Option<Engine>,
}

static WORLD: OnceLock<World> = OnceLock::new();
static ALONE: World = World { rank: 0, count: 1, engine: None };
/// All ranks know of the error that ends this one.
static JOINT: AtomicBool = AtomicBool::new(false);
/// Another rank tells the user of it.
static TOLD_ELSEWHERE: AtomicBool = AtomicBool::new(false);
/// Counts up when the process begins to wait for the other ranks, and when it has heard of them: odd while it waits.
static WAITS: AtomicU64 = AtomicU64::new(0);

fn world() -> &'static World {
    WORLD.get().unwrap_or(&ALONE)
}

/// This process's number, from 0.
pub fn rank() -> usize {
    world().rank
}

/// How many processes train together.
pub fn count() -> usize {
    world().count
}

/// Whether this is the rank that writes and tells.
pub fn is_first() -> bool {
    rank() == 0
}

/// How many ranks the launcher says it has started, as Open MPI, and MPICH and its relatives do.
fn launched() -> Option<usize> {
    let said = |name: &str| std::env::var(name).ok()?.parse::<usize>().ok();
    ["OMPI_COMM_WORLD_SIZE", "PMI_SIZE"].into_iter().find_map(said)
}

/// Finds the other ranks, where the process was started with some. An error where it cannot speak to them.
pub fn join() -> Result<(), Error> {
    match launched() {
        Some(count) if count > 1 && WORLD.get().is_none() => start(count),
        _ => Ok(()),
    }
}

#[cfg(feature = "mpi")]
fn start(_launched: usize) -> Result<(), Error> {
    let (rank, count, engine) = mpi::join();
    let _ = WORLD.set(World { rank, count, engine: Some(engine) });
    Ok(())
}

#[cfg(not(feature = "mpi"))]
fn start(launched: usize) -> Result<(), Error> {
    Err(Error::new(format!(
        "started as one of {launched} ranks, but built without MPI: each would train on its own"
    ))
    .with_help(
        "build blkc with its feature `mpi` (cargo install --path . --features mpi), and native trainers with that blkc",
    ))
}

/// Refuses to do what one process does, where several were started.
pub fn refuse(what: &str) -> Result<(), Error> {
    match launched() {
        Some(count) if count > 1 => {
            Err(Error::usage(format!("`{what}` runs in one process, not in {count}"))
                .with_help("start it without mpirun"))
        }
        _ => Ok(()),
    }
}

/// Adds up over all ranks, entry by entry.
pub fn total(values: &mut [f64]) {
    if let Some(engine) = &world().engine {
        waiting(|| (engine.sum_f64)(values));
    }
}

/// Whether it holds on any rank.
pub fn any(holds: bool) -> bool {
    let mut holders = [f64::from(u8::from(holds))];
    total(&mut holders);
    holders[0] > 0.0
}

/// The values of all ranks, by rank.
pub fn gather<const N: usize>(values: [f64; N]) -> Vec<[f64; N]> {
    let mut all = vec![0.0; N * count()];
    all[N * rank()..][..N].copy_from_slice(&values);
    total(&mut all);
    all.chunks_exact(N).map(|chunk| std::array::from_fn(|index| chunk[index])).collect()
}

/// Goes on when all ranks can. Where some cannot, all end, and the first of them tells why.
pub fn agree<T>(result: Result<T, Error>) -> Result<T, Error> {
    if count() == 1 {
        return result;
    }
    let failed = gather([f64::from(u8::from(result.is_err()))]);
    let Some(teller) = failed.iter().position(|[failed]| *failed > 0.0) else { return result };
    end_jointly(teller);
    match result {
        Err(error) => Err(error),
        Ok(_) => Err(Error::new(format!("rank {teller} has failed"))),
    }
}

/// All ranks end by an error that all of them have met; `teller` tells it.
pub fn end_jointly(teller: usize) {
    JOINT.store(true, Ordering::Relaxed);
    TOLD_ELSEWHERE.store(rank() != teller, Ordering::Relaxed);
}

/// Whether the error by which this process ends is told by another one.
pub fn is_told_elsewhere() -> bool {
    TOLD_ELSEWHERE.load(Ordering::Relaxed)
}

/// The last call of a process: with all others where they end together, else it takes them along.
pub fn leave(status: u8) {
    let Some(engine) = &world().engine else { return };
    if status == 0 || status == crate::interrupt::EXIT_CODE || JOINT.load(Ordering::Relaxed) {
        (engine.leave)();
    } else {
        (engine.abort)(i32::from(status));
    }
}

/// While the process waits for other ranks: for the how manieth time.
pub(crate) fn waits() -> Option<u64> {
    Some(WAITS.load(Ordering::SeqCst)).filter(|number| !number.is_multiple_of(2))
}

fn waiting(exchange: impl FnOnce()) {
    WAITS.fetch_add(1, Ordering::SeqCst);
    exchange();
    WAITS.fetch_add(1, Ordering::SeqCst);
}

/// Buffers of so many floats are exchanged where they lie; smaller ones travel together.
const LARGE: usize = 1 << 16;

/// Exchanges buffers of a program's memory.
///
/// # Panics
/// When an exchange reaches outside of the memory.
pub(crate) fn exchange(exchanges: &[Exchange], arena: &mut AlignedMemory) {
    let Some(engine) = &world().engine else { return };
    for (op, reduce) in [(ExchangeOp::Sum, engine.sum_f32), (ExchangeOp::Max, engine.max_f32)] {
        let (large, small): (Vec<&Exchange>, Vec<&Exchange>) =
            exchanges.iter().filter(|exchange| exchange.op == op).partition(|exchange| exchange.len >= LARGE);
        for exchange in large {
            waiting(|| reduce(arena.floats_mut(exchange.offset, exchange.len)));
        }
        let mut together: Vec<f32> = Vec::new();
        for exchange in &small {
            together.extend_from_slice(arena.floats_mut(exchange.offset, exchange.len));
        }
        if together.is_empty() {
            continue;
        }
        waiting(|| reduce(&mut together));
        let mut rest = together.as_slice();
        for exchange in small {
            let (own, others) = rest.split_at(exchange.len);
            arena.floats_mut(exchange.offset, exchange.len).copy_from_slice(own);
            rest = others;
        }
    }
}
