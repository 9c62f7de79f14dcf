//! Whether a short routine runs faster on all threads or on one. What handing tasks over costs depends on the machine (two cores
//! may share a cache or lie far apart) and on who else uses it, so it is measured while the routine runs, again and again.
//! Results are the same bits either way.

/// Seconds that a trial of either way takes, and runs that it has at least.
const TRIAL: f64 = 5e-3;
const LEAST_RUNS: u32 = 8;
/// Seconds between two trials.
const SETTLED: f64 = 1.0;
/// A routine whose fastest shared run takes longer is always shared.
const LONG: f64 = 1e-3;

#[derive(Clone, Debug)]
pub struct Pace {
    phase: Phase,
    /// Runs and seconds of this phase.
    runs: u32,
    seconds: f64,
    fastest: f64,
    /// Seconds of a run on all threads, on average in the trial at hand.
    shared: f64,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Phase {
    TryShared,
    TryAlone,
    Settled {
        shared: bool,
    },
    /// Not watched any more.
    Long,
}

impl Default for Pace {
    fn default() -> Self {
        Pace { phase: Phase::TryShared, runs: 0, seconds: 0.0, fastest: f64::INFINITY, shared: 0.0 }
    }
}

impl Pace {
    /// Of a routine that has nothing to share, or whose time depends on other processes.
    pub fn unwatched() -> Self {
        Pace { phase: Phase::Long, ..Pace::default() }
    }

    /// Whether the next run is shared among all threads.
    pub fn shares(&self) -> bool {
        !matches!(self.phase, Phase::TryAlone | Phase::Settled { shared: false })
    }

    /// Whether runs are timed at all.
    pub fn watches(&self) -> bool {
        self.phase != Phase::Long
    }

    /// A run took so many seconds.
    pub fn ran(&mut self, seconds: f64) {
        self.runs += 1;
        self.seconds += seconds;
        self.fastest = self.fastest.min(seconds);
        let mean = self.seconds / f64::from(self.runs);
        let tried = self.runs >= LEAST_RUNS && self.seconds >= TRIAL;
        match self.phase {
            Phase::TryShared if tried => {
                self.shared = mean;
                // Not the mean: threads that have lost their core make short runs long, and are to be found out.
                self.enter(if self.fastest > LONG { Phase::Long } else { Phase::TryAlone });
            }
            Phase::TryAlone if tried => self.enter(Phase::Settled { shared: self.shared <= mean }),
            Phase::Settled { .. } if self.seconds >= SETTLED => self.enter(Phase::TryShared),
            _ => {}
        }
    }

    fn enter(&mut self, phase: Phase) {
        *self = Pace { phase, shared: self.shared, ..Pace::default() };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs for so many seconds on a machine where a run takes `shared` or `alone` seconds; the share of runs on all threads.
    fn share(pace: &mut Pace, seconds: f64, [shared, alone]: [f64; 2]) -> f64 {
        let (mut time, mut runs, mut on_all) = (0.0, 0, 0);
        while time < seconds {
            let took = if pace.shares() { shared } else { alone };
            on_all += u32::from(pace.shares());
            runs += 1;
            time += took;
            pace.ran(took);
        }
        f64::from(on_all) / f64::from(runs)
    }

    #[test]
    fn the_faster_way_is_taken_and_kept_under_watch() {
        let mut pace = Pace::default();
        assert!(share(&mut pace, 3.0, [6e-5, 9e-5]) > 0.97);
        assert!(share(&mut pace, 3.0, [15e-5, 9e-5]) < 0.4, "a neighbour came");
        assert!(share(&mut pace, 3.0, [15e-5, 9e-5]) < 0.03);
        assert!(share(&mut pace, 3.0, [6e-5, 9e-5]) > 0.6, "and went");
    }

    #[test]
    fn a_short_routine_that_stalls_is_not_a_long_one() {
        let mut pace = Pace::default();
        (0..1000).for_each(|run| pace.ran(if pace.shares() && run % 3 > 0 { 4e-3 } else { 9e-5 }));
        assert!(!pace.shares() && pace.watches());
    }

    #[test]
    fn long_routines_are_shared() {
        let mut pace = Pace::default();
        assert_eq!(share(&mut pace, 1.0, [2e-3, 1e-3]), 1.0);
        assert!(!pace.watches());
    }
}
