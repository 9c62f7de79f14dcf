//! Words on the two streams: results on stdout, everything else on stderr. A reader who has gone away is no error; a
//! result that cannot be written is one.

use std::fmt::Display;
use std::io::{self, ErrorKind, Write};

use super::Outcome;

/// A result, as it is.
pub fn result(text: impl Display) -> Outcome {
    let mut stdout = io::stdout().lock();
    match write!(stdout, "{text}").and_then(|()| stdout.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            Err(format!("cannot write to stdout: {error}").into())
        }
        _ => Ok(()),
    }
}

/// A line of progress or a diagnostic.
pub fn note(line: impl Display) {
    // Nobody listens: no reason to end.
    let _ = writeln!(io::stderr(), "{line}");
}
