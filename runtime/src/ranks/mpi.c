/* What the runtime asks of MPI, compiled by the implementation's own `mpicc`: handles and constants differ between
   implementations, these functions do not. An error inside MPI ends all ranks with MPI's message, as is its default. */

#include <mpi.h>
#include <stddef.h>

/* Counts of MPI are ints. */
#define PIECE ((size_t)1 << 28)

void blk_mpi_join(int *rank, int *count) {
    int provided;
    MPI_Init_thread(NULL, NULL, MPI_THREAD_FUNNELED, &provided);
    MPI_Comm_rank(MPI_COMM_WORLD, rank);
    MPI_Comm_size(MPI_COMM_WORLD, count);
}

static void reduce(char *values, size_t count, size_t width, MPI_Datatype type, MPI_Op op) {
    while (count > 0) {
        size_t piece = count < PIECE ? count : PIECE;
        MPI_Allreduce(MPI_IN_PLACE, values, (int)piece, type, op, MPI_COMM_WORLD);
        values += piece * width;
        count -= piece;
    }
}

void blk_mpi_sum_f32(float *values, size_t count) {
    reduce((char *)values, count, sizeof *values, MPI_FLOAT, MPI_SUM);
}

void blk_mpi_max_f32(float *values, size_t count) {
    reduce((char *)values, count, sizeof *values, MPI_FLOAT, MPI_MAX);
}

void blk_mpi_sum_f64(double *values, size_t count) {
    reduce((char *)values, count, sizeof *values, MPI_DOUBLE, MPI_SUM);
}

void blk_mpi_leave(void) { MPI_Finalize(); }

void blk_mpi_abort(int status) { MPI_Abort(MPI_COMM_WORLD, status); }
