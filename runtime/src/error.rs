//! Errors that a person reads: what is wrong, and how to mend it.

use std::fmt;
use std::path::Path;

/// What went wrong in one sentence, with the cure where one is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    pub message: String,
    pub help: Option<String>,
    /// The command line is at fault, not the data or the program.
    pub usage: bool,
}

impl Error {
    pub fn new(message: impl Into<String>) -> Self {
        Error { message: message.into(), help: None, usage: false }
    }

    /// An error of the command line.
    pub fn usage(message: impl Into<String>) -> Self {
        Error { usage: true, ..Error::new(message) }
    }

    /// An operation on a file that the system refused.
    pub fn file(action: &str, path: &Path, cause: impl fmt::Display) -> Self {
        Error::new(format!("cannot {action} {}: {cause}", path.display()))
    }

    pub fn with_help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// Exit status of a process that ends by this error: 2 for the command line, else 1.
    pub fn exit_code(&self) -> u8 {
        if self.usage { 2 } else { 1 }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "{}", self.message)?;
        match &self.help {
            Some(help) => write!(f, "\n  help: {help}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for Error {}

/// `an error`, `two errors`: a count with its noun, for messages.
pub(crate) fn counted(count: usize, noun: &str) -> String {
    if count == 1 { format!("1 {noun}") } else { format!("{count} {noun}s") }
}

/// Extents as the language writes them: `[8, 8]`.
pub(crate) fn shape_text(shape: &[usize]) -> String {
    format!("{shape:?}")
}
