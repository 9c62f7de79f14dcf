//! Source texts, positions in them, and the one trait through which files are read.

use std::collections::HashMap;
use std::sync::Arc;

/// A source file known to this run.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct FileId(pub u32);

/// Bytes `start..end` of a file.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Span {
    pub file: FileId,
    pub start: u32,
    pub end: u32,
}

impl Span {
    pub fn new(file: FileId, start: usize, end: usize) -> Self {
        Span { file, start: start as u32, end: end as u32 }
    }

    /// The smallest span that covers both; both lie in one file.
    pub fn to(self, other: Span) -> Self {
        Span { file: self.file, start: self.start.min(other.start), end: self.end.max(other.end) }
    }
}

/// One source text with the name that diagnostics show (`examples/digits.blk`, `std/nn.blk`).
#[derive(Clone, Debug)]
pub struct SourceFile {
    pub name: String,
    pub text: Arc<str>,
}

/// All files of a run; append-only.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    files: Vec<SourceFile>,
    by_name: HashMap<String, FileId>,
}

impl Sources {
    /// Adds a text, or returns the file that already has this name. A byte order mark is no part of the text.
    pub fn add(&mut self, name: &str, text: &str) -> FileId {
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        if let Some(&known) = self.by_name.get(name) {
            return known;
        }
        let id = FileId(self.files.len() as u32);
        self.files.push(SourceFile { name: name.into(), text: text.into() });
        self.by_name.insert(name.into(), id);
        id
    }

    pub fn file(&self, id: FileId) -> &SourceFile {
        &self.files[id.0 as usize]
    }

    pub fn find(&self, name: &str) -> Option<FileId> {
        self.by_name.get(name).copied()
    }

    pub fn text(&self, span: Span) -> &str {
        &self.file(span.file).text[span.start as usize..span.end as usize]
    }
}

/// Where imported files come from: the disk in the tool, memory in the tests.
pub trait Loader: Sync {
    /// The text of `path`, or why it cannot be had, in words for the user.
    fn load(&self, path: &str) -> Result<String, String>;
}

/// Reads from the file system. Refuses what is too large to be a program.
pub struct DiskLoader;

/// Programs are text written by people; more than this is a mistake in the path.
const LARGEST_SOURCE: u64 = 8 << 20;

impl Loader for DiskLoader {
    fn load(&self, path: &str) -> Result<String, String> {
        let size = std::fs::metadata(path).map_err(|error| error.to_string())?.len();
        if size > LARGEST_SOURCE {
            return Err(format!("{size} bytes is too large for a program (at most {LARGEST_SOURCE})"));
        }
        let bytes = std::fs::read(path).map_err(|error| error.to_string())?;
        String::from_utf8(bytes).map_err(|_| "not UTF-8 text".into())
    }
}

/// A loader over named texts.
#[derive(Default)]
pub struct MemoryLoader(pub HashMap<String, String>);

impl Loader for MemoryLoader {
    fn load(&self, path: &str) -> Result<String, String> {
        self.0.get(path).cloned().ok_or_else(|| "no such file".into())
    }
}

#[cfg(test)]
mod tests {
    use super::Sources;

    #[test]
    fn a_byte_order_mark_is_no_text() {
        let mut sources = Sources::default();
        let file = sources.add("a.blk", "\u{feff}fn f(t) = t");
        assert_eq!(&*sources.file(file).text, "fn f(t) = t");
    }
}
