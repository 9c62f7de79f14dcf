//! Random changes of training images, on the fly.
//!
//! What happens to a sample is a function of the run's seed, the epoch and the sample's number in the training set
//! (streams of SplitMix64), so that neither the order of the samples nor threads nor an interruption changes it.

use serde::{Deserialize, Serialize};

use crate::random::{AUGMENT_STREAM, SplitMix64};

/// An operation on an image of channels, height and width. Operations follow each other as they are listed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Augmentation {
    /// Pads with so many rows and columns of black (the file's 0) on each side and takes a window of the image's size, at
    /// any place with the same probability.
    PadCrop(usize),
    /// Mirrors left and right with probability ½.
    FlipHorizontal,
    /// Sets a square with sides of so many pixels to 0, the training set's mean, around any pixel with the same
    /// probability; what lies outside of the image is cut off (DeVries and Taylor, "Improved regularization of
    /// convolutional neural networks with cutout", 2017).
    Cutout(usize),
}

impl Augmentation {
    /// As programs write them.
    pub const NAMES: [&str; 3] = ["pad_crop", "flip_horizontal", "cutout"];

    /// Whether an operation takes a number of pixels.
    pub fn takes_pixels(name: &str) -> bool {
        name != Self::NAMES[1]
    }

    /// The operation of that name; one that takes no number of pixels does not look at it.
    pub fn named(name: &str, pixels: usize) -> Option<Self> {
        let operations =
            [Augmentation::PadCrop(pixels), Augmentation::FlipHorizontal, Augmentation::Cutout(pixels)];
        Self::NAMES.iter().position(|known| *known == name).map(|at| operations[at])
    }
}

/// Changes the samples of one run.
#[derive(Clone, Debug)]
pub struct Augmenter {
    operations: Vec<Augmentation>,
    /// Channels, height, width.
    shape: [usize; 3],
    /// What stands for black, by channel.
    black: Vec<f32>,
    random: SplitMix64,
    room: Vec<f32>,
}

impl Augmenter {
    pub fn new(operations: Vec<Augmentation>, shape: [usize; 3], black: Vec<f32>, seed: u64) -> Self {
        let random = SplitMix64::stream(seed, AUGMENT_STREAM);
        Augmenter { operations, shape, black, random, room: vec![0.0; shape.iter().product()] }
    }

    pub fn is_idle(&self) -> bool {
        self.operations.is_empty()
    }

    /// Changes the image of a sample in its place.
    pub fn apply(&mut self, image: &mut [f32], epoch: u64, sample: u32) {
        let mut random = self.random.substream(epoch).substream(sample.into());
        for operation in self.operations.clone() {
            match operation {
                Augmentation::PadCrop(pad) => {
                    let mut offset = || random.below(2 * pad as u64 + 1) as isize - pad as isize;
                    let (down, right) = (offset(), offset());
                    self.shift(image, down, right);
                }
                Augmentation::FlipHorizontal => {
                    if random.below(2) == 1 {
                        flip(image, self.shape[2]);
                    }
                }
                Augmentation::Cutout(side) => {
                    let [_, height, width] = self.shape;
                    let (y, x) = (random.below(height as u64) as usize, random.below(width as u64) as usize);
                    self.cut(image, side, y, x);
                }
            }
        }
    }

    /// The window that begins `down` rows below and `right` columns right of the image's corner.
    fn shift(&mut self, image: &mut [f32], down: isize, right: isize) {
        if (down, right) == (0, 0) {
            return;
        }
        let [_, height, width] = self.shape;
        self.room.copy_from_slice(image);
        let shown = |by: isize, extent: usize| {
            let first = (-by).clamp(0, extent as isize) as usize;
            let last = (extent as isize - by).clamp(0, extent as isize) as usize;
            first..last.max(first)
        };
        let (rows, columns) = (shown(down, height), shown(right, width));
        let planes = image.chunks_exact_mut(height * width).zip(self.room.chunks_exact(height * width));
        for ((plane, source), black) in planes.zip(&self.black) {
            plane.fill(*black);
            for row in rows.clone() {
                let from = (row as isize + down) as usize * width + (columns.start as isize + right) as usize;
                let into = &mut plane[row * width..][columns.clone()];
                into.copy_from_slice(&source[from..][..columns.len()]);
            }
        }
    }

    /// A square around a pixel; with an even side there is one pixel more before it than behind.
    fn cut(&self, image: &mut [f32], side: usize, y: usize, x: usize) {
        let [_, height, width] = self.shape;
        let range = |centre: usize, extent: usize| {
            centre.saturating_sub(side / 2)..(centre + side - side / 2).min(extent)
        };
        for plane in image.chunks_exact_mut(height * width) {
            for row in range(y, height) {
                plane[row * width..][range(x, width)].fill(0.0);
            }
        }
    }
}

fn flip(image: &mut [f32], width: usize) {
    image.chunks_exact_mut(width).for_each(|row| row.reverse());
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHAPE: [usize; 3] = [2, 5, 4];
    const BLACK: [f32; 2] = [-1.0, -2.0];

    fn augmenter(operations: &[Augmentation], seed: u64) -> Augmenter {
        Augmenter::new(operations.to_vec(), SHAPE, BLACK.to_vec(), seed)
    }

    /// Every entry another number.
    fn image() -> Vec<f32> {
        (1..=40).map(|value| value as f32).collect()
    }

    fn changed(augmenter: &mut Augmenter, epoch: u64, sample: u32) -> Vec<f32> {
        let mut image = image();
        augmenter.apply(&mut image, epoch, sample);
        image
    }

    /// The window by its definition, entry by entry.
    fn window(down: isize, right: isize) -> Vec<f32> {
        let [channels, height, width] = SHAPE;
        let mut result = Vec::new();
        for (channel, black) in BLACK.iter().enumerate().take(channels) {
            for (y, x) in (0..height).flat_map(|y| (0..width).map(move |x| (y, x))) {
                let (y, x) = (y as isize + down, x as isize + right);
                let inside = (0..height as isize).contains(&y) && (0..width as isize).contains(&x);
                let at = (channel * height) as isize * width as isize + y * width as isize + x;
                result.push(if inside { image()[at as usize] } else { *black });
            }
        }
        result
    }

    #[test]
    fn a_crop_is_a_shifted_window_and_all_are_equally_likely() {
        let offsets: Vec<(isize, isize)> = (-2..=2).flat_map(|y| (-2..=2).map(move |x| (y, x))).collect();
        let windows: Vec<Vec<f32>> = offsets.iter().map(|(y, x)| window(*y, *x)).collect();
        let mut counts = vec![0u32; offsets.len()];
        let mut augmenter = augmenter(&[Augmentation::PadCrop(2)], 3);
        const DRAWS: u32 = 25_000;
        for sample in 0..DRAWS {
            let image = changed(&mut augmenter, u64::from(sample % 7), sample);
            counts[windows.iter().position(|window| *window == image).expect("a window")] += 1;
        }
        assert!(chi_square(&counts, DRAWS) < 51.2, "{counts:?}");
    }

    /// Pearson's statistic against equal probabilities. (For 24 degrees of freedom 51.2 is exceeded once in 1000; the
    /// draws are fixed.)
    fn chi_square(counts: &[u32], draws: u32) -> f64 {
        let expected = f64::from(draws) / counts.len() as f64;
        counts.iter().map(|count| (f64::from(*count) - expected).powi(2) / expected).sum()
    }

    #[test]
    fn a_padding_beyond_the_image_leaves_black() {
        let mut far = image();
        augmenter(&[], 0).shift(&mut far, 9, -9);
        assert_eq!(far, window(9, -9));
        assert!(far[..20].iter().all(|value| *value == BLACK[0]));
    }

    #[test]
    fn flipping_twice_is_the_identity_and_happens_to_half() {
        let (mut twice, mut once) = (image(), image());
        flip(&mut once, SHAPE[2]);
        assert_eq!(once[..4], [4.0, 3.0, 2.0, 1.0]);
        flip(&mut twice, SHAPE[2]);
        flip(&mut twice, SHAPE[2]);
        assert_eq!(twice, image());
        let mut augmenter = augmenter(&[Augmentation::FlipHorizontal], 3);
        let flipped = (0..10_000).filter(|sample| changed(&mut augmenter, 0, *sample) == once).count();
        let kept = (0..10_000).filter(|sample| changed(&mut augmenter, 0, *sample) == image()).count();
        assert_eq!(flipped + kept, 10_000);
        assert!((4_850..=5_150).contains(&flipped), "{flipped}");
    }

    #[test]
    fn a_cutout_is_a_square_around_any_pixel_in_all_channels() {
        let mut augmenter = augmenter(&[Augmentation::Cutout(3)], 3);
        let mut counts = vec![0u32; 20];
        for sample in 0..10_000 {
            let image = changed(&mut augmenter, 1, sample);
            let holes = |plane: &[f32]| plane.iter().map(|value| *value == 0.0).collect::<Vec<_>>();
            assert_eq!(holes(&image[..20]), holes(&image[20..]));
            let square = |centre: &usize| {
                let (y, x) = (centre / 4, centre % 4);
                (0..20usize)
                    .map(|at| (at / 4).abs_diff(y) <= 1 && (at % 4).abs_diff(x) <= 1)
                    .collect::<Vec<_>>()
            };
            let holes = holes(&image[..20]);
            counts[(0..20).find(|centre| square(centre) == holes).expect("a square")] += 1;
        }
        // 19 degrees of freedom: 43.8 is exceeded once in 1000.
        assert!(chi_square(&counts, 10_000) < 43.8, "{counts:?}");
    }

    #[test]
    fn seed_epoch_and_sample_decide_and_nothing_else() {
        let all = [Augmentation::PadCrop(2), Augmentation::FlipHorizontal, Augmentation::Cutout(2)];
        let draw = |seed, epoch, sample| changed(&mut augmenter(&all, seed), epoch, sample);
        let mut through = augmenter(&all, 5);
        let forward: Vec<Vec<f32>> = (0..40).map(|sample| changed(&mut through, 2, sample)).collect();
        let mut backward: Vec<Vec<f32>> =
            (0..40).rev().map(|sample| changed(&mut through, 2, sample)).collect();
        backward.reverse();
        assert_eq!(forward, backward);
        assert_eq!(forward[7], draw(5, 2, 7));
        let differ = |other: &dyn Fn(u32) -> Vec<f32>| {
            (0..40).filter(|at| other(*at) != forward[*at as usize]).count()
        };
        assert!(differ(&|at| draw(6, 2, at)) > 30 && differ(&|at| draw(5, 3, at)) > 30);
    }

    #[test]
    fn operations_follow_their_order() {
        // A hole that is cut before the shift may leave black behind it; one that is cut after it never does.
        let cut_last = [Augmentation::PadCrop(2), Augmentation::Cutout(9)];
        let cut_first = [Augmentation::Cutout(9), Augmentation::PadCrop(2)];
        let blacks = |operations: &[Augmentation]| {
            let mut augmenter = augmenter(operations, 3);
            (0..200).filter(|sample| changed(&mut augmenter, 0, *sample).contains(&BLACK[0])).count()
        };
        assert!(blacks(&cut_last) < blacks(&cut_first));
    }

    #[test]
    fn a_manifest_names_them_as_programs_do() {
        let all = vec![Augmentation::PadCrop(4), Augmentation::FlipHorizontal, Augmentation::Cutout(8)];
        let json = serde_json::to_string(&all).unwrap();
        assert_eq!(json, r#"[{"pad_crop":4},"flip_horizontal",{"cutout":8}]"#);
        assert_eq!(serde_json::from_str::<Vec<Augmentation>>(&json).unwrap(), all);
        for (name, operation) in Augmentation::NAMES.into_iter().zip(all) {
            let pixels = if name == "pad_crop" { 4 } else { 8 };
            assert_eq!(Augmentation::named(name, pixels), Some(operation));
        }
        assert_eq!(Augmentation::named("rotate", 3), None);
    }
}
