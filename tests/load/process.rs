//! What the kernel says of a process (proc(5)).

use std::time::Duration;

use anyhow::{Context, anyhow};

use crate::machine::ticks_per_second;

/// CPU time of a process and its switches, from its start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Usage {
    /// In its own code.
    pub(crate) user: Duration,
    /// In the kernel on its behalf.
    pub(crate) system: Duration,
    /// Times that its threads gave up the CPU to wait.
    pub(crate) voluntary: u64,
    /// Times that the CPU was taken from its threads.
    pub(crate) involuntary: u64,
}

impl Usage {
    /// Of the process with this id.
    pub(crate) fn of(pid: u32) -> anyhow::Result<Self> {
        let (user, system) = cpu(&read(&format!("/proc/{pid}/stat"))?).context("/proc/PID/stat")?;
        let mut usage = Self { user, system, voluntary: 0, involuntary: 0 };
        for thread in std::fs::read_dir(format!("/proc/{pid}/task"))?.flatten() {
            // A thread may be gone by now.
            let Ok(status) = std::fs::read_to_string(thread.path().join("status")) else { continue };
            usage.voluntary += field(&status, "voluntary_ctxt_switches")?;
            usage.involuntary += field(&status, "nonvoluntary_ctxt_switches")?;
        }
        Ok(usage)
    }

    /// CPU time of this process.
    pub(crate) fn own() -> anyhow::Result<Self> {
        Self::of(std::process::id())
    }

    /// CPU time, wherever it was spent.
    pub(crate) fn cpu(&self) -> Duration {
        self.user + self.system
    }

    /// What was used since `earlier`. A thread that ended takes its switches with it, so they may come out too low, but
    /// never below 0.
    pub(crate) fn since(&self, earlier: &Self) -> Self {
        Self {
            user: self.user.saturating_sub(earlier.user),
            system: self.system.saturating_sub(earlier.system),
            voluntary: self.voluntary.saturating_sub(earlier.voluntary),
            involuntary: self.involuntary.saturating_sub(earlier.involuntary),
        }
    }
}

/// Resident memory of a process, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Memory {
    /// Now.
    pub(crate) resident: u64,
    /// The most that it ever was.
    pub(crate) peak: u64,
}

impl Memory {
    /// Of the process with this id.
    pub(crate) fn of(pid: u32) -> anyhow::Result<Self> {
        let status = read(&format!("/proc/{pid}/status"))?;
        Ok(Self { resident: field(&status, "VmRSS")? * 1024, peak: field(&status, "VmHWM")? * 1024 })
    }
}

/// User and system time from `/proc/PID/stat`. The second field is the name of the program, in brackets, and may hold
/// anything, brackets included.
fn cpu(stat: &str) -> Option<(Duration, Duration)> {
    let (_, behind_name) = stat.rsplit_once(") ")?;
    let mut fields = behind_name.split(' ').skip(11); // utime is field 14
    let mut time = || {
        let ticks: u64 = fields.next()?.parse().ok()?;
        Some(Duration::from_millis(ticks * 1000 / ticks_per_second()))
    };
    Some((time()?, time()?))
}

/// The number behind `name:` in a status file.
fn field(status: &str, name: &str) -> anyhow::Result<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    let number = line.and_then(|line| line.split_whitespace().next()?.parse().ok());
    number.ok_or_else(|| anyhow!("no {name} in the status of the process: has it ended?"))
}

fn read(path: &str) -> anyhow::Result<String> {
    std::fs::read_to_string(path).with_context(|| path.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_a_program_may_hold_anything() {
        let stat = "7 (a) (b) 1) S 1 7 7 0 -1 4194560 1 2 3 4 250 31 9 9 20 0 5 0 100";
        assert_eq!(cpu(stat), Some((Duration::from_millis(2500), Duration::from_millis(310))));
        assert_eq!(cpu("7 (a) S 1"), None);
    }

    #[test]
    fn a_process_can_measure_itself() {
        let memory = Memory::of(std::process::id()).unwrap();
        assert!(memory.resident > 0 && memory.peak >= memory.resident / 2);
        let before = Usage::own().unwrap();
        let mut sum = 0_u64;
        while Usage::own().unwrap().since(&before).cpu() < Duration::from_millis(20) {
            (0..10_000).for_each(|number| sum = sum.wrapping_mul(31).wrapping_add(std::hint::black_box(number)));
        }
        assert!(Usage::of(u32::MAX).is_err());
    }
}
