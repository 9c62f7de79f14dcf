//! Links object code with the runtime by the system's C compiler driver.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::target::Target;

/// What the linker makes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Output {
    /// A native trainer.
    Executable,
    /// A shared library with these functions of the runtime, and no other symbols where there are some.
    Shared(&'static [&'static str]),
    /// A static library with these functions.
    Archive(&'static [&'static str]),
}

/// The programs that link for an architecture.
pub struct Tools {
    /// `aarch64-linux-gnu-` for another architecture than this one, as Debian and most cross toolchains name them.
    prefix: String,
    cure: String,
}

impl Tools {
    pub fn of(target: &Target) -> Tools {
        let architecture = target.architecture();
        if target.is_own_architecture() {
            return Tools { prefix: String::new(), cure: "install gcc or clang, or set CC".into() };
        }
        let cure =
            format!("install a cross compiler (gcc-{}-linux-gnu), or set CC", architecture.replace('_', "-"));
        Tools { prefix: format!("{architecture}-linux-gnu-"), cure }
    }

    fn compiler(&self) -> Command {
        let name = if self.prefix.is_empty() { "cc" } else { "gcc" };
        Command::new(self.name("CC", name))
    }

    /// A trainer whose runtime calls MPI is linked by MPI's own compiler, which knows where its libraries lie.
    fn linker(&self, output: Output) -> Command {
        match output {
            Output::Executable if cfg!(feature = "mpi") => Command::new(self.name("MPICC", "mpicc")),
            _ => self.compiler(),
        }
    }

    /// What the variable says, else the usual name.
    fn name(&self, variable: &str, name: &str) -> OsString {
        let set = std::env::var_os(variable).filter(|name| !name.is_empty());
        set.unwrap_or_else(|| format!("{}{name}", self.prefix).into())
    }
}

/// Writes `object` and the static library `runtime` (its bytes; may be empty for a library) into a folder of their
/// own and links them into the file `to`. An error says what is missing on the system, or repeats the linker's words.
pub fn link(object: &[u8], runtime: &[u8], output: Output, tools: &Tools, to: &Path) -> Result<(), String> {
    let folder = Folder::new()?;
    let object = folder.write("code.o", object)?;
    if let Output::Archive(exports) = output {
        return archive(&folder, &object, runtime, exports, tools, to);
    }
    let mut command = tools.linker(output);
    command.arg(&object);
    if !runtime.is_empty() {
        command.arg(folder.write("libblk_runtime.a", runtime)?);
    }
    match output {
        Output::Executable => command.args(EXECUTABLE),
        Output::Shared(exports) => command.args(shared(&folder, exports)?),
        Output::Archive(_) => &mut command,
    };
    command.args(["-lm", "-lpthread", "-ldl"]).arg("-o").arg(to);
    run(command, "C compiler driver", &tools.cure)
}

/// The runtime's start gets the name that the C start-up code calls.
const EXECUTABLE: [&str; 5] =
    ["-static-libgcc", "-Wl,--gc-sections", "-Wl,-s", "-Wl,-u,blk_main", "-Wl,--defsym=main=blk_main"];

fn shared(folder: &Folder, exports: &[&str]) -> Result<Vec<OsString>, String> {
    let mut flags: Vec<OsString> = vec!["-shared".into()];
    if exports.is_empty() {
        return Ok(flags);
    }
    let script = format!("{{ global: {}; local: *; }};\n", exports.join("; "));
    let mut versions = OsString::from("-Wl,--version-script=");
    versions.push(folder.write("exports.map", script.as_bytes())?);
    flags.extend(["-static-libgcc".into(), "-Wl,--gc-sections".into(), "-Wl,-s".into(), versions]);
    flags.extend(wanted(exports));
    Ok(flags)
}

/// An archive of one object: what the exports need, and no other names that could meet those of the program it goes
/// into. (The runtime's own archive cannot just be added to: some archivers do not read the standard library's members.)
fn archive(
    folder: &Folder,
    object: &Path,
    runtime: &[u8],
    exports: &[&str],
    tools: &Tools,
    to: &Path,
) -> Result<(), String> {
    let (joined, named) = (folder.0.join("joined.o"), folder.0.join("network.o"));
    let mut join = tools.compiler();
    join.args(["-r", "-nostdlib", "-Wl,--gc-sections"]).args(wanted(exports)).arg(object);
    join.arg(folder.write("libblk_runtime.a", runtime)?).arg("-o").arg(&joined);
    run(join, "C compiler driver", &tools.cure)?;
    let mut hide = Command::new(tools.name("OBJCOPY", "objcopy"));
    hide.args(exports.iter().map(|name| format!("--keep-global-symbol={name}")));
    // The standard library's members carry their bitcode along.
    hide.args(["--remove-section=.llvmbc", "--remove-section=.llvmcmd", "--strip-debug"])
        .arg(&joined)
        .arg(&named);
    run(hide, "program", "install binutils, or set OBJCOPY")?;
    let packed = folder.0.join("network.a");
    let mut pack = Command::new(tools.name("AR", "ar"));
    pack.arg("rcs").arg(&packed).arg(&named);
    run(pack, "archiver", "install binutils, or set AR")?;
    std::fs::copy(&packed, to).map_err(|error| format!("cannot write {}: {error}", to.display()))?;
    Ok(())
}

/// Flags that make the linker take these names out of an archive.
fn wanted<'a>(exports: &'a [&str]) -> impl Iterator<Item = OsString> + 'a {
    exports.iter().map(|name| format!("-Wl,-u,{name}").into())
}

fn run(mut command: Command, what: &str, cure: &str) -> Result<(), String> {
    let result = command.output().map_err(|error| {
        let name = command.get_program().to_string_lossy();
        format!("cannot run the {what} `{name}` that links ({error}); {cure}")
    })?;
    if result.status.success() {
        return Ok(());
    }
    Err(format!("the linker failed:\n{}", String::from_utf8_lossy(&result.stderr)))
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
