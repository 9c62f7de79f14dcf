//! `blkc predict`: what is written of which inputs, by the compiler and by native trainers.

use ndarray::{Array2, ArrayD};
use ndarray_npy::{NpzReader, read_npy, write_npy};

use crate::user::User;

const TRAIN: &str = "train net.blk --data csv:points.csv --out run";
const PREDICT: &str = "predict net.blk --weights run/last.safetensors";

/// The fields of a CSV's rows.
fn fields(text: &str) -> Vec<Vec<String>> {
    text.lines().map(|line| line.split(',').map(String::from).collect()).collect()
}

fn number(text: &str) -> f64 {
    text.parse().expect("a number")
}

#[test]
fn classes_come_with_probabilities_that_accuracy_agrees_with() {
    let user = User::new();
    user.blkc(TRAIN).good();
    let rows = fields(&user.blkc(&format!("{PREDICT} --data csv:points.csv")).good().stdout);
    assert_eq!(rows[0], ["sample", "class", "p0", "p1"]);
    assert_eq!(rows.len(), 65);
    let points = user.text("points.csv");
    let (mut hits, mut loss) = (0.0, 0.0);
    for ((index, row), point) in rows[1..].iter().enumerate().zip(points.lines()) {
        assert_eq!(row[0], index.to_string());
        let probabilities = [number(&row[2]), number(&row[3])];
        assert!((probabilities[0] + probabilities[1] - 1.0).abs() < 1e-6, "{row:?}");
        assert_eq!(row[1] == "1", probabilities[1] > probabilities[0], "{row:?}");
        let label = point.rsplit(',').next().expect("a label");
        hits += f64::from(u8::from(label == row[1]));
        loss -= probabilities[usize::from(label == "1")].ln();
    }
    let evaluated = user
        .blkc("train net.blk --data csv:points.csv --eval-only --weights run/last.safetensors")
        .good()
        .stdout;
    let expected = format!("training loss: {:.4}\ntraining accuracy: {:.4}\n", loss / 64.0, hits / 64.0);
    assert_eq!(evaluated, expected);
}

#[test]
fn native_trainers_and_files_hold_the_same() {
    let user = User::new();
    user.blkc(TRAIN).good();
    let x = Array2::from_shape_fn((3, 2), |(i, j)| (i + j) as f64 / 2.0);
    write_npy(user.path("x.npy"), &x).expect("written");
    let csv = user.blkc(&format!("{PREDICT} --data npy:x.npy")).good().stdout;
    user.blkc("build net.blk -o net").good();
    let native = "predict --weights run/last.safetensors --data npy:x.npy";
    assert_eq!(user.run("net", native).good().stdout, csv);
    for name in ["p.csv", "p.jsonl", "p.npy", "p.npz"] {
        let told = user.run("net", &format!("{native} -o {name}")).good();
        assert_eq!((told.stdout.as_str(), told.stderr), ("", format!("wrote {name}\n")));
    }
    assert_eq!(user.text("p.csv"), csv);
    let rows = fields(&csv);
    let npy: Array2<f32> = read_npy(user.path("p.npy")).expect("an array");
    assert_eq!(npy.shape(), [3, 2]);
    assert!(npy.indexed_iter().all(|((i, j), p)| rows[i + 1][j + 2] == p.to_string()));
    let mut npz =
        NpzReader::new(std::fs::File::open(user.path("p.npz")).expect("a file")).expect("an archive");
    assert_eq!(npz.by_name::<ndarray::OwnedRepr<f32>, ndarray::Ix2>("probabilities").expect("there"), npy);
    let classes: ndarray::Array1<i64> = npz.by_name("class").expect("there");
    assert!(classes.iter().zip(&rows[1..]).all(|(class, row)| class.to_string() == row[1]));
    let line: serde_json::Value =
        serde_json::from_str(user.text("p.jsonl").lines().next().expect("a line")).expect("JSON");
    assert_eq!(line["class"].to_string(), rows[1][1]);
}

#[test]
fn what_the_loss_makes_no_probabilities_of_is_written_as_it_is() {
    let user = User::new();
    user.write(
        "net.blk",
        user.text("net.blk").replace("cross_entropy", "hinge")
            + "loss hinge(z: [k], y: class[k]) = sum(max(1 + z - z[y], 0))\n",
    );
    user.blkc(TRAIN).good();
    let told = user.blkc(&format!("{PREDICT} --data csv:points.csv")).good();
    assert!(
        told.stdout.starts_with("sample,class,z0,z1\n") && told.stderr.contains("no probabilities"),
        "{}",
        told.stderr
    );
    let values = "network net(x: f32[2]) -> f32[1] { x |> block o { dense(1) } |> squared_error }\n\
                  train net { batch = 4, epochs = 1, optimizer = sgd(lr = 0.01) }\n";
    user.write("net.blk", values);
    user.blkc("train net.blk --data csv:points.csv --out values").good();
    let told = user.blkc("predict net.blk --weights values/last.safetensors --data csv:points.csv").good();
    assert!(
        told.stdout.starts_with("sample,y0\n0,") && told.stderr.is_empty(),
        "{}{}",
        told.stdout,
        told.stderr
    );
}

/// Grey images of 4×4: class 1 is bright.
const IMAGES: &str = "\
network images(x: f32[4, 4]) -> class[2] { x |> block o { flatten |> dense(2, bias = true) } |> cross_entropy }
train images { batch = 8, epochs = 8, optimizer = sgd(lr = 0.1) }
";

fn idx(extents: &[u32], bytes: &[u8]) -> Vec<u8> {
    let head = [vec![0, 0, 8, extents.len() as u8], extents.iter().flat_map(|e| e.to_be_bytes()).collect()];
    [head.concat(), bytes.to_vec()].concat()
}

#[test]
fn images_are_normalized_as_those_of_the_training_were() {
    let user = User::new();
    user.write("net.blk", IMAGES);
    std::fs::create_dir(user.path("set")).expect("created");
    let pixels: Vec<u8> =
        (0..16 * 32).map(|i| if i / 16 % 2 == 1 { 200 } else { 20 } + (i * 7 % 16) as u8).collect();
    let labels: Vec<u8> = (0..32).map(|i| i % 2).collect();
    user.write("set/train-images-idx3-ubyte", idx(&[32, 4, 4], &pixels));
    user.write("set/train-labels-idx1-ubyte", idx(&[32], &labels));
    user.blkc("train net.blk --data idx:set --out run").good();
    let of_set = fields(&user.blkc(&format!("{PREDICT} --data idx:set")).good().stdout);
    for sample in 0..2 {
        let image =
            image::GrayImage::from_raw(4, 4, pixels[16 * sample..][..16].to_vec()).expect("16 pixels");
        image.save(user.path(&format!("{sample}.png"))).expect("written");
    }
    let of_files = fields(&user.blkc(&format!("{PREDICT} --data 0.png 1.png")).good().stdout);
    let bytes = ArrayD::from_shape_vec(vec![32, 4, 4], pixels).expect("fits");
    write_npy(user.path("x.npy"), &bytes).expect("written");
    let of_bytes = fields(&user.blkc(&format!("{PREDICT} --data npy:x.npy")).good().stdout);
    assert_eq!(of_bytes, of_set);
    for sample in 1..=2 {
        assert_eq!(of_files[sample][1..], of_set[sample][1..]);
        assert_eq!(of_files[sample][..2], [format!("{}.png", sample - 1), (sample - 1).to_string()]);
    }
    image::GrayImage::new(5, 4).save(user.path("wide.png")).expect("written");
    user.blkc(&format!("{PREDICT} --data wide.png")).refused(1, &["wide.png is 5×4 pixels", "takes 4×4"]);
    user.write("bad.png", "no image");
    user.blkc(&format!("{PREDICT} --data bad.png")).refused(1, &["cannot read bad.png"]);
    // Weights from elsewhere do not know how bytes were normalized.
    let notes = user.read("run/last.safetensors");
    let text = String::from_utf8_lossy(&notes).replace("normalization", "n0rmalization");
    assert!(text.contains("n0rmalization"));
    let at = notes.windows(13).position(|part| part == b"normalization").expect("noted");
    let mut plain = notes.clone();
    plain[at + 1] = b'0';
    user.write("plain.safetensors", plain);
    user.blkc("predict net.blk --weights plain.safetensors --data 0.png")
        .refused(1, &["do not say how bytes are normalized", "npy:FILE"]);
}

#[test]
fn what_cannot_be_predicted_is_named() {
    let user = User::new();
    user.blkc(TRAIN).good();
    user.blkc("predict net.blk --data csv:points.csv").refused(2, &["--weights"]);
    user.blkc(PREDICT).refused(2, &["no data to look at"]);
    user.blkc(&format!("{PREDICT} --data csv:points.csv -o p.txt")).refused(2, &["p.txt", ".csv, .jsonl"]);
    user.blkc(&format!("{PREDICT} --data csv:points.csv --threads 0")).refused(2, &["at least one thread"]);
    user.blkc(&format!("{PREDICT} --data csv:points.csv -o none/p.csv"))
        .refused(1, &["cannot write none/p.csv"]);
    user.blkc(&format!("{PREDICT} --data npy:none.npy")).refused(1, &["cannot read none.npy"]);
    user.blkc(&format!("{PREDICT} --data a.png points.csv")).refused(2, &["`points.csv` is no image"]);
    user.blkc(&format!("{PREDICT} --data a.png")).refused(1, &["takes samples of [2]", "npy:FILE"]);
    user.blkc("predict net.blk --weights none.safetensors").refused(1, &["cannot read none.safetensors"]);
    let write = |array: ArrayD<f32>| write_npy(user.path("x.npy"), &array).expect("written");
    write(ArrayD::zeros(vec![4, 3]));
    user.blkc(&format!("{PREDICT} --data npy:x.npy")).refused(1, &["shape [4, 3]", "samples of [2]"]);
    write(ArrayD::from_elem(vec![4, 2], f32::NAN));
    user.blkc(&format!("{PREDICT} --data npy:x.npy")).refused(1, &["sample 0", "not finite"]);
    write_npy(user.path("x.npy"), &ArrayD::<i16>::zeros(vec![4, 2])).expect("written");
    user.blkc(&format!("{PREDICT} --data npy:x.npy")).refused(1, &["float32, float64 or uint8"]);
}
