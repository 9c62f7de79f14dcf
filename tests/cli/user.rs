//! Somebody with a shell in a folder of their own.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use tempfile::TempDir;

/// Two classes told apart by two numbers: compiles in a moment, learns in a few steps.
pub const NET: &str = "\
network small(x: f32[2]) -> class[2] {
    x |> block h { dense(8, bias = true) |> tanh } |> block out { dense(2, bias = true) } |> cross_entropy
}
train small { batch = 8, epochs = 3, seed = 3, optimizer = sgd(lr = 0.5, momentum = 0.5) }
";

pub struct User {
    folder: TempDir,
}

/// What a command came to.
pub struct Result {
    pub status: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl User {
    /// In a folder with `net.blk` (see [`NET`]) and `points.csv`.
    pub fn new() -> Self {
        let user = User { folder: tempfile::tempdir().expect("a folder") };
        user.write("net.blk", NET);
        user.write("points.csv", points(64));
        user
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        fs::write(self.path(name), content).expect("written");
    }

    pub fn read(&self, name: &str) -> Vec<u8> {
        let path = self.path(name);
        fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    }

    pub fn text(&self, name: &str) -> String {
        String::from_utf8(self.read(name)).expect("UTF-8")
    }

    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new(program);
        command.current_dir(self.folder.path()).stdin(Stdio::null());
        command
    }

    /// Runs `blkc` with arguments as a shell would split them.
    pub fn blkc(&self, arguments: &str) -> Result {
        finish(self.command(env!("CARGO_BIN_EXE_blkc")).args(arguments.split_whitespace()))
    }

    /// Runs a program of the folder.
    pub fn run(&self, program: &str, arguments: &str) -> Result {
        finish(self.command(self.path(program)).args(arguments.split_whitespace()))
    }
}

pub fn finish(command: &mut Command) -> Result {
    let Output { status, stdout, stderr } = command.output().expect("the program starts");
    let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
    Result { status: status.code(), stdout: text(stdout), stderr: text(stderr) }
}

impl Result {
    /// Exit status 0.
    #[track_caller]
    pub fn good(self) -> Self {
        assert_eq!(self.status, Some(0), "{}{}", self.stdout, self.stderr);
        self
    }

    /// Refused with this status, nothing on stdout, and each of these parts on stderr.
    #[track_caller]
    pub fn refused(self, status: i32, parts: &[&str]) {
        assert_eq!(self.status, Some(status), "{}{}", self.stdout, self.stderr);
        assert_eq!(self.stdout, "", "{}", self.stderr);
        for part in parts {
            assert!(self.stderr.contains(part), "no `{part}` in: {}", self.stderr);
        }
        assert!(!self.stderr.contains("panicked"), "{}", self.stderr);
    }

    #[track_caller]
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error}: {}", self.stdout))
    }
}

/// A CSV of points that a line separates.
pub fn points(count: usize) -> String {
    let row = |i: usize| {
        let class = i % 2;
        let (x, y) = ((i * 7 % 13) as f64 / 13.0, (i * 5 % 11) as f64 / 11.0);
        format!("{:.4},{:.4},{class}\n", x + 1.5 * class as f64, y - class as f64)
    };
    (0..count).map(row).collect()
}

/// Names of the files in a folder, sorted.
pub fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).expect("a folder");
    let mut names: Vec<String> =
        entries.map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

/// The keys of a JSON object, sorted.
pub fn keys(value: &serde_json::Value) -> Vec<&str> {
    let mut keys: Vec<&str> = value.as_object().expect("an object").keys().map(String::as_str).collect();
    keys.sort_unstable();
    keys
}

/// The rows of a `metrics.jsonl`.
pub fn rows(text: &str) -> Vec<serde_json::Value> {
    text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
}
