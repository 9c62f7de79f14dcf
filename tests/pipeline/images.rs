//! Random small image networks, as [`crate::random`] makes plain ones: windows of all sizes, strides and paddings, groups,
//! pools and shortcuts, on images down to a single pixel.

use blkc::loops::Stmt;
use proptest::prelude::*;

use crate::machine::{Pipeline, network};
use crate::random::{check_formulas, check_loops, values};

const PIECES: [&str; 6] =
    ["relu", "gelu", "bias", "batch_norm(eps = 0.1)", "batch_norm(eps = 0.1) |> relu", "tanh"];

/// Channels that divide into groups, that fill registers and that do not.
const CHANNELS: [usize; 12] = [1, 2, 3, 4, 6, 8, 12, 16, 17, 24, 32, 40];
const FEW_CHANNELS: [usize; 5] = [1, 2, 3, 4, 6];

/// An op on images: which, and three numbers that say how.
type Step = (u8, [usize; 3]);

/// Channels and the two sides of an image.
type Extents = [usize; 3];

/// Ops on images of these extents, and the extents that they end with.
fn pipeline(steps: &[Step], channels: &[usize], mut image: Extents) -> (String, Extents) {
    let mut ops = Vec::new();
    for (place, &(kind, numbers)) in steps.iter().enumerate() {
        let rest = &steps[place + 1..];
        ops.push(match kind {
            0..=6 => convolution(numbers, channels, &mut image),
            7 | 8 => pool(numbers, &mut image),
            // The branch takes the rest, and the shortcut comes to its extents where they are others.
            9 if image[1] == image[2] => {
                let (branch, end) = pipeline(rest, channels, image);
                let stride = (image[1] - 1) / (end[1] - 1).max(1);
                let strided = (image[1] - 1) / stride.max(1) + 1;
                let shortcut = format!("conv({}, kernel = 1, stride = {stride})", end[0]);
                ops.push(match (end == image, end[1] == end[2] && strided == end[1] && stride > 0) {
                    (true, _) => format!("residual({branch})"),
                    (false, true) => format!("residual({branch}, shortcut = {shortcut})"),
                    (false, false) => branch,
                });
                return (ops.join(" |> "), end);
            }
            10 => {
                image[0] += numbers[0] % 3;
                format!("more_channels({})", image[0])
            }
            _ => PIECES[numbers[0] % PIECES.len()].to_string(),
        });
    }
    (if ops.is_empty() { "identity".into() } else { ops.join(" |> ") }, image)
}

fn convolution([size, shape, count]: [usize; 3], channels: &[usize], image: &mut Extents) -> String {
    let fits = |kernel: &usize| image[1].min(image[2]) + 2 * (kernel - 1) >= *kernel;
    let kernel = [3, 1, 2, 3, 4, 5, 3, 7][size % 8];
    let kernel = Some(kernel).filter(fits).unwrap_or(1);
    let stride = [1, 1, 2, 1, 3][shape % 5];
    let room = kernel.saturating_sub(image[1].min(image[2])).div_ceil(2);
    let pad = (shape / 5 % kernel).max(room);
    let channels = channels[count % channels.len()];
    let (groups, channels) = match shape / 7 % 4 {
        0 => (image[0], image[0] * (1 + count % 2)),
        1 if image[0].is_multiple_of(2) => (2, channels.next_multiple_of(2)),
        _ => (1, channels),
    };
    let bias = if count % 5 == 0 { ", bias = true" } else { "" };
    image[0] = channels;
    slide(image, kernel, stride, pad);
    format!("conv({channels}, kernel = {kernel}, stride = {stride}, pad = {pad}, groups = {groups}{bias})")
}

/// What windows leave of both sides.
fn slide(image: &mut Extents, kernel: usize, stride: usize, pad: usize) {
    image[1..].iter_mut().for_each(|side| *side = (*side + 2 * pad - kernel) / stride + 1);
}

fn pool([size, shape, which]: [usize; 3], image: &mut Extents) -> String {
    let kernel = (1 + size % 3).min(image[1]).min(image[2]);
    let stride = 1 + shape % 3;
    let pad = if which % 3 == 0 { kernel / 2 } else { 0 };
    slide(image, kernel, stride, pad);
    let name = ["max_pool", "avg_pool"][which % 2];
    format!("{name}({kernel}, stride = {stride}, pad = {pad})")
}

/// A network of blocks of these ops, over images of these extents; `head` comes in front of its loss.
fn of_blocks([depth, high, wide]: Extents, blocks: &[impl AsRef<str>], head: &str) -> String {
    let mut text = String::new();
    for (number, ops) in blocks.iter().enumerate() {
        text += &format!("    |> block b{number} {{ {} }}\n", ops.as_ref());
    }
    format!(
        "use std.resnet\n\nnetwork net(x: f32[{depth}, {high}, {wide}]) -> class[3] {{\n    x\n{text}    |> block out {{ {head} |> dense(3, bias = true) }}\n    |> cross_entropy\n}}\n\ntrain net {{\n    optimizer = sgd(lr = 0.1, momentum = 0.9)\n}}\n"
    )
}

fn program(input: Extents, blocks: &[Vec<Step>], channels: &[usize], flat: bool) -> String {
    let mut image = input;
    let mut next = |steps: &Vec<Step>| {
        let (ops, end) = pipeline(steps, channels, image);
        image = end;
        ops
    };
    let blocks: Vec<String> = blocks.iter().map(&mut next).collect();
    of_blocks(input, &blocks, if flat { "flatten" } else { "global_avg_pool" })
}

/// Programs over images with sides below `sides`, of ops below `kinds`.
fn programs(sides: usize, kinds: u8, channels: &'static [usize]) -> impl Strategy<Value = String> {
    let step = (0..kinds, [0usize..1000, 0usize..1000, 0usize..1000]);
    let blocks = prop::collection::vec(prop::collection::vec(step, 1..5), 1..4);
    let input = ([1..5, 1..sides, 1..sides], any::<bool>());
    (input, blocks, any::<bool>()).prop_map(|(([depth, high, wide], square), blocks, flat)| {
        program([depth, high, if square { high } else { wide }], &blocks, channels, flat)
    })
}

fn goes_through(text: &str, batch: usize) {
    let pipeline = Pipeline::new(network(text, Some(batch)));
    check_loops(text, &pipeline, &values(&pipeline), true);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, max_shrink_iters: 200, ..ProptestConfig::default() })]
    #[test]
    fn any_pipeline_of_images_goes_through(text in programs(12, 14, &CHANNELS), batch in 1usize..20) {
        goes_through(&text, batch);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 3, max_shrink_iters: 20, ..ProptestConfig::default() })]
    #[test]
    fn any_pipeline_of_images_verifies(text in programs(5, 9, &FEW_CHANNELS), batch in 2usize..4, seed in 0u64..1000) {
        // Long chains of windows lose small second derivatives in rounding, and zeros in padding are kinks.
        check_formulas(&text, batch, seed, false);
    }
}

/// What a window sees may be too small for a matrix product although the window is not, an assigned value itself, or seen
/// through another window along the same axis.
#[test]
fn windows_that_no_product_reads_as_they_slide() {
    let small = [
        "conv(8, kernel = 4, stride = 2, pad = 3)",
        "max_pool(1, stride = 2) |> conv(4, kernel = 4, stride = 2, pad = 1)",
    ];
    goes_through(&of_blocks([1, 7, 7], &small, "flatten"), 4);
    goes_through(&of_blocks([1, 4, 1], &["tanh", "max_pool(1, stride = 2)"], "flatten"), 1);
    let twice = [
        "conv(4, kernel = 2, pad = 1) |> conv(24, kernel = 2, pad = 1)",
        "max_pool(1, stride = 2) |> conv(24, kernel = 3, stride = 2, pad = 1, groups = 24, bias = true)",
    ];
    goes_through(&of_blocks([1, 2, 2], &twice, "flatten"), 6);
}

/// The gradient of a window's taps sums over all positions: up to 512 × 512 of them are listed, more are not.
#[test]
fn large_images_have_products_too() {
    for (side, kernel) in [(160, 3), (530, 1), (520, 5)] {
        let conv = format!("conv(16, kernel = {kernel}, pad = {})", kernel / 2);
        let text = of_blocks([3, side, side], &[&conv, "max_pool(16)"], "flatten");
        let pipeline = Pipeline::new(network(&text, Some(1)));
        let levels = pipeline.lowered.program.routines.iter().flat_map(|routine| &routine.levels);
        let groups = levels.flat_map(|level| &level.groups).flat_map(|group| &group.body);
        assert!(groups.filter(|statement| matches!(statement, Stmt::Gemm(_))).count() >= 2, "{text}");
    }
}

/// Channels in groups, and then in others; windows of single pixels.
#[test]
fn chains_of_groups_and_single_pixels_verify() {
    let groups = |first, second| {
        format!(
            "conv(8, kernel = 1, groups = {first}) |> conv(8, kernel = 2, pad = 1, groups = {second}, bias = true)"
        )
    };
    for (first, second) in [(4, 2), (2, 4), (8, 2), (2, 8), (4, 4)] {
        check_formulas(&of_blocks([8, 2, 3], &[groups(first, second)], "flatten"), 2, 1, true);
    }
    check_formulas(
        &of_blocks(
            [2, 1, 1],
            &["conv(4, kernel = 5, pad = 2, bias = true)", "residual(max_pool(1))"],
            "flatten",
        ),
        3,
        1,
        true,
    );
}
