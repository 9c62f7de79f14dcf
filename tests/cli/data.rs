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
        (points(7), &["7 samples", "batch of 8"]),
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
    refused(&user, "table:points", 2, &["unknown data", "digits, csv:FILE, npz:FILE, idx:DIR"]);
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
