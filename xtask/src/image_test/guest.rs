//! The image, running in QEMU. Nothing in the image knows of the test: a shell on a port of its own comes in by a
//! credential of the hypervisor's, which systemd takes from its firmware (systemd.system-credentials(7)).

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow, bail, ensure};
use data_encoding::BASE64;

use super::meter::Meter;
use super::place::Place;
use super::street::{self, Street};
use crate::child::Child;
use crate::command;
use crate::image::{Qemu, Role};
use crate::stop::Stop;

/// As small as the smallest board that is meant.
const MEMORY_MIB: u32 = 1024;
/// How long a line of shell may take in emulation.
const LINE_LIMIT: Duration = Duration::from_secs(120);

const PORT: &str = "relaybox.test";
/// As QEMU calls the card.
const CARD: &str = "card";
/// Where QEMU is asked of it.
const QMP: &str = "qmp";
/// From QEMU's start until it answers.
const QMP_LIMIT: Duration = Duration::from_secs(30);

/// What a device tree says of where its loader speaks (Devicetree Specification 0.4, 3.6).
const SECOND_PORT: &[u8] = b"serial1:115200n8";
const FIRST_PORT: &[u8] = b"serial0:115200n8";

/// Runs each line that comes, and answers with its exit status and what it printed, in base64. While nobody is at the
/// other end, each reading is at its end at once.
const SHELL: &str = r#"[Unit]
Description=The test's shell
DefaultDependencies=no
After=local-fs.target systemd-udevd.service
[Service]
Environment=HOME=/tmp
ExecStart=/bin/bash -c 'port=/dev/virtio-ports/@PORT@; until [ -e $$port ]; do sleep 1; done; exec 3<> $$port; while :; do read -r line <&3 || { sleep 1; continue; }; said=$$(bash -c "$$line" 2>&1 < /dev/null); code=$$?; echo "$$code $$(base64 --wrap 0 <<< "$$said")" >&3; done'
"#;
/// Makes systemd start it.
const WANTED: &str = "[Unit]\nWants=relaybox-test.service\n";

pub(super) struct Guest {
    process: Child,
    dir: PathBuf,
    shell: Option<BufReader<UnixStream>>,
}

impl Guest {
    /// Starts from the disk in this folder, made of the image if it is not there.
    pub(super) fn start(qemu: &Qemu, disk: &Path, street: &Street, dir: &Path) -> Result<Guest> {
        let mut run = street.at_the_switch(&qemu.program);
        run.args(["-machine", &qemu.machine, "-cpu", &qemu.cpu, "-accel", "tcg,thread=multi"]);
        run.args(["-m", &MEMORY_MIB.to_string(), "-display", "none", "-monitor", "none"]);
        run.args(["-netdev", &format!("tap,id=lan,ifname={},script=no,downscript=no", street::TAP)]);
        let console = format!("file:{}", dir.join("console.log").display());
        match (&qemu.firmware, &qemu.variables, &qemu.loader, &qemu.device_tree) {
            (Some(firmware), Some(variables), None, None) => {
                run.args(["-serial", &console]);
                virtual_machine(&mut run, firmware, variables, disk, dir)?;
            }
            (None, None, Some(loader), Some(tree)) => {
                let loaders = format!("file:{}", dir.join("loader.log").display());
                run.args(["-serial", &loaders, "-serial", &console]);
                raspberry(&mut run, loader, tree, disk, dir)?;
            }
            _ => bail!("a board has UEFI with variables, or a loader with a device tree"),
        }
        let process = Child::start("QEMU", &run, &dir.join("qemu.log"))?;
        Ok(Guest { process, dir: dir.to_owned(), shell: None })
    }

    /// Runs a line inside, as root; what it prints.
    pub(super) fn sh(&mut self, line: &str) -> Result<String> {
        ensure!(!line.contains('\n'), "one line at a time");
        let told = self.tell(line).with_context(|| format!("in the guest: {line}"));
        if told.is_err() {
            // An answer that comes late is not the next line's.
            self.shell = None;
        }
        let (code, said) = told?;
        ensure!(code == 0, "in the guest: {line}: exit status {code}: {}", said.trim());
        Ok(said)
    }

    fn tell(&mut self, line: &str) -> Result<(i32, String)> {
        let shell = match &mut self.shell {
            Some(shell) => shell,
            empty @ None => {
                let socket = UnixStream::connect(self.dir.join("shell")).context("QEMU's socket")?;
                socket.set_read_timeout(Some(LINE_LIMIT)).context("a time to wait")?;
                empty.insert(BufReader::new(socket))
            }
        };
        writeln!(shell.get_mut(), "{line}").context("telling it")?;
        let mut answer = String::new();
        shell.read_line(&mut answer).context("no answer")?;
        let (code, said) = answer.trim().split_once(' ').context("no answer")?;
        let said = BASE64.decode(said.as_bytes());
        let said = said.map_err(|error| anyhow!("the answer is not as it should be: {error}"))?;
        Ok((code.parse().context("no exit status")?, String::from_utf8_lossy(&said).into_owned()))
    }

    /// Waits for a condition, as long as QEMU runs.
    pub(super) fn wait(
        &mut self,
        what: &str,
        limit: Duration,
        stop: &Stop,
        mut condition: impl FnMut(&mut Guest) -> Result<()>,
    ) -> Result<Duration> {
        let began = Instant::now();
        let mut last = None;
        let came = stop.wait_until(limit, || {
            self.process.ended().is_some()
                || match condition(self) {
                    Ok(()) => {
                        last = None;
                        true
                    }
                    Err(error) => {
                        last = Some(error);
                        false
                    }
                }
        });
        if self.process.ended().is_some() {
            return Err(self
                .process
                .failure()
                .context(format!("{what}; on the console:\n{}", self.console())));
        }
        match last {
            Some(error) if !came => Err(error.context(format!(
                "{what}: not after {} s; the end of the console:\n{}",
                limit.as_secs(),
                self.console()
            ))),
            _ if !came => bail!("{what}: stopped before that"),
            _ => Ok(began.elapsed()),
        }
    }

    /// QEMU's own word on what is written to the card.
    pub(super) fn meter(&mut self, stop: &Stop) -> Result<Meter> {
        let socket = self.dir.join(QMP);
        let mut meter = None;
        self.wait("QEMU answers", QMP_LIMIT, stop, |_| {
            meter = Some(Meter::open(&socket, CARD)?);
            Ok(())
        })?;
        meter.context("QEMU does not answer")
    }

    /// How often the loader chose a slot since QEMU was started.
    pub(super) fn loads(&self) -> usize {
        self.all().matches("Relaybox: slot ").count()
    }

    /// Whether firmware, loader or kernel said these words.
    pub(super) fn said(&self, words: &str) -> bool {
        self.all().contains(words)
    }

    /// The end of what firmware, loader and kernel said.
    pub(super) fn console(&self) -> String {
        const LINES: usize = 25;
        let said = self.all();
        let lines: Vec<&str> = said.lines().collect();
        lines[lines.len().saturating_sub(LINES)..].iter().map(|line| format!("    {line}\n")).collect()
    }

    /// What was said on the ports that are kept, the loader's first.
    fn all(&self) -> String {
        let ports =
            ["loader.log", "console.log"].map(|name| fs::read(self.dir.join(name)).unwrap_or_default());
        String::from_utf8_lossy(&ports.concat()).into_owned()
    }

    /// Nothing runs any more, whoever ended it.
    pub(super) fn has_ended(&mut self) -> bool {
        self.process.ended().is_some()
    }

    /// As a pulled plug.
    pub(super) fn kill(mut self) {
        self.process.kill();
    }
}

/// A machine of QEMU's own kind, with a shell for us.
fn virtual_machine(run: &mut Command, firmware: &Path, fresh: &Path, disk: &Path, dir: &Path) -> Result<()> {
    let variables = dir.join("variables");
    if !variables.exists() {
        fs::copy(fresh, &variables).with_context(|| format!("copying {}", fresh.display()))?;
    }
    let socket = dir.join("shell");
    for left in [&socket, &dir.join(QMP)] {
        if left.exists() {
            fs::remove_file(left).with_context(|| format!("removing {}", left.display()))?;
        }
    }
    run.args(["-smp", "2"]);
    run.args(["-drive", &format!("if=pflash,format=raw,readonly=on,file={}", firmware.display())]);
    run.args(["-drive", &format!("if=pflash,format=raw,file={}", variables.display())]);
    let card = format!("if=virtio,id={CARD},format=raw,cache=writeback,file={}", disk.display());
    run.args(["-drive", &card]);
    run.args(["-qmp", &format!("unix:{},server=on,wait=off", dir.join(QMP).display())]);
    run.args(["-device", "virtio-net-pci,netdev=lan,romfile="]);
    run.args(["-device", "virtio-serial-pci"]);
    run.args(["-chardev", &format!("socket,id=shell,server=on,wait=off,path={}", socket.display())]);
    run.args(["-device", &format!("virtserialport,chardev=shell,name={PORT}")]);
    run.args(["-device", "virtio-rng-pci", "-device", "i6300esb", "-action", "watchdog=reset"]);
    for (name, text) in [
        ("systemd.extra-unit.relaybox-test.service", SHELL.replace("@PORT@", PORT)),
        ("systemd.unit-dropin.multi-user.target", WANTED.to_owned()),
    ] {
        let value = BASE64.encode(text.as_bytes());
        run.args(["-smbios", &format!("type=11,value=io.systemd.credential.binary:{name}={value}")]);
    }
    Ok(())
}

/// A Raspberry Pi after its firmware: the loader that this would start, from the card, with a device tree from there. Its
/// network hangs on USB, and there is no shell. The pins are nobody's, so U-Boot has to speak on the first serial port; the
/// kernel, with the device tree of its slot, speaks on the second, as on a real one.
fn raspberry(run: &mut Command, loader: &str, tree: &str, disk: &Path, dir: &Path) -> Result<()> {
    let place = Place::find(disk, Role::Loader)?;
    for (option, name) in [("-kernel", loader), ("-dtb", tree)] {
        let copy = dir.join(name);
        place.copy_out(name, &copy)?;
        run.arg(option).arg(copy);
    }
    let copy = dir.join(tree);
    let mut bytes = fs::read(&copy).with_context(|| format!("reading {}", copy.display()))?;
    let at = bytes.windows(SECOND_PORT.len()).position(|window| window == SECOND_PORT);
    let at = at.context("the device tree names no serial port")?;
    bytes[at..at + FIRST_PORT.len()].copy_from_slice(FIRST_PORT);
    fs::write(&copy, bytes).with_context(|| format!("writing {}", copy.display()))?;
    run.args(["-smp", "4"]);
    run.args(["-drive", &format!("if=sd,format=raw,cache=writeback,file={}", disk.display())]);
    run.args(["-device", "usb-net,netdev=lan"]);
    Ok(())
}

/// A card of this size with as much of the image on it as fits.
pub(super) fn card(image: &Path, bytes: u64, to: &Path) -> Result<()> {
    let mut copy = command::program("cp");
    command::output(copy.args(["--sparse=always", "--"]).arg(image).arg(to))?;
    let file =
        fs::File::options().write(true).open(to).with_context(|| format!("opening {}", to.display()))?;
    file.set_len(bytes).with_context(|| format!("making {} as large as a card", to.display()))
}
