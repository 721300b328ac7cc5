//! The services under systemd and under their whole sandbox: from `apt install` to a picture, into a mesh, and out.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};

use super::Packages;
use super::life::install;
use super::machine::Machine;
use crate::child::Child;
use crate::command;
use crate::deb::PACKAGES;
use crate::memory;
use crate::source::{AUDIO_KBPS, Source};
use crate::stop::Stop;
use crate::viewer::Viewer;

const STREAM: &str = "party";
const PICTURE_LIMIT: Duration = Duration::from_secs(40);
const JOIN_LIMIT: Duration = Duration::from_secs(30);
/// For how long an idle box's memory is looked at.
const IDLE: Duration = Duration::from_secs(20);
/// The rate at which budgets are given, and more than a box keeps of a stream (`window_s`).
const CARRIED_KBPS: u32 = 6000;
const KEPT_S: f64 = 70.0;
const CARRYING_LIMIT: Duration = Duration::from_secs(150);
/// WatchdogSec, and the time to end and to start.
const WATCHDOG_LIMIT: Duration = Duration::from_secs(60);

/// Another number for each interface that was ever made.
const INTERFACE: &str =
    "systemctl is-active --quiet relaybox-interface.path && cat /sys/class/net/relaybox/ifindex";

/// Asks the box as a browser would, without one.
const ASK: &str = r#"exec 3<>/dev/tcp/127.0.0.1/8080
printf 'GET /healthz HTTP/1.1\r\nHost: 127.0.0.1:8080\r\nConnection: close\r\n\r\n' >&3
head --lines 1 <&3"#;

pub(super) fn check(machine: &Machine, packages: &Packages, stop: &Stop, smoke: bool) -> Result<()> {
    install(machine, packages, &packages.versions[0])?;
    let asked = machine.sh(ASK)?;
    ensure!(asked.starts_with("HTTP/1.1 200 "), "the box answers {asked} as soon as apt is done");
    confined(machine)?;
    let key = picture(machine, stop)?;
    if !smoke {
        carrying(machine, stop, &key)?;
    }
    mesh(machine, stop)?;
    idle(machine, stop, smoke)?;
    clock(machine, stop)?;
    if !smoke {
        watchdog(machine, stop)?;
    }
    let failed = machine.sh("systemctl --failed --plain --no-legend")?;
    ensure!(failed.trim().is_empty(), "units that failed: {failed}");
    machine.sh(&format!("apt-get purge --yes {}", PACKAGES.join(" ")))?;
    machine
        .sh("test ! -e /sys/class/net/relaybox && test ! -e /var/lib/relaybox && ! systemctl cat relayd")?;
    println!("services: all of it went with the packages");
    Ok(())
}

/// By the kernel's word, not by the unit's.
fn confined(machine: &Machine) -> Result<()> {
    machine.sh("systemctl is-active relaybox-interface.path")?;
    let status = machine.sh("cat /proc/$(systemctl show --property MainPID --value relayd)/status")?;
    let closed = ["CapEff:\t0000000000000000", "CapBnd:\t0000000000000000", "NoNewPrivs:\t1", "Seccomp:\t2"];
    for line in closed {
        ensure!(status.contains(line), "relayd is not confined: no {line:?} in\n{status}");
    }
    println!("services: relayd runs without a capability, behind its filter");
    Ok(())
}

/// A stream that a program publishes from outside comes back whole: the media child works in there, too. The stream's key.
fn picture(machine: &Machine, stop: &Stop) -> Result<String> {
    machine.sh(&format!(
        "sed --in-place 's/^# streams = .*/streams = [\"{STREAM}\"]/' /etc/relaybox/relayd.toml"
    ))?;
    machine.sh("relayd check-config /etc/relaybox/relayd.toml && systemctl restart relayd")?;
    let keys = machine.sh("cat /var/lib/relaybox/streams.toml")?;
    let key = keys.split('"').nth(1).context("the box made no key")?.to_owned();
    let publishing = publish(machine, Source { width: 320, height: 180, ..Source::default() }, &key)?;
    let mut said = String::new();
    let came = stop.wait_until(PICTURE_LIMIT, || {
        let mut probe = machine.in_its_network("ffprobe");
        probe.args(["-loglevel", "error", "-show_entries", "stream=codec_name", "-of", "csv=p=0"]);
        probe.arg(format!("http://127.0.0.1:8080/live/{STREAM}/index.m3u8"));
        said = command::output(&mut probe).unwrap_or_else(|error| format!("{error:#}"));
        said.contains("h264") && said.contains("aac")
    });
    drop(publishing);
    let journal = || machine.sh("journalctl --unit relayd --lines 15 --output cat").unwrap_or_default();
    ensure!(came, "no picture: {said}\n{}", journal());
    let announced =
        machine.sh("journalctl --unit relayd --output cat | grep --count 'announced on the home network'");
    announced.context("the box is not announced by mDNS")?;
    println!("services: ffprobe reads H.264 and AAC of what ffmpeg published");
    Ok(key)
}

fn publish(machine: &Machine, source: Source, key: &str) -> Result<Child> {
    let mut inside = machine.in_its_network("ffmpeg");
    inside.args(source.arguments(&format!("rtmp://127.0.0.1/live/{key}")));
    Child::start("the publisher (ffmpeg)", &inside, &command::target().join("packages/publisher.log"))
}

/// What a box holds while a stream of 6 Mbit/s is published at it and watched, its media child counted in: the most, until
/// it keeps as much of the stream as it ever does.
fn carrying(machine: &Machine, stop: &Stop, key: &str) -> Result<()> {
    let source = Source { video_kbps: CARRIED_KBPS - AUDIO_KBPS, ..Source::default() };
    let mut publishing = publish(machine, source, key)?;
    let sample = command::target().join("packages/carried.mp4");
    let viewer = Viewer::start_inside(machine.network()?, "http://127.0.0.1:8080", STREAM, sample);
    let mut readings = Vec::new();
    let full = stop.wait_until(CARRYING_LIMIT, || {
        readings.push(machine.sh(memory::ASK).and_then(|said| memory::pss_kib(&said)));
        viewer.tally().media_s >= KEPT_S || publishing.ended().is_some()
    });
    let tally = viewer.tally();
    ensure!(
        full && publishing.ended().is_none(),
        "no stream to carry: {tally:?}: {:#}",
        publishing.failure()
    );
    let kbps = (tally.bytes as f64 * 8.0 / 1000.0 / tally.media_s).round();
    ensure!(kbps >= f64::from(CARRIED_KBPS) * 0.95, "a stream of {kbps} kbit/s is too little");
    let readings = readings.into_iter().collect::<Result<Vec<u64>>>()?;
    let most = *readings.iter().max().context("nothing was measured")?;
    println!(
        "services: with a stream of {kbps} kbit/s, {:.0} s of it, it holds {most} KiB (PSS, most of {} readings)",
        tally.media_s,
        readings.len()
    );
    viewer.leave();
    memory::judge(memory::Load::Carrying, most)
}

/// Root's `relayd join` is all it takes: nothing to start again, and no right for the daemon.
fn mesh(machine: &Machine, stop: &Stop) -> Result<()> {
    machine.sh("coordinator-lite init --root-dir /tmp/operator --url https://localhost:8443")?;
    machine.sh("systemctl start coordinator-lite && coordinator-lite doctor >&2")?;
    let invite = machine.sh("coordinator-lite invite --root-dir /tmp/operator --name ana")?;
    let invite = invite.lines().find(|line| line.starts_with("RELAYBOX")).context("no invite")?.to_owned();
    let before = machine.sh("systemctl show --property MainPID --value relayd")?;
    let interface = machine.sh(INTERFACE)?;
    machine.sh(&format!("relayd join {invite}"))?;
    let mut status = String::new();
    let up = stop.wait_until(JOIN_LIMIT, || {
        status =
            machine.sh("relayd status; cat /proc/net/if_inet6").unwrap_or_else(|error| format!("{error:#}"));
        let address = status.lines().find_map(|line| line.strip_prefix("address")).unwrap_or_default().trim();
        let has =
            status.lines().any(|line| line.ends_with(" relaybox") && line.starts_with(&digits(address)));
        status.contains("network      relaybox, UDP port") && has
    });
    let journal = || machine.sh("journalctl --lines 25 --output cat").unwrap_or_default();
    ensure!(up, "the box does not come into its mesh:\n{status}\n{}", journal());
    let after = machine.sh("systemctl show --property MainPID --value relayd")?;
    ensure!(before == after, "it took another process to join");
    let after = machine.sh(INTERFACE)?;
    ensure!(interface == after, "the interface was made anew under a daemon that may look for it just then");
    let strangers = machine.sh("find /var/lib/relaybox -not -user relaybox")?;
    ensure!(strangers.is_empty(), "not the daemon's own: {strangers}");
    machine.sh("systemctl restart relayd")?;
    let again = stop.wait_until(JOIN_LIMIT, || {
        machine.sh("relayd status").is_ok_and(|status| status.contains("network      relaybox, UDP port"))
    });
    ensure!(again, "the box is not in its mesh after a restart:\n{}", journal());
    println!("services: the box came into a mesh by `relayd join` alone");
    Ok(())
}

/// What a box holds that does nothing but belong to its mesh: the most over a while. What nobody ships has no budget.
fn idle(machine: &Machine, stop: &Stop, smoke: bool) -> Result<()> {
    let mut readings = Vec::new();
    stop.wait_until(IDLE, || {
        readings.push(machine.sh(memory::ASK).and_then(|said| memory::pss_kib(&said)));
        false
    });
    let readings = readings.into_iter().collect::<Result<Vec<u64>>>()?;
    let most = readings.iter().max().context("nothing was measured")?;
    println!("services: idle in the mesh it holds {most} KiB (PSS, most of {} readings)", readings.len());
    if smoke { Ok(()) } else { memory::judge(memory::Load::Idle, *most) }
}

/// Within its sandbox it asks the coordinator, whose clock here is this machine's: so it has nothing to set.
fn clock(machine: &Machine, stop: &Stop) -> Result<()> {
    machine.sh("systemctl start relaybox-clock")?;
    let mut said = String::new();
    let asked = stop.wait_until(JOIN_LIMIT, || {
        said = machine.sh("journalctl --unit relaybox-clock --output cat").unwrap_or_default();
        said.contains("the coordinator said the time")
    });
    ensure!(asked, "relaybox-clock does not learn the time:\n{said}");
    let id = machine.sh("systemctl show --property MainPID --value relaybox-clock")?;
    let status = machine.sh(&format!("cat /proc/{}/status", id.trim()))?;
    // CAP_SYS_TIME of linux/capability.h is bit 25.
    for line in ["CapEff:\t0000000002000000", "CapBnd:\t0000000002000000", "NoNewPrivs:\t1", "Seccomp:\t2"] {
        ensure!(status.contains(line), "relaybox-clock is not confined: no {line:?} in\n{status}");
    }
    machine.sh("systemctl stop relaybox-clock")?;
    println!("services: the clock's service asks the coordinator, with one capability");
    Ok(())
}

/// An address as `/proc/net/if_inet6` writes it; what is no address begins no line there.
fn digits(address: &str) -> String {
    let octets = address.parse::<std::net::Ipv6Addr>().map(|address| address.octets());
    octets
        .map_or("no address".to_owned(), |octets| octets.iter().map(|octet| format!("{octet:02x}")).collect())
}

/// A daemon that stands still is started again, though its process is there.
fn watchdog(machine: &Machine, stop: &Stop) -> Result<()> {
    for unit in ["relayd", "coordinator-lite"] {
        machine.sh(&format!("systemctl kill --signal STOP --kill-who main {unit}"))?;
        let again = stop.wait_until(WATCHDOG_LIMIT, || {
            let shown = machine.sh(&format!("systemctl show --property NRestarts,ActiveState {unit}"));
            shown.is_ok_and(|shown| shown.contains("NRestarts=1") && shown.contains("ActiveState=active"))
        });
        ensure!(again, "{unit} stood still, and nobody started it again");
        println!("services: {unit} stood still, and was started again");
    }
    ensure!(machine.sh(ASK)?.starts_with("HTTP/1.1 200 "), "the box does not answer after that");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_written_as_the_kernel_does() {
        assert_eq!(digits("fd52:854::1"), "fd520854000000000000000000000001");
        assert_eq!(digits(""), "no address");
    }
}
