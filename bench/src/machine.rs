//! What the machine is, and how busy others keep it: without that no number means anything.

use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result};

/// Load above this is said beside the result.
pub(crate) const LOAD_MAX: f64 = 3.0;

/// One line about processor, kernel and system.
pub(crate) fn described() -> String {
    let model = field("/proc/cpuinfo", "model name").unwrap_or_else(|| "unknown processor".to_owned());
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let memory_kb: u64 =
        field("/proc/meminfo", "MemTotal").and_then(|text| text.split(' ').next()?.parse().ok()).unwrap_or(0);
    let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let system = std::fs::read_to_string("/etc/os-release").unwrap_or_default();
    let system = system.lines().find_map(|line| line.strip_prefix("PRETTY_NAME=")).unwrap_or("unknown");
    format!(
        "{cores} cores of {model}, {:.0} GB, Linux {}, {}",
        memory_kb as f64 / 1e6,
        kernel.trim(),
        system.trim_matches('"')
    )
}

fn field(path: &str, name: &str) -> Option<String> {
    let text = std::fs::read_to_string(path).ok()?;
    let line = text.lines().find(|line| line.starts_with(name))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}

/// The load average of the last minute.
pub(crate) fn load() -> f64 {
    let text = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split(' ').next().and_then(|first| first.parse().ok()).unwrap_or(f64::NAN)
}

/// Processor seconds that were not idle since the machine started, of all programs together.
pub(crate) fn busy_s() -> Result<f64> {
    let text = std::fs::read_to_string("/proc/stat").context("no /proc/stat")?;
    let line = text.lines().next().context("/proc/stat is empty")?;
    Ok(busy_ticks(line).context("/proc/stat is not as it should be")? as f64 / ticks_per_s())
}

/// user, nice, system, irq, softirq and steal; not idle and iowait, and not guest, which is part of user.
fn busy_ticks(line: &str) -> Option<u64> {
    let numbers: Vec<u64> = line.split_whitespace().skip(1).map_while(|word| word.parse().ok()).collect();
    let busy = [0, 1, 2, 5, 6, 7].iter().map(|index| numbers.get(*index));
    busy.sum::<Option<u64>>()
}

pub(crate) fn ticks_per_s() -> f64 {
    rustix::param::clock_ticks_per_second() as f64
}

/// The time in UTC, as the system's own `date` says it.
pub(crate) fn now() -> String {
    date(Command::new("date").arg("-u"))
}

/// When this file was written.
pub(crate) fn written(path: &Path) -> String {
    date(Command::new("date").arg("-u").arg("-r").arg(path))
}

fn date(command: &mut Command) -> String {
    let said = command.arg("+%Y-%m-%d %H:%M UTC").output();
    said.map(|out| String::from_utf8_lossy(&out.stdout).trim().to_owned()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn idle_and_waiting_are_not_busy() {
        assert_eq!(busy_ticks("cpu  100 10 20 9000 500 3 4 5 60 0"), Some(142));
        assert_eq!(busy_ticks("cpu  100"), None);
    }
}
