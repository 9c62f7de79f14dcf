//! Why tensors that do not fit a cache are walked in whole rows: y = 2x + 1 over 64 MiB each, one thread, row by row, and in strips
//! of so many neighbours of every row, as tasks would that own a few channels.
//!
//! `cargo bench --bench strips`

use std::hint::black_box;
use std::time::Instant;

/// Entries of a tensor.
const ENTRIES: usize = 1 << 24;
/// Entries of a row: channels at one position.
const ROW: usize = 256;
const RUNS: usize = 5;

fn main() {
    let x: Vec<f32> = (0..ENTRIES).map(|entry| entry as f32).collect();
    let mut y = vec![0f32; ENTRIES];
    for strip in [16, 32, 64, 128, ROW] {
        let seconds = (0..RUNS).map(|_| timed(&x, &mut y, strip)).fold(f64::INFINITY, f64::min);
        let bytes = 2 * ENTRIES * size_of::<f32>();
        println!("{strip:4} of {ROW} neighbours at a time: {:5.1} GB/s", bytes as f64 / seconds / 1e9);
    }
}

/// Seconds of one pass over all strips.
fn timed(x: &[f32], y: &mut [f32], strip: usize) -> f64 {
    let start = Instant::now();
    for first in (0..ROW).step_by(strip) {
        for (from, to) in x.chunks_exact(ROW).zip(y.chunks_exact_mut(ROW)) {
            let (from, to) = (&from[first..first + strip], &mut to[first..first + strip]);
            to.iter_mut().zip(from).for_each(|(to, from)| *to = 2.0 * from + 1.0);
        }
    }
    black_box(&mut *y);
    start.elapsed().as_secs_f64()
}
