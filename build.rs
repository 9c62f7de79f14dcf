//! Builds the runtime as a static library and packs it into the compiler, so that `blkc build` can link native
//! trainers away from this checkout. `BLK_RUNTIMES` in the environment names further targets of Rust (their triples,
//! separated by spaces) for which `blkc build --target-cpu` is to link trainers too.

use std::env;
use std::fmt::Write;
use std::fs::{self, File};
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
    println!("cargo::rerun-if-env-changed={FURTHER}");
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets OUT_DIR"));
    // Beside the profiles' folders, so that debug and release builds share it.
    let target_dir = out.ancestors().nth(4).unwrap_or(&out).join("trainer");
    let further = env::var(FURTHER).unwrap_or_default();
    let own = env::var("TARGET").expect("cargo sets TARGET");
    let others = further.split_whitespace().filter(|target| *target != own);
    let targets = std::iter::once(own.as_str()).chain(others);
    let mut table = String::from("static PACKED: &[(&str, &[u8])] = &[\n");
    for target in targets {
        let packed = out.join(format!("runtime-{target}.a.gz"));
        pack(&build_runtime(&target_dir, target), &packed).expect("the build folder is writable");
        let architecture = target.split('-').next().unwrap_or_default();
        let _ = writeln!(table, "    ({architecture:?}, include_bytes!({packed:?})),");
    }
    table.push_str("];\n");
    fs::write(out.join("runtimes.rs"), table).expect("the build folder is writable");
}

/// The variable with further targets.
const FURTHER: &str = "BLK_RUNTIMES";

/// Compiles `runtime` with its own target folder: the outer cargo holds the lock of the usual one.
fn build_runtime(target_dir: &Path, target: &str) -> PathBuf {
    let cargo = env::var_os("CARGO").expect("cargo sets CARGO");
    let features = if cfg!(feature = "mpi") { "trainer,mpi" } else { "trainer" };
    let mut command = Command::new(cargo);
    command
        .args(["rustc", "--package", "blk-runtime", "--lib", "--crate-type", "staticlib"])
        .args(["--profile", "trainer", "--features", features, "--target", target, "--target-dir"])
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
