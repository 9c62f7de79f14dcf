//! Data: every format, every malformation, and data that the network does not take.

use std::io::Write;

use ndarray::{Array1, Array2};
use ndarray_npy::NpzWriter;

use crate::user::{User, points};

fn refused(user: &User, data: &str, status: i32, parts: &[&str]) {
    user.blkc(&format!("train net.blk --data {data} --out run")).refused(status, parts);
    assert!(!user.path("run").exists(), "the folder of the run was touched");
}

#[test]
fn a_table_trains_and_its_mistakes_are_placed() {
    let user = User::new();
    user.blkc("train net.blk --data csv:points.csv").good();
    user.write("headed.csv", format!("x,y,label\n{}", points(16)));
    user.blkc("train net.blk --data csv:headed.csv").good();
    for (content, parts) in [
        (points(16) + "1,2\n", &["line 17 has 2 fields", "the first line 3"][..]),
        (points(16) + "1,many,0\n", &["line 17, column 2: `many` is not a number"]),
        (points(16) + "1,nan,0\n", &["line 17", "not finite"]),
        (points(16) + "1,2,2\n", &["line 17 has label 2", "2 classes", "class[3]"]),
        (points(16) + "1,2,-1\n", &["label -1", "numbered from 0"]),
        (points(16) + "1,2,0.5\n", &["line 17, column 3: `0.5` is no class"]),
        (points(16).replace(',', ";"), &["line 2, column 1", "separate the fields by commas"]),
        ("1,2,3,0\n".repeat(16), &["samples of [3]", "takes [2]"]),
        (points(7), &["7 samples", "less than the 8 that a step takes"]),
        (String::new(), &["bad.csv"]),
        ("x,y,label\n".into(), &["holds no samples"]),
    ] {
        user.write("bad.csv", content);
        refused(&user, "csv:bad.csv", 1, parts);
    }
}

#[test]
fn names_of_data_are_explained() {
    let user = User::new();
    refused(&user, "csv:absent.csv", 1, &["cannot read absent.csv"]);
    refused(&user, "csv:", 2, &["names no place", "csv:PATH"]);
    refused(&user, "points.csv", 2, &["unknown data `points.csv`", "csv:points.csv"]);
    refused(
        &user,
        "table:points",
        2,
        &["unknown data", "digits, cifar10:DIR, cifar100:DIR, imagefolder:DIR, idx:DIR, npz:FILE, csv:FILE"],
    );
    user.blkc("train net.blk").refused(2, &["no data to train on", "--data DATA"]);
}

#[test]
fn data_that_does_not_fit_is_refused_with_both_shapes() {
    let user = User::new();
    refused(&user, "digits", 1, &["digits has samples of [8, 8]", "takes [2]"]);
    let values = "network net(x: f32[2]) -> f32[1] { x |> block o { dense(1) } |> squared_error }\n\
                  train net { batch = 4, epochs = 1, optimizer = sgd(lr = 0.01) }\n";
    user.write("net.blk", values);
    let result = user.blkc("train net.blk --data csv:points.csv --out values").good();
    assert!(result.stderr.contains("epoch 1/1 loss"), "{}", result.stderr);
    refused(&user, "digits", 1, &["takes [2]"]);
}

fn archive(user: &User, x: &Array2<f32>, y: &Array1<i64>) {
    let mut writer = NpzWriter::new(std::fs::File::create(user.path("set.npz")).expect("created"));
    writer.add_array("x_train", x).expect("added");
    writer.add_array("y_train", y).expect("added");
    writer.finish().expect("finished");
}

#[test]
fn arrays_train_and_their_mistakes_are_named() {
    let user = User::new();
    let x = Array2::from_shape_fn((32, 2), |(i, j)| ((i * 3 + j * 5) % 7) as f32 + (i % 2) as f32);
    let y = Array1::from_shape_fn(32, |i| (i % 2) as i64);
    archive(&user, &x, &y);
    user.blkc("train net.blk --data npz:set.npz").good();
    archive(&user, &x, &Array1::zeros(31));
    refused(&user, "npz:set.npz", 1, &["x_train has shape [32, 2], but y_train [31]"]);
    archive(&user, &Array2::zeros((32, 3)), &y);
    refused(&user, "npz:set.npz", 1, &["samples of [3]", "takes [2]"]);
    archive(&user, &x, &(&y + 1));
    refused(&user, "npz:set.npz", 1, &["has label 2", "2 classes"]);
    user.write("set.npz", "no archive");
    refused(&user, "npz:set.npz", 1, &["set.npz"]);
}

/// An idx file: type, extents, bytes.
fn idx(extents: &[u32], bytes: &[u8]) -> Vec<u8> {
    let mut file = vec![0, 0, 8, extents.len() as u8];
    extents.iter().for_each(|extent| file.extend(extent.to_be_bytes()));
    file.write_all(bytes).expect("in memory");
    file
}

#[test]
fn idx_files_train_and_their_mistakes_are_named() {
    let user = User::new();
    std::fs::create_dir(user.path("set")).expect("created");
    let pixels: Vec<u8> = (0..32).map(|i| i * 7).collect();
    let labels: Vec<u8> = (0..16).map(|i| i % 2).collect();
    let write = |part: &str, images: &[u8], labels: &[u8]| {
        user.write(&format!("set/{part}-images-idx3-ubyte"), images);
        user.write(&format!("set/{part}-labels-idx1-ubyte"), labels);
    };
    let (images, good) = (idx(&[16, 1, 2], &pixels), idx(&[16], &labels));
    refused(&user, "idx:set", 1, &["set"]);
    write("train", &images, &good);
    write("t10k", &images, &good);
    let result = user.blkc("train net.blk --data idx:set").good();
    assert!(result.stdout.contains("test accuracy: "), "{}", result.stdout);
    write("train", &images[..images.len() - 1], &good);
    refused(&user, "idx:set", 1, &["train-images-idx3-ubyte"]);
    write("train", &images, &idx(&[15], &labels[..15]));
    refused(&user, "idx:set", 1, &["15 labels for 16 images"]);
    write("train", b"text", &good);
    refused(&user, "idx:set", 1, &["train-images-idx3-ubyte"]);
}

#[test]
fn the_example_for_handwritten_digits_trains_on_idx_files() {
    let user = User::new();
    std::fs::create_dir(user.path("mnist")).expect("created");
    let labels: Vec<u8> = (0..128).map(|i| i % 10).collect();
    // Each class has its own bright row.
    let pixel = |label: u8, row: usize| if row == 2 * usize::from(label) + 4 { 255 } else { 0 };
    let pixels: Vec<u8> =
        labels.iter().flat_map(|&label| (0..28 * 28).map(move |at| pixel(label, at / 28))).collect();
    for part in ["train", "t10k"] {
        user.write(&format!("mnist/{part}-images-idx3-ubyte"), idx(&[128, 28, 28], &pixels));
        user.write(&format!("mnist/{part}-labels-idx1-ubyte"), idx(&[128], &labels));
    }
    let example = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/lenet.blk");
    let result = user.blkc(&format!("train {example} --data idx:mnist --epochs 20")).good();
    let accuracy = result.stdout.lines().find_map(|line| line.strip_prefix("test accuracy: "));
    assert!(accuracy.is_some_and(|accuracy| accuracy.parse::<f64>().unwrap() > 0.9), "{}", result.stdout);
}

/// A network on images of three channels, with everything that a `train` item can say of its samples.
fn images(size: &str, classes: usize) -> String {
    format!(
        "network net(x: f32[{size}]) -> class[{classes}] {{
    x |> block o {{ flatten |> dense({classes}) }} |> cross_entropy
}}
train net {{
    batch = 4
    epochs = 2
    augment = [pad_crop(1), flip_horizontal, cutout(2)]
    validation = 0.2
    optimizer = sgd(lr = 0.01)
}}
"
    )
}

#[test]
fn cifar_trains_and_its_mistakes_are_placed() {
    let user = User::new();
    user.write("net.blk", images("3, 32, 32", 10));
    std::fs::create_dir(user.path("set")).expect("created");
    let record = |label: u8| [vec![label], vec![label * 20; 3072]].concat();
    let file: Vec<u8> = [3, 1, 4, 1, 5].into_iter().flat_map(record).collect();
    for name in ["data_batch_1", "data_batch_2", "data_batch_3", "data_batch_4", "data_batch_5", "test_batch"]
    {
        user.write(&format!("set/{name}.bin"), &file);
    }
    let result = user.blkc("train net.blk --data cifar10:set").good();
    assert!(result.stderr.contains("20 training + 5 validation + 5 test samples"), "{}", result.stderr);
    assert!(result.stdout.contains("validation accuracy: "), "{}", result.stdout);
    user.write("set/data_batch_4.bin", &file[..file.len() - 1]);
    refused(&user, "cifar10:set", 1, &["data_batch_4.bin: byte 12292", "cut off"]);
    refused(&user, "cifar100:set", 1, &["holds no train.bin", "cifar-100-binary"]);
    user.write("set/data_batch_4.bin", &file);
    user.write("net.blk", images("3, 32, 32", 100));
    refused(&user, "cifar10:set", 1, &["has 10 classes", "the network has 100"]);
    user.write("net.blk", images("1, 32, 32", 10));
    refused(&user, "cifar10:set", 1, &["samples of [3, 32, 32]", "takes [1, 32, 32]"]);
}

#[test]
fn folders_of_images_train_and_their_mistakes_are_named() {
    let user = User::new();
    user.write("net.blk", images("3, 6, 5", 2));
    for class in ["train/cat", "train/dog", "test/cat", "test/dog"] {
        std::fs::create_dir_all(user.path("set").join(class)).expect("created");
        for number in 0..6u8 {
            let pixel = |x: u32, y: u32| image::Rgb([number * 9, x as u8, class.len() as u8 * y as u8]);
            let path = user.path("set").join(class).join(format!("{number}.png"));
            image::RgbImage::from_fn(5, 6, pixel).save(path).expect("saved");
        }
    }
    let result = user.blkc("train net.blk --data imagefolder:set").good();
    assert!(result.stderr.contains("10 training + 2 validation + 12 test samples"), "{}", result.stderr);
    refused(&user, "imagefolder:absent", 1, &["cannot read absent"]);
    user.write("set/train/dog/7.png", "no image");
    refused(&user, "imagefolder:set", 1, &["dog/7.png", "no PNG or JPEG image"]);
    user.write("set/train/dog/7.png", "");
    refused(&user, "imagefolder:set", 1, &["dog/7.png"]);
    std::fs::remove_file(user.path("set/train/dog/7.png")).expect("removed");
    std::fs::create_dir(user.path("set/train/cow")).expect("created");
    refused(&user, "imagefolder:set", 1, &["cow is empty"]);
}

#[test]
fn a_split_that_leaves_nothing_is_refused() {
    let user = User::new();
    user.write(
        "net.blk",
        images("1, 1, 2", 2).replace("[pad_crop(1), flip_horizontal, cutout(2)]", "[cutout(1)]"),
    );
    user.write("few.csv", points(4));
    refused(&user, "csv:few.csv", 1, &["3 samples, less than the 4 that a step takes"]);
}
