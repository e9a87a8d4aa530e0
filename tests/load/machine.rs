//! What the kernel says of the machine (proc(5)).

use std::time::Duration;

use anyhow::Context;

/// CPU time of the whole machine, in ticks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Machine {
    total: u64,
    idle: u64,
    steal: u64,
}

impl Machine {
    /// From the start of the machine until now.
    pub(crate) fn now() -> anyhow::Result<Self> {
        let stat = std::fs::read_to_string("/proc/stat").context("/proc/stat")?;
        Self::parse(&stat).context("/proc/stat")
    }

    fn parse(stat: &str) -> Option<Self> {
        // user nice system idle iowait irq softirq steal; the guest times after them are counted in user already.
        let numbers = stat.lines().next()?.strip_prefix("cpu ")?;
        let ticks: Vec<u64> = numbers.split_whitespace().take(8).map_while(|number| number.parse().ok()).collect();
        Some(Self { total: ticks.iter().sum(), idle: ticks.get(3)? + ticks.get(4)?, steal: *ticks.get(7)? })
    }

    /// Of all CPU time since `earlier`: the share that other machines on the same host took away, and the share that
    /// processes here used in addition to `known`.
    pub(crate) fn since(&self, earlier: &Self, known: Duration) -> (f64, f64) {
        let total = self.total.saturating_sub(earlier.total).max(1) as f64;
        let steal = self.steal.saturating_sub(earlier.steal) as f64;
        let idle = self.idle.saturating_sub(earlier.idle) as f64;
        let known = known.as_secs_f64() * ticks_per_second() as f64;
        (steal / total, ((total - idle - steal - known) / total).max(0.0))
    }
}

/// The unit of CPU time in all files of the kernel.
pub(crate) fn ticks_per_second() -> u64 {
    rustix::param::clock_ticks_per_second()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steal_and_what_others_used_are_shares_of_all_time() {
        let before = Machine::parse("cpu  100 0 100 700 50 0 0 50 0 0\n").unwrap();
        let after = Machine::parse("cpu  130 0 120 720 60 0 0 70 9 9\n").unwrap();
        // 100 ticks: 50 of work, 30 idle, 20 stolen; of the work, 0.4 s are known at 100 ticks a second.
        let (steal, others) = after.since(&before, Duration::from_millis(400));
        assert!((steal - 0.2).abs() < 1e-9 && (others - 0.1).abs() < 1e-9, "{steal} {others}");
        assert_eq!(Machine::parse("cpu  1 2 3\n"), None);
    }
}
