//! `inspect`: its numbers against independent automatic differentiation, what it writes, and how it refuses.

use std::collections::HashMap;
use std::path::Path;

use ndarray::{Array1, ArrayD, Ix2, IxDyn};
use ndarray_npy::{NpzReader, read_npy, write_npy};
use serde_json::Value;

use crate::user::{User, keys, names};

const TOLERANCE: f64 = 1e-9;

/// One case of `tests/fixtures/oracle`.
struct Case {
    name: String,
    json: Value,
    arrays: HashMap<String, ArrayD<f64>>,
}

fn folder() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/oracle"))
}

fn array(json: &Value) -> ArrayD<f64> {
    let list = |value: &Value| value.as_array().expect("a list").clone();
    let shape: Vec<usize> =
        list(&json["shape"]).iter().map(|n| n.as_u64().expect("an extent") as usize).collect();
    let entries = list(&json["data"]).iter().map(|x| x.as_f64().expect("a number")).collect();
    ArrayD::from_shape_vec(IxDyn(&shape), entries).expect("as many entries as the shape has")
}

impl Case {
    fn read(name: &str) -> Case {
        let text = std::fs::read_to_string(folder().join(format!("{name}.json"))).expect("a fixture");
        let file = std::fs::File::open(folder().join(format!("hessians/{name}.npz"))).expect("its Hessians");
        let mut reader = NpzReader::new(file).expect("an archive");
        let names = reader.names().expect("names");
        let array =
            |name: &String| (name.trim_end_matches(".npy").to_string(), reader.by_name(name).expect("f64"));
        let arrays = names.iter().map(array).collect();
        Case { name: name.into(), json: serde_json::from_str(&text).expect("JSON"), arrays }
    }

    fn all() -> Vec<Case> {
        let mut files = names(&folder().join("hessians"));
        files.retain(|file| file.ends_with(".npz"));
        assert!(files.len() >= 20, "the fixtures are there");
        files.iter().map(|file| Case::read(file.trim_end_matches(".npz"))).collect()
    }

    /// Weights under the program's names: both sides list a block's parameters as they are declared.
    fn write(&self, user: &User) -> Vec<String> {
        let source = std::fs::read_to_string(folder().join(format!("{}.blk", self.name))).expect("a program");
        user.write("case.blk", source);
        let blocks = user.blkc("summary case.blk --format json").good().json()["blocks"].clone();
        let theirs = self.json["blocks"]
            .as_array()
            .expect("blocks")
            .iter()
            .flat_map(|b| b["params"].as_array().expect("params"));
        let ours = blocks
            .as_array()
            .expect("blocks")
            .iter()
            .flat_map(|b| b["parameters"].as_array().expect("parameters"));
        let mut tensors = Vec::new();
        for (ours, theirs) in ours.zip(theirs) {
            let values = array(&self.json["params"][theirs["name"].as_str().expect("a name")]);
            tensors.push((ours["name"].as_str().expect("a name").to_string(), values));
        }
        write_weights(&user.path("w.safetensors"), &tensors);
        write_npy(user.path("x.npy"), &array(&self.json["z0"])).expect("written");
        write_npy(user.path("y.npy"), &array(&self.json["target"])).expect("written");
        tensors.into_iter().map(|tensor| tensor.0).collect()
    }

    /// The lower half of a symmetric matrix, both halves.
    fn hessian(&self, which: &str, form: &str) -> ArrayD<f64> {
        let exact = self.arrays.get(&format!("{which}_{form}"));
        let half = exact.unwrap_or_else(|| &self.arrays[&format!("{which}_gn")]);
        let half = half.view().into_dimensionality::<Ix2>().expect("a matrix");
        let mut whole = &half + &half.t();
        whole.diag_mut().zip_mut_with(&half.diag(), |entry, own| *entry = *own);
        whole.into_dyn()
    }
}

fn write_weights(path: &Path, tensors: &[(String, ArrayD<f64>)]) {
    let bytes: Vec<Vec<u8>> =
        tensors.iter().map(|(_, values)| values.iter().flat_map(|x| x.to_le_bytes()).collect()).collect();
    let views = tensors.iter().zip(&bytes).map(|((name, values), bytes)| {
        let view =
            safetensors::tensor::TensorView::new(safetensors::Dtype::F64, values.shape().to_vec(), bytes);
        (name.clone(), view.expect("as many bytes as the shape has"))
    });
    safetensors::serialize_to_file(views, None, path).expect("written");
}

/// Relative to the largest entry of what is expected.
#[track_caller]
fn agree(what: &str, found: &ArrayD<f64>, expected: &ArrayD<f64>) {
    assert_eq!(found.len(), expected.len(), "{what}");
    let scale = expected.iter().fold(1e-12_f64, |largest, x| largest.max(x.abs()));
    let error = found.iter().zip(expected).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max) / scale;
    assert!(error <= TOLERANCE, "{what}: {error}");
}

fn one(value: &Value) -> ArrayD<f64> {
    ArrayD::from_elem(IxDyn(&[]), value.as_f64().unwrap_or_else(|| panic!("{value} is a number")))
}

fn list(value: &Value) -> ArrayD<f64> {
    let entries: Vec<f64> =
        value.as_array().expect("a list").iter().map(|x| x.as_f64().expect("a number")).collect();
    ArrayD::from_shape_vec(IxDyn(&[entries.len()]), entries).expect("a list")
}

/// Every array and scalar of every case, to nine digits.
#[test]
fn numbers_agree_with_automatic_differentiation() {
    for case in Case::all() {
        let user = User::new();
        let parameters = case.write(&user);
        let result = user
            .blkc("inspect case.blk --weights w.safetensors --input x.npy --target y.npy --dump out --format json")
            .good();
        let json = result.json();
        assert_eq!(json, serde_json::from_str::<Value>(&user.text("out/scalars.json")).expect("JSON"));
        agree(&case.name, &one(&json["loss"]), &one(&case.json["loss"]));
        for (i, block) in json["blocks"].as_array().expect("blocks").iter().enumerate() {
            block_agrees(&case, &user, i + 1, block);
        }
        let theirs = case.json["blocks"]
            .as_array()
            .expect("blocks")
            .iter()
            .flat_map(|b| b["params"].as_array().expect("params"));
        // Together: that of a bias in front of a normalization is rounding.
        let (mut found, mut expected) = (Vec::new(), Vec::new());
        for (ours, theirs) in parameters.iter().zip(theirs) {
            let reference = array(&case.json["grads"][theirs["name"].as_str().expect("a name")]);
            let gradient = dumped(&user, &format!("grad.{ours}"));
            assert_eq!(gradient.shape(), reference.shape(), "{} {ours}", case.name);
            found.extend(gradient);
            expected.extend(reference);
        }
        let flat = |entries: Vec<f64>| Array1::from(entries).into_dyn();
        agree(&format!("{} gradients", case.name), &flat(found), &flat(expected));
    }
}

fn dumped(user: &User, name: &str) -> ArrayD<f64> {
    read_npy(user.path(&format!("out/{name}.npy"))).unwrap_or_else(|error| panic!("{name}: {error}"))
}

fn block_agrees(case: &Case, user: &User, b: usize, block: &Value) {
    let name = block["name"].as_str().expect("a name");
    let what = |part: &str| format!("{} {name}.{part}", case.name);
    let check = |part: &str, expected: &ArrayD<f64>| {
        let found = dumped(user, &format!("{name}.{part}"));
        assert_eq!(found.shape(), expected.shape(), "{}", what(part));
        agree(&what(part), &found, expected);
    };
    let z = &case.arrays[&format!("z{b}")];
    let gradient = array(&case.json[format!("gz{b}")]);
    check("z", z);
    check("grad_z", &gradient);
    check("target_z", &(z - &gradient));
    for (letter, short) in [("z", "z"), ("W", "W")] {
        let Some(jacobian) = case.arrays.get(&format!("J{short}{b}")).filter(|j| !j.is_empty()) else {
            continue;
        };
        check(&format!("J_{letter}"), jacobian);
        for (form, theirs) in [("gauss-newton", "gn"), ("exact", "exact")] {
            check(&format!("H_{letter}.{form}"), &case.hessian(&format!("H{short}{b}"), theirs));
            let eigenvalues = &case.arrays[&format!("eig_H{short}{b}_{theirs}")];
            let found = &block[format!("H_{letter}")][form];
            agree(&what("spectrum"), &list(&found["eigenvalues"]), eigenvalues);
            let total = ArrayD::from_elem(IxDyn(&[]), eigenvalues.sum());
            agree(&what("trace"), &one(&found["trace"]), &total);
            agree(&what("mean"), &one(&found["mean"]), &(total / eigenvalues.len() as f64));
        }
        let paper = case.arrays.get(&format!("paper_H{short}{b}"));
        let file = format!("out/{name}.H_{letter}.paper.npy");
        assert_eq!(user.path(&file).exists(), paper.is_some(), "{file}");
        paper.iter().for_each(|paper| check(&format!("H_{letter}.paper"), paper));
    }
    if let Some(m_z) = case.arrays.get(&format!("paper_m_z{b}")) {
        agree(&what("m_z"), &one(&block["m_z"]["paper"]), m_z);
    }
    if let Some(m_w) = case.arrays.get(&format!("paper_m_W{b}")) {
        let weight = block["parameters"][0]["name"].as_str().expect("a name");
        agree(&what("m_W"), &one(&block["m_W"][weight]["paper"]), m_w);
    }
}

const NORMALIZED: &str = "\
network wide(x: f32[6]) -> class[3] {
    x |> block a { dense(8) |> batch_norm |> relu }
    |> block b { residual(dense(8, bias = true) |> tanh) }
    |> block out { dense(3, bias = true) }
    |> cross_entropy
}
train wide { batch = 12, seed = 5, optimizer = sgd(lr = 0.1) }
";

#[test]
fn the_report_reads_as_it_should() {
    let user = User::new();
    user.write("wide.blk", NORMALIZED);
    let result = user.blkc("inspect wide.blk").good();
    assert!(
        result.stderr.contains("standard normal samples with random targets (seed 5)"),
        "{}",
        result.stderr
    );
    insta::assert_snapshot!(result.stdout);
}

#[test]
fn json_has_what_the_documents_say() {
    let user = User::new();
    user.write("wide.blk", NORMALIZED);
    let json = user.blkc("inspect wide.blk --format json").good().json();
    assert_eq!(keys(&json), ["batch", "blocks", "data", "loss", "network", "seed", "verdict", "weights"]);
    let block = &json["blocks"][0];
    let expected = [
        "H_W",
        "H_z",
        "global",
        "input_size",
        "m",
        "m_W",
        "m_z",
        "marchenko_pastur",
        "name",
        "output_size",
        "parameters",
        "skip",
    ];
    assert_eq!(keys(block), expected);
    assert_eq!(keys(&block["H_z"]), ["exact", "gauss-newton", "paper"]);
    assert_eq!(keys(&block["m_z"]), ["analytic", "measured", "paper", "trace"]);
    assert_eq!(block["H_W"]["gauss-newton"]["dim"], 64);
    assert_eq!(block["H_z"]["gauss-newton"]["condition"], "inf");
    assert_eq!(json["blocks"][1]["skip"]["shortcut"], "identity");
    let ranked = json["verdict"].as_array().expect("a list");
    assert_eq!(ranked.len(), 2, "all blocks but the first");
    assert!(ranked[0]["decades"].as_f64() >= ranked[1]["decades"].as_f64());
    let same = user.blkc("inspect wide.blk --format json").good().json();
    assert!(json == same, "the same seed gives the same numbers");
}

#[test]
fn one_block_and_one_form_can_be_asked_for() {
    let user = User::new();
    user.write("wide.blk", NORMALIZED);
    let json = user.blkc("inspect wide.blk --block b --form exact --dump out --format json").good().json();
    assert_eq!(json["blocks"].as_array().expect("a list").len(), 1);
    assert_eq!(keys(&json["blocks"][0]["H_W"]), ["exact"]);
    let written = names(&user.path("out"));
    assert!(written.contains(&"b.H_W.exact.npy".to_string()) && written.contains(&"b.z.npy".to_string()));
    assert!(
        written.iter().all(|name| !name.contains("gauss-newton") && !name.starts_with("a.")),
        "{written:?}"
    );
    let paper = user.blkc("inspect wide.blk --block b --form paper").good().stdout;
    assert!(paper.contains("the paper gives no form"), "{paper}");
}

#[test]
fn html_stands_alone() {
    let user = User::new();
    user.write("wide.blk", NORMALIZED);
    let page = user.blkc("inspect wide.blk --format html").good().stdout;
    assert!(
        page.starts_with("<!doctype html>") && page.contains("<svg") && page.contains("prefers-color-scheme")
    );
    for outside in ["http://", "https://", "src=", "<script", "NaN", "url("] {
        assert!(!page.contains(outside), "{outside}");
    }
    for tag in ["section", "table", "svg", "figure", "tr", "ol"] {
        let count = |text: &str| page.matches(text).count();
        let opened = count(&format!("<{tag}>")) + count(&format!("<{tag} "));
        assert_eq!(opened, count(&format!("</{tag}>")), "{tag}");
    }
}

#[test]
fn weights_of_a_run_and_its_data_are_taken() {
    let user = User::new();
    user.blkc("train net.blk --data csv:points.csv --out run --steps 8").good();
    let at = "--data csv:points.csv --block out --format json";
    let trained = user.blkc(&format!("inspect net.blk --weights run/last.safetensors {at}")).good().json();
    let initial = user.blkc(&format!("inspect net.blk {at}")).good().json();
    assert!(trained["loss"].as_f64() < initial["loss"].as_f64());
    assert_eq!(trained["data"], "the first 8 training samples of csv:points.csv");
    let other = user.blkc(&format!("inspect net.blk --seed 4 {at}")).good().json();
    assert_ne!(other["loss"], initial["loss"]);
}

#[test]
fn what_does_not_fit_is_refused() {
    let user = User::new();
    let samples = |rows: usize, columns: usize| ArrayD::<f64>::ones(IxDyn(&[rows, columns]));
    write_npy(user.path("x.npy"), &samples(5, 2)).expect("written");
    write_npy(user.path("wide.npy"), &samples(5, 3)).expect("written");
    write_npy(user.path("nan.npy"), &(samples(5, 2) * f64::NAN)).expect("written");
    write_npy(user.path("none.npy"), &samples(0, 2)).expect("written");
    write_npy(user.path("y.npy"), &ArrayD::<i64>::ones(IxDyn(&[5]))).expect("written");
    write_npy(user.path("y4.npy"), &ArrayD::<i64>::ones(IxDyn(&[4]))).expect("written");
    write_npy(user.path("y9.npy"), &(ArrayD::<i64>::ones(IxDyn(&[5])) * 9)).expect("written");
    user.write("text.npy", "no array");
    let inspect = |options: &str| user.blkc(&format!("inspect net.blk {options}"));
    inspect("--input x.npy").refused(2, &["--target"]);
    inspect("--input x.npy --target y.npy --data digits").refused(2, &["--data"]);
    inspect("--input x.npy --target y.npy --batch 4").refused(2, &["--batch 4", "5 samples"]);
    inspect("--input wide.npy --target y.npy").refused(1, &["wide.npy", "[5, 3]", "[5, 2]"]);
    inspect("--input x.npy --target y4.npy").refused(1, &["y4.npy has 4 targets for 5 samples"]);
    inspect("--input x.npy --target y9.npy").refused(1, &["y9.npy: row 0 holds 9", "from 0 to 1"]);
    inspect("--input nan.npy --target y.npy").refused(1, &["nan.npy: entry 0 is not a finite number"]);
    inspect("--input none.npy --target y.npy").refused(1, &["none.npy", "no samples"]);
    inspect("--input text.npy --target y.npy").refused(1, &["cannot read text.npy"]);
    inspect("--input absent.npy --target y.npy").refused(1, &["cannot read absent.npy"]);
    inspect("--data csv:absent.csv").refused(1, &["absent.csv"]);
    inspect("--data csv:points.csv --batch 65").refused(1, &["fewer than the batch of 65", "--batch"]);
    inspect("--block h9").refused(1, &["no block `h9`", "h, out"]);
    inspect("--form hessian").refused(2, &["gauss-newton", "exact", "paper"]);
    inspect("--dump net.blk").refused(1, &["net.blk", "not a folder"]);
    inspect("--dump /proc/nowhere").refused(1, &["cannot create /proc/nowhere"]);
}

#[test]
fn weights_that_do_not_fit_are_refused() {
    let user = User::new();
    let tensor =
        |name: &str, shape: &[usize], value: f64| (name.to_string(), ArrayD::from_elem(IxDyn(shape), value));
    let good = |value: f64| {
        vec![
            tensor("h.dense.W", &[8, 2], value),
            tensor("h.dense.b", &[8], 0.0),
            tensor("out.dense.W", &[2, 8], value),
            tensor("out.dense.b", &[2], 0.0),
        ]
    };
    let with = |tensors: &[(String, ArrayD<f64>)]| {
        write_weights(&user.path("w.safetensors"), tensors);
        user.blkc("inspect net.blk --weights w.safetensors --data csv:points.csv")
    };
    with(&good(0.5)).good();
    with(&good(0.5)[1..]).refused(1, &["w.safetensors lacks h.dense.W"]);
    let mut misshapen = good(0.5);
    misshapen[0] = tensor("h.dense.W", &[2, 8], 0.5);
    with(&misshapen).refused(1, &["h.dense.W has shape [2, 8], not [8, 2]"]);
    with(&[good(0.5), vec![tensor("more", &[1], 0.0)]].concat()).refused(1, &["holds more"]);
    with(&good(f64::INFINITY)).refused(1, &["not finite at entry 0"]);
    user.write("w.safetensors", "no weights");
    user.blkc("inspect net.blk --weights w.safetensors").refused(1, &["w.safetensors is damaged"]);
    user.blkc("inspect net.blk --weights absent").refused(1, &["cannot read absent"]);
}

#[test]
fn an_evaluation_that_overflows_is_told() {
    let user = User::new();
    user.write(
        "steep.blk",
        "network steep(x: f32[2]) -> f32[1] { x |> block a { dense(3) } |> block b { dense(1) } |> squared_error }\n",
    );
    let huge = |name: &str, shape: &[usize]| (name.to_string(), ArrayD::from_elem(IxDyn(shape), 1e200));
    write_weights(&user.path("w.safetensors"), &[huge("a.dense.W", &[3, 2]), huge("b.dense.W", &[1, 3])]);
    user.blkc("inspect steep.blk --batch 4 --weights w.safetensors --format json")
        .refused(1, &["not finite", "output of block `b`"]);
}
