//! From source text to typed networks: shapes, names, updates, and the numbers that evaluation gives.

use blkc::driver::{Front, FrontOptions, front};
use blkc::ir::{Network, print, verify};
use blkc::source::{DiskLoader, MemoryLoader};

/// The front end on one text.
fn program(text: &str) -> Front {
    let loader = MemoryLoader([("test.blk".to_string(), text.to_string())].into());
    front("test.blk", &loader, &FrontOptions::default())
}

fn messages(front: &Front) -> Vec<String> {
    let text = |diagnostic: &blkc::diag::Diagnostic| format!("{} {}", diagnostic.code, diagnostic.message);
    front.diagnostics.iter().map(text).collect()
}

/// The one network of a program without mistakes.
fn network(text: &str) -> Network {
    let front = program(text);
    assert_eq!(messages(&front), Vec::<String>::new());
    assert_eq!(front.networks.len(), 1);
    front.networks.into_iter().next().expect("one network")
}

#[test]
fn examples_elaborate() {
    for file in std::fs::read_dir("examples").expect("the examples' folder") {
        let path = file.expect("an entry").path();
        if path.extension().is_some_and(|extension| extension == "blk") {
            let path = path.to_string_lossy();
            let front = front(&path, &DiskLoader, &FrontOptions::default());
            assert_eq!(messages(&front), Vec::<String>::new(), "{path}");
            assert!(!front.networks.is_empty(), "{path}");
            front.networks.iter().for_each(|network| verify::verify(network).expect("a sound network"));
        }
    }
}

#[test]
fn digits_has_the_expected_parts() {
    let front = front("examples/digits.blk", &DiskLoader, &FrontOptions::default());
    let network = &front.networks[0];
    let names: Vec<&str> = network.params.iter().map(|param| param.name.as_str()).collect();
    assert_eq!(names[..3], ["h1.dense.W", "h1.batch_norm.gamma", "h1.batch_norm.beta"]);
    assert_eq!(names[6..], ["out.dense.W", "out.dense.b"]);
    let training = network.training.as_ref().expect("a training plan");
    assert_eq!(training.updates.len(), network.params.len());
    println!("{}", print::print(network));
}
