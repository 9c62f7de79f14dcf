//! The batches of a run, one ahead of the step: while a step computes, a thread of its own reads, converts and changes
//! the samples of the next batch. What a batch holds depends on its number alone, not on who makes it or when.

use std::ops::Range;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::{self, JoinHandle};

use crate::Error;
use crate::batch::{self, Batch};
use crate::data::augment::Augmenter;
use crate::data::{Order, Samples};
use crate::program::Program;

/// Makes batches. They are numbered from 0 over all steps and epochs; a step takes `per_step` of them.
#[derive(Clone)]
pub struct Maker {
    pub samples: Arc<Samples>,
    pub order: Order,
    pub augmenter: Augmenter,
    /// Samples of a rank's batch.
    pub batch: usize,
    pub per_step: u64,
    /// Batches are made for this rank of so many: all of them together take a batch so many times as large.
    pub rank: usize,
    pub ranks: usize,
}

impl Maker {
    /// Numbers of the samples of a batch.
    fn members(&mut self, number: u64) -> &[u32] {
        let (step, part) = (number / self.per_step, number % self.per_step);
        let first = (part as usize * self.ranks + self.rank) * self.batch;
        &self.order.samples(step)[first..][..self.batch]
    }

    pub fn make(&mut self, number: u64, batch: &mut Batch) {
        let epoch = self.order.epoch_of(number / self.per_step);
        let indices = self.members(number).to_vec();
        batch.gather(&self.samples, &indices);
        if self.augmenter.is_idle() {
            return;
        }
        let images = batch.inputs.chunks_exact_mut(self.samples.sample_size.max(1));
        for (image, sample) in images.zip(indices) {
            self.augmenter.apply(image, epoch, sample);
        }
    }

    /// Making a batch takes less time than waking a thread does.
    fn is_quick(&self) -> bool {
        const FEW: usize = 1 << 15;
        self.augmenter.is_idle() && self.batch * self.samples.sample_size <= FEW
    }

    pub fn empty(&self) -> Batch {
        Batch::new(&self.samples, self.batch)
    }
}

/// Gives the batches of a range of numbers in their order.
pub enum Feed {
    /// Samples that change in nothing go straight to where the program reads them.
    Direct {
        maker: Maker,
        next: u64,
    },
    Ahead(Ahead),
}

impl Feed {
    pub fn new(maker: Maker, numbers: Range<u64>) -> Result<Self, Error> {
        match maker.is_quick() || numbers.is_empty() {
            true => Ok(Feed::Direct { maker, next: numbers.start }),
            false => Ok(Feed::Ahead(Ahead::start(maker, numbers)?)),
        }
    }

    /// Puts the next batch where the program reads it; after the last one of the range it is an error.
    pub fn place(&mut self, program: &mut Program) -> Result<(), Error> {
        match self {
            Feed::Direct { maker, next } => {
                let samples = Arc::clone(&maker.samples);
                batch::fill(program, &samples, maker.members(*next));
                *next += 1;
            }
            Feed::Ahead(ahead) => ahead.next()?.place(program),
        }
        Ok(())
    }
}

/// Two batches that go to and fro: one is used while the other is made.
pub struct Ahead {
    current: Batch,
    /// Ready batches, and used ones on their way back; none when all is over.
    channels: Option<(Receiver<Batch>, Sender<Batch>)>,
    thread: Option<JoinHandle<()>>,
}

impl Ahead {
    fn start(mut maker: Maker, numbers: Range<u64>) -> Result<Self, Error> {
        let (put_ready, ready) = channel();
        let (put_used, used) = channel();
        let current = maker.empty();
        let _ = put_used.send(maker.empty());
        let work = move || {
            for number in numbers {
                let Ok(mut batch) = used.recv() else { return };
                maker.make(number, &mut batch);
                if put_ready.send(batch).is_err() {
                    return;
                }
            }
        };
        let thread = thread::Builder::new().name("blk-data".into()).spawn(work);
        let thread =
            thread.map_err(|cause| Error::new(format!("cannot start a thread for the data: {cause}")))?;
        Ok(Ahead { current, channels: Some((ready, put_used)), thread: Some(thread) })
    }

    fn next(&mut self) -> Result<&Batch, Error> {
        let ended = || Error::new("there are no more batches");
        let (ready, used) = self.channels.as_ref().ok_or_else(ended)?;
        let made = ready.recv().map_err(|_| ended())?;
        // The thread may have made its last batch.
        let _ = used.send(std::mem::replace(&mut self.current, made));
        Ok(&self.current)
    }
}

impl Drop for Ahead {
    fn drop(&mut self) {
        // Without its channels the thread ends.
        self.channels = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::augment::Augmentation;
    use crate::data::{Inputs, Targets};

    /// 40 images of two channels of 16×16, each entry of image `i` near `i`.
    fn maker(operations: &[Augmentation]) -> Maker {
        let inputs = (0..40 * 512).map(|at| (at / 512) as f32 + (at % 512) as f32 / 1024.0).collect();
        let targets = Targets::Class((0..40).collect());
        let samples = Samples { inputs: Inputs::Floats(inputs), sample_size: 512, targets };
        Maker {
            samples: Arc::new(samples),
            order: Order::new((0..40).collect(), 12, 9, true).unwrap(),
            augmenter: Augmenter::new(operations.to_vec(), [2, 16, 16], vec![0.0; 2], 9),
            batch: 4,
            per_step: 3,
            rank: 0,
            ranks: 1,
        }
    }

    const ALL: [Augmentation; 3] =
        [Augmentation::PadCrop(2), Augmentation::FlipHorizontal, Augmentation::Cutout(3)];

    fn ahead(numbers: Range<u64>) -> Ahead {
        ahead_of(maker(&ALL), numbers)
    }

    fn ahead_of(maker: Maker, numbers: Range<u64>) -> Ahead {
        match Feed::new(maker, numbers).unwrap() {
            Feed::Ahead(ahead) => ahead,
            Feed::Direct { .. } => panic!("changing images takes time"),
        }
    }

    fn batches(ahead: &mut Ahead, count: usize) -> Vec<Batch> {
        (0..count).map(|_| ahead.next().unwrap().clone()).collect()
    }

    fn made(number: u64) -> Batch {
        let mut maker = maker(&ALL);
        let mut batch = maker.empty();
        maker.make(number, &mut batch);
        batch
    }

    #[test]
    fn a_thread_ahead_gives_what_making_them_in_place_gives_from_anywhere() {
        let all: Vec<Batch> = (0..60).map(made).collect();
        let mut whole = ahead(0..60);
        assert_eq!(batches(&mut whole, 60), all);
        assert!(whole.next().unwrap_err().message.contains("no more batches"));
        assert_eq!(batches(&mut ahead(31..60), 3), all[31..34]);
    }

    #[test]
    fn samples_keep_their_labels_and_differ_between_epochs() {
        let mut feed = ahead(0..18);
        let mut seen: Vec<Vec<f32>> = vec![vec![]; 40];
        for batch in batches(&mut feed, 18) {
            let Targets::Class(labels) = &batch.targets else { panic!("labels") };
            for (image, label) in batch.inputs.chunks(512).zip(labels) {
                assert!(image.iter().all(|x| *x == 0.0 || x.floor() == *label as f32), "{label}: {image:?}");
                assert_ne!(seen[*label as usize], image);
                seen[*label as usize] = image.to_vec();
            }
        }
    }

    #[test]
    fn ranks_share_the_batches_of_one_process() {
        let mut whole = ahead(0..9);
        let of_rank = |rank| Maker { batch: 2, rank, ranks: 2, ..maker(&ALL) };
        let mut ranks = [0, 1].map(|rank| ahead_of(of_rank(rank), 0..9));
        for whole in batches(&mut whole, 9) {
            let parts = ranks.each_mut().map(|rank| rank.next().unwrap().inputs.clone());
            assert_eq!(parts.concat(), whole.inputs);
        }
    }

    #[test]
    fn a_feed_may_be_left_at_any_time() {
        for taken in [0, 1, 7] {
            drop(batches(&mut ahead(0..60), taken));
        }
    }

    #[test]
    fn small_batches_need_no_thread() {
        assert!(matches!(Feed::new(maker(&[]), 0..6).unwrap(), Feed::Direct { .. }));
    }
}
