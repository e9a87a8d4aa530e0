//! Medians, verdicts, tables, and the file with everything.

use std::path::Path;

use anyhow::Context;
use comfy_table::{CellAlignment, Table, presets};
use serde::Serialize;

use crate::cases::IDLE_TARGET;
use crate::run::{Compared, Idle, Run, Which};
use crate::step::{Cost, Counter};

/// What a number means for its target.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Verdict {
    Met,
    NotMet,
    /// Measured; there is no target.
    NoTarget,
    NotMeasured,
}

impl Verdict {
    /// Of a number that should be at most its target.
    pub(crate) fn of(number: Option<f64>, target: Option<f64>) -> Self {
        match (number, target) {
            (None, _) => Self::NotMeasured,
            (Some(_), None) => Self::NoTarget,
            (Some(number), Some(target)) if number <= target => Self::Met,
            (Some(_), Some(_)) => Self::NotMet,
        }
    }

    fn as_str(self) -> &'static str {
        match self {
            Self::Met => "met",
            Self::NotMet => "not met",
            Self::NoTarget => "",
            Self::NotMeasured => "not measured",
        }
    }
}

/// The middle one, or the mean of the two in the middle; nothing of nothing.
pub(crate) fn median(numbers: impl Iterator<Item = f64>) -> Option<f64> {
    let mut numbers: Vec<f64> = numbers.collect();
    numbers.sort_by(f64::total_cmp);
    let upper = *numbers.get(numbers.len() / 2)?;
    let lower = numbers.get((numbers.len() - 1) / 2)?;
    Some(f64::midpoint(*lower, upper))
}

/// Everything that was measured, as it goes to the file.
#[derive(Debug, Serialize)]
pub(crate) struct Results {
    /// A look at whether all of this works: the numbers mean nothing.
    pub(crate) smoke: bool,
    pub(crate) mosquitto: String,
    pub(crate) counter: Option<Counter>,
    pub(crate) loads: Vec<Compared>,
    pub(crate) idle: Vec<IdleCompared>,
    pub(crate) steps: Vec<Cost>,
    pub(crate) rows: Vec<Row>,
}

/// Idle connections on both servers.
#[derive(Debug, Serialize)]
pub(crate) struct IdleCompared {
    pub(crate) tidegate: Idle,
    pub(crate) mosquitto: Idle,
}

/// A line of the table.
#[derive(Debug, Serialize)]
pub(crate) struct Row {
    case: String,
    tidegate: String,
    mosquitto: String,
    ratio: String,
    target: String,
    verdict: Verdict,
}

impl Results {
    /// Makes the table out of everything that was measured.
    pub(crate) fn judge(&mut self) {
        let loads = self.loads.iter().map(load_row);
        let idle = self.idle.iter().map(idle_row);
        let steps = self.steps.iter().map(step_row);
        self.rows = loads.chain(idle).chain(steps).collect();
        if self.smoke {
            // It ran; nothing else was asked.
            self.rows.iter_mut().for_each(|row| row.verdict = Verdict::NoTarget);
        }
    }

    /// The table of verdicts.
    pub(crate) fn table(&self) -> Table {
        let mut table = table(["case", "tidegate", "mosquitto", "ratio", "target", ""]);
        for Row { case, tidegate, mosquitto, ratio, target, verdict } in &self.rows {
            table.add_row([case, tidegate, mosquitto, ratio, target, verdict.as_str()]);
        }
        align(table)
    }

    /// What the loads show besides CPU time.
    pub(crate) fn details(&self) -> Table {
        let mut table =
            table(["load", "server", "messages/s", "p50 µs", "p99 µs", "in kernel", "switches", "peak RSS"]);
        for compared in &self.loads {
            for (name, which) in [("tidegate", Which::Tidegate), ("mosquitto", Which::Mosquitto)] {
                let median = |format: &dyn Fn(f64) -> String, number: &dyn Fn(&Run) -> f64| {
                    compared.median(which, number).map_or_else(String::new, format)
                };
                let whole = |number: f64| format!("{number:.0}");
                table.add_row([
                    compared.load.to_owned(),
                    name.to_owned(),
                    median(&whole, &|run| run.messages_per_second),
                    median(&whole, &|run| run.latency.p50_us),
                    median(&whole, &|run| run.latency.p99_us),
                    median(&|share| format!("{:.0} %", share * 100.0), &|run| {
                        let cost = &run.server;
                        cost.cpu_system_seconds / (cost.cpu_user_seconds + cost.cpu_system_seconds).max(1e-9)
                    }),
                    median(&|count| format!("{count:.3}"), &|run| {
                        run.server.voluntary_switches_per_message + run.server.involuntary_switches_per_message
                    }),
                    median(&|bytes| format!("{:.0} MiB", bytes / f64::from(1 << 20)), &|run| {
                        run.server.peak_rss_bytes as f64
                    }),
                ]);
            }
        }
        align(table)
    }

    /// Writes everything as JSON.
    pub(crate) fn write(&self, file: &Path) -> anyhow::Result<()> {
        std::fs::write(file, serde_json::to_string_pretty(self)? + "\n").with_context(|| file.display().to_string())
    }
}

fn load_row(compared: &Compared) -> Row {
    let cpu = |which| compared.cpu(which).map_or_else(String::new, |seconds| format!("{seconds:.2} CPU s/million"));
    Row {
        case: compared.load.to_owned(),
        tidegate: cpu(Which::Tidegate),
        mosquitto: cpu(Which::Mosquitto),
        ratio: compared.ratio().map_or_else(String::new, |ratio| format!("{ratio:.2}")),
        target: compared.target().map_or_else(String::new, |target| format!("ratio ≤ {target}")),
        verdict: compared.verdict(),
    }
}

fn idle_row(IdleCompared { tidegate, mosquitto }: &IdleCompared) -> Row {
    let each = |idle: &Idle| idle.server.rss_bytes_per_connection;
    let kibibytes = |idle: &Idle| format!("{:.2} KiB RSS", each(idle) / 1024.0);
    Row {
        case: format!("idle connection, one of {}", tidegate.connections),
        tidegate: kibibytes(tidegate),
        mosquitto: kibibytes(mosquitto),
        ratio: format!("{:.2}", each(tidegate) / each(mosquitto)),
        target: format!("≤ {} KiB", IDLE_TARGET / 1024.0),
        verdict: Verdict::of(Some(each(tidegate)), Some(IDLE_TARGET)),
    }
}

fn step_row(cost: &Cost) -> Row {
    let Cost { step, instructions, cpu_min_ns, cpu_median_ns, target, .. } = cost;
    let instructions = instructions.map_or_else(String::new, |count| format!(", {count:.0} instructions"));
    Row {
        case: (*step).to_owned(),
        tidegate: format!("{cpu_median_ns:.0} ns (least {cpu_min_ns:.0}){instructions}"),
        mosquitto: String::new(),
        ratio: String::new(),
        target: target.map_or_else(String::new, |target| format!("≤ {target:.0} ns")),
        verdict: cost.verdict(),
    }
}

fn table<const COLUMNS: usize>(header: [&str; COLUMNS]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::UTF8_FULL_CONDENSED).set_header(header);
    table
}

/// Numbers to the right.
fn align(mut table: Table) -> Table {
    table.column_iter_mut().skip(1).for_each(|column| column.set_cell_alignment(CellAlignment::Right));
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_in_the_middle() {
        let of = |numbers: &[f64]| median(numbers.iter().copied());
        assert_eq!([of(&[]), of(&[3.0]), of(&[9.0, 1.0, 2.0])], [None, Some(3.0), Some(2.0)]);
        assert_eq!(of(&[4.0, 1.0, 9.0, 2.0]), Some(3.0));
    }

    #[test]
    fn a_target_is_the_most_that_is_allowed() {
        assert_eq!(Verdict::of(Some(1.5), Some(1.5)), Verdict::Met);
        assert_eq!(Verdict::of(Some(1.51), Some(1.5)), Verdict::NotMet);
        assert_eq!(Verdict::of(Some(1.0), None), Verdict::NoTarget);
        assert_eq!(Verdict::of(None, Some(1.5)), Verdict::NotMeasured);
    }
}
