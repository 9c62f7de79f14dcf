//! Why tensors that do not fit a second-level cache are walked in whole rows: y = 2x + 1, one thread, row by row, and in strips of
//! so many neighbours of every row, as tasks would that own a few channels. Of every size there are so many tensors that a
//! third-level cache or memory holds them.
//!
//! `cargo bench --bench strips`

use std::hint::black_box;
use std::time::Instant;

/// Entries of all tensors together, of x and of y.
const ENTRIES: usize = 1 << 24;
/// Entries of a row: channels at one position.
const ROW: usize = 256;
const RUNS: usize = 5;
/// Bytes of one tensor.
const SIZES: [usize; 4] = [1 << 20, 1 << 21, 1 << 22, 1 << 26];

fn main() {
    let x: Vec<f32> = (0..ENTRIES).map(|entry| entry as f32).collect();
    let mut y = vec![0f32; ENTRIES];
    for size in SIZES {
        println!("tensors of {} MiB", size >> 20);
        for strip in [16, 32, 64, 128, ROW] {
            let seconds = (0..RUNS).map(|_| timed(&x, &mut y, size, strip)).fold(f64::INFINITY, f64::min);
            let bytes = 2 * ENTRIES * size_of::<f32>();
            println!("{strip:4} of {ROW} neighbours at a time: {:5.1} GB/s", bytes as f64 / seconds / 1e9);
        }
    }
}

/// Seconds of one pass over all strips of every tensor of so many bytes.
fn timed(x: &[f32], y: &mut [f32], size: usize, strip: usize) -> f64 {
    let start = Instant::now();
    let entries = size / size_of::<f32>();
    for (from, to) in x.chunks_exact(entries).zip(y.chunks_exact_mut(entries)) {
        (0..ROW).step_by(strip).for_each(|first| walk(from, to, first..first + strip));
    }
    black_box(&mut *y);
    start.elapsed().as_secs_f64()
}

/// One strip of every row.
fn walk(x: &[f32], y: &mut [f32], strip: std::ops::Range<usize>) {
    for (from, to) in x.chunks_exact(ROW).zip(y.chunks_exact_mut(ROW)) {
        let (from, to) = (&from[strip.clone()], &mut to[strip.clone()]);
        to.iter_mut().zip(from).for_each(|(to, from)| *to = 2.0 * from + 1.0);
    }
}
