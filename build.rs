//! Builds the runtime as a static library and packs it into the compiler, so that `blkc build` can link native
//! trainers away from this checkout.

use std::env;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use flate2::Compression;
use flate2::write::GzEncoder;

fn main() {
    for input in ["runtime/src", "runtime/build.rs", "runtime/Cargo.toml", "data", "Cargo.toml", "Cargo.lock"]
    {
        println!("cargo::rerun-if-changed={input}");
    }
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets OUT_DIR"));
    // Beside the profiles' folders, so that debug and release builds share it.
    let target_dir = out.ancestors().nth(4).unwrap_or(&out).join("trainer");
    let library = build_runtime(&target_dir);
    pack(&library, &out.join("runtime.a.gz")).expect("the build folder is writable");
}

/// Compiles `runtime` with its own target folder: the outer cargo holds the lock of the usual one.
fn build_runtime(target_dir: &Path) -> PathBuf {
    let cargo = env::var_os("CARGO").expect("cargo sets CARGO");
    let target = env::var("TARGET").expect("cargo sets TARGET");
    let features = if cfg!(feature = "mpi") { "trainer,mpi" } else { "trainer" };
    let mut command = Command::new(cargo);
    command
        .args(["rustc", "--package", "blk-runtime", "--lib", "--crate-type", "staticlib"])
        .args(["--profile", "trainer", "--features", features, "--target", &target, "--target-dir"])
        .arg(target_dir);
    // Flags of the outer build (coverage, sanitizers, lints) are not for the trainer.
    for variable in ["RUSTFLAGS", "CARGO_ENCODED_RUSTFLAGS", "RUSTC_WORKSPACE_WRAPPER", "RUSTC_WRAPPER"] {
        command.env_remove(variable);
    }
    let status = command.status().expect("cargo runs");
    assert!(status.success(), "the runtime did not compile as a static library");
    target_dir.join(target).join("trainer").join("libblk_runtime.a")
}

fn pack(library: &Path, packed: &Path) -> io::Result<()> {
    let mut encoder = GzEncoder::new(File::create(packed)?, Compression::default());
    io::copy(&mut File::open(library)?, &mut encoder)?;
    encoder.finish()?;
    Ok(())
}
