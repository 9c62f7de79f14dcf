/* A compiled network: `@NETWORK@`, made by blkc @COMPILER@. Link with the library beside this file.
 *
 * A function that returns int gives 0, or -1 when something was refused; blk_last_error() then says what, for the
 * calling thread. A trainer may be used by one thread at a time; it runs its own threads inside.
 */
#ifndef BLK_H
#define BLK_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Samples of a batch, and batches of an update: 1, or what the program accumulates. */
#define BLK_BATCH @BATCH@
#define BLK_ACCUMULATE @ACCUMULATE@
/* Floats of one sample, and of one sample's output (logits or values). */
#define BLK_INPUT @INPUT@
#define BLK_OUTPUT @OUTPUT@
/* What a sample's target is: one blk_target (a class from 0), or BLK_OUTPUT of them. */
#define BLK_TARGETS @TARGETS@
typedef @TARGET@ blk_target;

typedef struct blk_trainer blk_trainer;

/* What the network is: tensors with names and shapes, numbers that can be set, as JSON. Owned by the library. */
const char *blk_manifest_json(void);

/* Why the last call of this thread was refused; valid until the next refusal. */
const char *blk_last_error(void);

/* A trainer with that many threads, 0 for all of the machine; NULL when refused. Results do not depend on it. */
blk_trainer *blk_create(unsigned threads);
void blk_destroy(blk_trainer *trainer);

/* Draws the initial weights of the seed, and starts at step 0 of epochs * steps_per_epoch updates (for the schedule). */
int blk_init(blk_trainer *trainer, uint64_t seed, unsigned epochs, uint64_t steps_per_epoch);

/* Sets a number of the optimizer or the schedule, such as "lr". */
int blk_set(blk_trainer *trainer, const char *name, double value);

/* One batch of BLK_BATCH samples; every BLK_ACCUMULATE-th call updates the weights by the mean gradient of the batches since
 * the last update. `loss`, where not NULL, gets the batch's mean loss before the update. */
int blk_step(blk_trainer *trainer, const float *input, const blk_target *target, float *loss);

/* Evaluates up to BLK_BATCH samples. `output` gets BLK_OUTPUT floats and `losses` one per sample; each may be NULL,
 * and so may `target` where no losses are wanted. */
int blk_eval(blk_trainer *trainer, const float *input, const blk_target *target, unsigned count, float *output,
             float *losses);

/* Copies a tensor out or in, by its name in the manifest; `len` is its number of floats. */
int blk_read(blk_trainer *trainer, const char *name, float *values, size_t len);
int blk_write(blk_trainer *trainer, const char *name, const float *values, size_t len);

#ifdef __cplusplus
}
#endif

#endif
