//! The same training in PyTorch and here; skipped, aloud, where PyTorch is not installed.

use std::process::Command;

/// What `compare.py` returns when PyTorch is missing.
const MISSING: i32 = 77;

#[test]
fn training_agrees_with_pytorch() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/peers/compare.py");
    let Ok(output) =
        Command::new("python3").arg(script).arg(env!("CARGO_BIN_EXE_blkc")).arg(folder.path()).output()
    else {
        eprintln!("skipped: no python3");
        return;
    };
    if output.status.code() == Some(MISSING) {
        eprintln!("skipped: PyTorch is not installed");
        return;
    }
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}
