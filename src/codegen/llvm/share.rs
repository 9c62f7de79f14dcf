//! How pieces are shared among the threads that compile them.

use std::sync::Mutex;

use crate::codegen::pieces::{Piece, Pieces};
use crate::loops::Stmt;

/// Work below which a module of its own does not pay.
const LEAST: usize = 1250;
/// Modules per thread at most: enough to even out what the estimate gets wrong. They share kernels, so that many cost little.
const PER_THREAD: usize = 4;
/// A matrix product, in instructions of a nest. Its packing and its kernel are shared with others.
const PRODUCT: usize = 250;
/// What a piece costs besides its instructions.
const OVERHEAD: usize = 20;

/// The pieces' numbers, cut into shares of about equal work. Products come first, so that those which use the same
/// kernels meet.
pub fn shares(pieces: &Pieces, threads: usize) -> Vec<Vec<usize>> {
    let mut order: Vec<usize> = (0..pieces.list.len()).collect();
    order.sort_by_key(|&number| !matches!(pieces.list[number].stmt, Stmt::Gemm(_)));
    let total: usize = pieces.list.iter().map(work).sum();
    let count = if threads <= 1 { 1 } else { (total / LEAST).clamp(1, threads * PER_THREAD) };
    let mut shares = vec![Vec::new(); count];
    let mut done = 0;
    for number in order {
        shares[(done * count / total.max(1)).min(count - 1)].push(number);
        done += work(&pieces.list[number]);
    }
    shares.retain(|share| !share.is_empty());
    shares
}

/// Time to compile, in about the time of one instruction.
fn work(piece: &Piece) -> usize {
    OVERHEAD
        + match &piece.stmt {
            // Each instruction is emitted for full steps of vectors and for the rest.
            Stmt::Nest(nest) => {
                3 * (nest.body.insts.len() + nest.body.stores.len()) + nest.finish.insts.len()
            }
            Stmt::Gemm(gemm) => PRODUCT + 3 * gemm.epilogue.insts.len(),
            Stmt::Orthonormalize { .. } => PRODUCT,
        }
}

/// Calls `run` with every share, on so many threads, and returns the results in the order of the shares.
pub fn on_threads<T: Send>(
    threads: usize,
    shares: Vec<Vec<usize>>,
    run: impl Fn(Vec<usize>) -> T + Sync,
) -> Vec<T> {
    let count = shares.len();
    let queue = Mutex::new(shares.into_iter().enumerate());
    let next = || queue.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).next();
    let work = || {
        let mut done = Vec::new();
        while let Some((place, share)) = next() {
            done.push((place, run(share)));
        }
        done
    };
    let mut results = std::thread::scope(|scope| {
        let others: Vec<_> = (1..threads.min(count)).map(|_| scope.spawn(work)).collect();
        let mut results = work();
        for other in others {
            results.extend(other.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
        }
        results
    });
    results.sort_by_key(|(place, _)| *place);
    results.into_iter().map(|(_, result)| result).collect()
}
