//! Ctrl-C and termination: the first asks a run to save and leave, the second ends the process at once.

use std::io::Write;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::ranks;

/// Exit status of a process that was interrupted, as shells have it.
pub const EXIT_CODE: u8 = 130;

static STOP: AtomicBool = AtomicBool::new(false);

/// A flag that is raised when the process is asked to end.
pub fn watch() -> &'static AtomicBool {
    static HANDLER: OnceLock<()> = OnceLock::new();
    HANDLER.get_or_init(|| {
        ignore_file_size_signal();
        // Where no handler can be set, an interrupt ends the process as it does by default.
        let _ = ctrlc::set_handler(|| {
            if STOP.swap(true, Ordering::SeqCst) {
                std::process::exit(i32::from(EXIT_CODE));
            }
            leave_the_dead();
        });
    });
    &STOP
}

/// Launchers ask the other ranks to end when one has died, and kill them a second later. A rank that waits for the dead one
/// does not come to ask for the signal: it ends here, with a word.
fn leave_the_dead() {
    const PATIENCE: Duration = Duration::from_millis(300);
    if ranks::count() == 1 {
        return;
    }
    let watch = || {
        // It may be taking its step, and begin to wait behind it.
        std::thread::sleep(PATIENCE);
        let waits = ranks::waits();
        std::thread::sleep(PATIENCE);
        if waits.is_some() && ranks::waits() == waits {
            let _ = writeln!(
                std::io::stderr(),
                "error: rank {} was told to end while it waited for the others: one of them may have died\n  \
                 help: a run with --out goes on from its last save by --resume",
                ranks::rank()
            );
            // SAFETY: ends the process, without the exit handlers of a library that would wait on.
            unsafe { libc::_exit(1) }
        }
    };
    // Without a thread the launcher ends it, without a word.
    let _ = std::thread::Builder::new().spawn(watch);
}

/// A write beyond the file-size limit then fails, as on a full disk, and does not end the process without a word.
#[cfg(unix)]
fn ignore_file_size_signal() {
    // SAFETY: ignoring a signal installs no code.
    unsafe { libc::signal(libc::SIGXFSZ, libc::SIG_IGN) };
}

#[cfg(not(unix))]
fn ignore_file_size_signal() {}
