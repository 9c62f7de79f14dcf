//! Ctrl-C and termination: the first asks a run to save and leave, the second ends the process at once.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::{progress, ranks};

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

/// Launchers ask the other ranks to end when one has died, and most kill them soon after. A rank that waits for the dead one
/// does not come to see the signal: it says so before it is killed, and ends by itself where nobody does it.
fn leave_the_dead() {
    /// A step behind which it may begin to wait; the wait that is worth a word; and the one that is a hopeless one.
    const STEP: Duration = Duration::from_millis(300);
    const LONG: Duration = Duration::from_millis(300);
    const HOPELESS: Duration = Duration::from_secs(10);
    if ranks::count() == 1 {
        return;
    }
    let watch = || {
        std::thread::sleep(STEP);
        let Some(wait) = ranks::waits() else { return };
        std::thread::sleep(LONG);
        if ranks::waits() != Some(wait) {
            return;
        }
        progress::tell_of_the_dead(ranks::rank());
        std::thread::sleep(HOPELESS);
        if ranks::waits() == Some(wait) {
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
