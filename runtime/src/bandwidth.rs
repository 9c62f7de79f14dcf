//! How fast memory is: what a step that computes little waits for.

use std::hint::black_box;
use std::sync::Barrier;
use std::time::Instant;

use crate::Error;
use crate::memory::{AlignedMemory, PAGE};

/// Bytes of each of a thread's two pieces of memory: together far more than its share of any cache.
const BYTES: usize = 64 << 20;
/// Rounds, of which the fastest counts.
const ROUNDS: usize = 4;

/// Billions of bytes per second, all threads together.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bandwidth {
    /// Read and written bytes of a copy.
    pub copy: f64,
    pub read: f64,
}

/// Measures with `threads` threads at once.
pub fn measure(threads: usize) -> Result<Bandwidth, Error> {
    let mut memory = Vec::new();
    for _ in 0..threads {
        memory.push((filled()?, filled()?));
    }
    let per_second = |bytes: usize, seconds: f64| (bytes * threads) as f64 / seconds / 1e9;
    let copy = fastest(&mut memory, |(from, to)| to.bytes_mut().copy_from_slice(from.bytes()));
    let read = fastest(&mut memory, |(from, _)| {
        black_box(sum(from.bytes()));
    });
    Ok(Bandwidth { copy: per_second(2 * BYTES, copy), read: per_second(BYTES, read) })
}

/// Written once, so that there are pages behind it.
fn filled() -> Result<AlignedMemory, Error> {
    let mut memory = AlignedMemory::zeroed(BYTES, PAGE)?;
    memory.bytes_mut().fill(1);
    Ok(memory)
}

/// Adds words in several chains, so that loads, not additions, are waited for.
fn sum(bytes: &[u8]) -> u64 {
    const CHAINS: usize = 32;
    // SAFETY: every bit pattern is a number.
    let (_, words, _) = unsafe { bytes.align_to::<u64>() };
    let mut sums = [0u64; CHAINS];
    for line in words.chunks_exact(CHAINS) {
        for (sum, word) in sums.iter_mut().zip(line) {
            *sum = sum.wrapping_add(*word);
        }
    }
    sums.iter().fold(0, |all, sum| all.wrapping_add(*sum))
}

/// Seconds of the slowest thread in the fastest round.
fn fastest<T: Send>(memory: &mut [T], work: impl Fn(&mut T) + Sync) -> f64 {
    (0..ROUNDS).map(|_| slowest(memory.iter_mut(), &work)).fold(f64::INFINITY, f64::min)
}

/// Seconds of the slowest of so many threads, one for each piece of work, that begin together.
pub(crate) fn slowest<T: Send>(pieces: impl ExactSizeIterator<Item = T>, work: &(impl Fn(T) + Sync)) -> f64 {
    let start = Barrier::new(pieces.len());
    let timed = |piece: T| {
        start.wait();
        let began = Instant::now();
        work(piece);
        began.elapsed().as_secs_f64()
    };
    let timed = &timed;
    std::thread::scope(|scope| {
        let threads: Vec<_> = pieces.map(|piece| scope.spawn(move || timed(piece))).collect();
        threads.into_iter().filter_map(|thread| thread.join().ok()).fold(1e-9, f64::max)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_a_plausible_rate() {
        let Bandwidth { copy, read } = measure(1).unwrap();
        assert!((0.05..5_000.0).contains(&copy) && (0.05..5_000.0).contains(&read), "{copy} {read}");
    }
}
