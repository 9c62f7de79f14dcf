//! How much memory this process uses beyond what it used before, as the kernel counts it (Linux).

use std::fs;

/// Begins counting; absent where the kernel does not tell.
pub struct Watch {
    start: usize,
}

impl Watch {
    pub fn start() -> Option<Self> {
        // Forgets earlier peaks, such as a compilation's. Where that is not allowed they count.
        let _ = fs::write("/proc/self/clear_refs", "5");
        Some(Watch { start: bytes("VmRSS:")? })
    }

    /// Bytes at the peak since the start, beyond those at the start.
    pub fn peak(&self) -> Option<usize> {
        Some(bytes("VmHWM:")?.saturating_sub(self.start))
    }
}

/// A line of the kernel's account, which is in KiB.
fn bytes(key: &str) -> Option<usize> {
    let text = fs::read_to_string("/proc/self/status").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix(key))?;
    Some(line.trim().strip_suffix("kB")?.trim().parse::<usize>().ok()? * 1024)
}
