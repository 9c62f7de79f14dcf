//! Is the machine ours? Timing beside another busy process is not worth much.

use std::fs;
use std::time::Instant;

/// Ticks per second of the kernel's counters, the same on every architecture that we compile for.
const TICKS: f64 = 100.0;
/// Cores taken by others from which on timing is doubtful.
const TOLERATED: f64 = 0.1;

/// Begins watching; absent where the kernel does not tell.
pub struct Watch {
    began: Instant,
    all: f64,
    own: f64,
}

impl Watch {
    pub fn start() -> Option<Self> {
        Some(Watch { began: Instant::now(), all: all_ticks()?, own: own_ticks()? })
    }

    /// Cores that others kept busy since the start, when that is worth a warning.
    pub fn others(&self) -> Option<f64> {
        let ticks = (all_ticks()? - self.all) - (own_ticks()? - self.own);
        let cores = ticks / TICKS / self.began.elapsed().as_secs_f64();
        (cores > TOLERATED).then_some(cores)
    }
}

/// Ticks in which some processor was busy: all but idle and waiting.
fn all_ticks() -> Option<f64> {
    let text = fs::read_to_string("/proc/stat").ok()?;
    let fields: Vec<f64> =
        text.lines().next()?.split_whitespace().skip(1).filter_map(|f| f.parse().ok()).collect();
    // user, nice, system, idle, iowait, irq, softirq, steal; guests are counted among users.
    let busy = [0, 1, 2, 5, 6, 7];
    Some(busy.iter().filter_map(|index| fields.get(*index)).sum())
}

/// Ticks of this process: user and system, the 14th and 15th fields behind the name in brackets.
fn own_ticks() -> Option<f64> {
    let text = fs::read_to_string("/proc/self/stat").ok()?;
    let (_, rest) = text.rsplit_once(')')?;
    let mut fields = rest.split_whitespace().skip(11);
    Some(fields.next()?.parse::<f64>().ok()? + fields.next()?.parse::<f64>().ok()?)
}
