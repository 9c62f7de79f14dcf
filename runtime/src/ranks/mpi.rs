//! The binding to MPI: `mpi.c`, compiled with the implementation that this machine has.

use super::Engine;

unsafe extern "C" {
    fn blk_mpi_join(rank: *mut i32, count: *mut i32);
    fn blk_mpi_sum_f32(values: *mut f32, count: usize);
    fn blk_mpi_max_f32(values: *mut f32, count: usize);
    fn blk_mpi_sum_f64(values: *mut f64, count: usize);
    fn blk_mpi_leave();
    fn blk_mpi_abort(status: i32);
}

/// Starts MPI; this process's rank, how many there are, and the way to talk to them.
pub(super) fn join() -> (usize, usize, Engine) {
    let (mut rank, mut count) = (0, 0);
    // SAFETY: both places live through the call. It is made once, by the main thread.
    unsafe { blk_mpi_join(&mut rank, &mut count) };
    // SAFETY (of all): slices are valid places, and the functions that `Engine` holds are called after `join` only.
    let engine = Engine {
        sum_f32: |values| unsafe { blk_mpi_sum_f32(values.as_mut_ptr(), values.len()) },
        max_f32: |values| unsafe { blk_mpi_max_f32(values.as_mut_ptr(), values.len()) },
        sum_f64: |values| unsafe { blk_mpi_sum_f64(values.as_mut_ptr(), values.len()) },
        leave: || unsafe { blk_mpi_leave() },
        abort: |status| unsafe { blk_mpi_abort(status) },
    };
    (rank as usize, count as usize, engine)
}
