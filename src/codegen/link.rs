//! Links object code with the runtime by the system's C compiler driver.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

/// What the linker makes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Output {
    /// A native trainer.
    Executable,
    /// A shared library with the level functions.
    Library,
}

/// Writes `object` and the static library `runtime` (its bytes; may be empty for a library) into a folder of their
/// own and links them into the file `to`. An error says what is missing on the system, or repeats the linker's words.
pub fn link(object: &[u8], runtime: &[u8], output: Output, to: &Path) -> Result<(), String> {
    let folder = Folder::new()?;
    let object = folder.write("code.o", object)?;
    let mut command = Command::new(driver());
    command.arg(&object);
    if !runtime.is_empty() {
        command.arg(folder.write("libblk_runtime.a", runtime)?);
    }
    command.args(flags(output)).arg("-o").arg(to);
    let result = command.output().map_err(|error| {
        let driver = driver();
        let driver = driver.to_string_lossy();
        format!("cannot run the C compiler driver `{driver}` that links ({error}); install gcc or clang, or set CC")
    })?;
    if result.status.success() {
        return Ok(());
    }
    Err(format!("the linker failed:\n{}", String::from_utf8_lossy(&result.stderr)))
}

fn driver() -> OsString {
    std::env::var_os("CC").filter(|name| !name.is_empty()).unwrap_or_else(|| "cc".into())
}

fn flags(output: Output) -> Vec<&'static str> {
    let mut flags = match output {
        Output::Executable => vec!["-static-libgcc", "-Wl,--gc-sections", "-Wl,-s"],
        Output::Library => vec!["-shared"],
    };
    flags.extend(["-lm", "-lpthread", "-ldl"]);
    flags
}

/// A temporary folder that goes away with this value.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Result<Folder, String> {
        static COUNT: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(0);
        let number = COUNT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("blkc-{}-{number}", std::process::id()));
        std::fs::create_dir(&path).map_err(|error| format!("cannot create {}: {error}", path.display()))?;
        Ok(Folder(path))
    }

    fn write(&self, name: &str, bytes: &[u8]) -> Result<PathBuf, String> {
        let path = self.0.join(name);
        std::fs::write(&path, bytes).map_err(|error| format!("cannot write {}: {error}", path.display()))?;
        Ok(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // What cannot be removed stays in the system's temporary folder, which is cleaned up anyway.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
