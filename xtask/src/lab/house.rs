//! A real mesh in a world: the coordinator in its namespace, boxes in theirs, joined by invites through the real API.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow, ensure};
use data_encoding::BASE64URL_NOPAD;

use super::cell::{Fleet, Limits, Overlay, Running};
use super::clock::BoardClock;
use super::plan::{COORDINATOR, COORDINATOR_V4, SERVICE, Site};
use super::world::World;
use crate::build::MeshBinaries;
use crate::child::Child;
use crate::command;
use crate::stop::Stop;

/// Where the coordinator listens.
pub(crate) const SERVICE_PORT: u16 = 8443;
/// The one port of a box that the mesh lets others reach.
pub(crate) const BOX_PORT: u16 = 7468;
/// Of a plain box: no stream is published here, so the packager is never started; and the one port is the lab's own.
const SETTINGS: &str = "[media]\npackager = \"/bin/true\"\n[relay]\nenabled = false\n";
/// What boxes say in their logs, and those that carry streams.
const WORDS: &str = "info,relayd=debug,mesh=debug";
const WORDS_OF_CARRIERS: &str = "info,relayd=debug,relayd::carry=trace,relay=debug";
/// How long the coordinator may take until it listens.
const START_LIMIT: Duration = Duration::from_secs(20);

/// What sets a box that carries streams apart from one that only reaches others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Outfit {
    /// The name and key of a stream that is published here.
    pub(crate) stream: Option<(String, String)>,
    /// The most that it gives others, on the line.
    pub(crate) upload_kbps_max: u64,
    /// An interface that is there already, in place of a tunnel of the mesh's own.
    pub(crate) external: Option<&'static str>,
}

impl Outfit {
    fn settings(&self) -> String {
        let packager = if self.stream.is_none() { "[media]\npackager = \"/bin/true\"\n" } else { "" };
        let external = self
            .external
            .map(|interface| format!("[mesh]\nmode = \"external\"\ninterface = \"{interface}\"\n"));
        let external = external.unwrap_or_default();
        format!("{packager}{external}[relay]\nupload_kbps_max = {}\n", self.upload_kbps_max)
    }

    fn arguments(&self) -> Vec<String> {
        let stream = self.stream.iter();
        stream.flat_map(|(name, key)| ["--stream".to_owned(), format!("{name}:{key}")]).collect()
    }
}

/// The coordinator of a world, and the boxes that joined. They end when this is dropped.
#[derive(Debug)]
pub(crate) struct House<'a> {
    world: &'a World,
    binaries: &'a MeshBinaries,
    boxes: BTreeMap<String, Child>,
    service: Option<Child>,
    /// Boards that have a clock of their own.
    clocks: BTreeMap<String, BoardClock>,
    /// Their `relayd clock`, each with the right to set it.
    setters: BTreeMap<String, Child>,
    /// Boxes that carry streams.
    outfits: BTreeMap<String, Outfit>,
    /// How often boxes were started.
    starts: usize,
    /// Places of a box's map, if not as many as usual.
    map_boxes_max: Option<u16>,
}

impl<'a> House<'a> {
    /// Makes a mesh and starts its coordinator.
    pub(crate) fn open(world: &'a World, binaries: &'a MeshBinaries, stop: &Stop) -> Result<House<'a>> {
        House::open_with(world, binaries, None, stop)
    }

    /// The same where a box's map has so many places.
    pub(crate) fn open_with(
        world: &'a World,
        binaries: &'a MeshBinaries,
        map_boxes_max: Option<u16>,
        stop: &Stop,
    ) -> Result<House<'a>> {
        let mut house = House {
            world,
            binaries,
            boxes: BTreeMap::new(),
            service: None,
            clocks: BTreeMap::new(),
            setters: BTreeMap::new(),
            outfits: BTreeMap::new(),
            starts: 0,
            map_boxes_max,
        };
        let url = format!("https://{COORDINATOR}:{SERVICE_PORT}");
        command::output(house.operate(&["init"]).args(["--url", &url]))?;
        house.serve(stop)?;
        Ok(house)
    }

    fn service_dir(&self) -> PathBuf {
        self.world.dir().join("service")
    }

    pub(crate) fn box_dir(&self, name: &str) -> PathBuf {
        self.world.dir().join(format!("box-{name}"))
    }

    /// A command of the operator, who sits at the service's machine.
    fn operate(&self, words: &[&str]) -> Command {
        let service = self.world.namespace(SERVICE);
        let mut command = service.command(&self.binaries.coordinator, &self.world.hosts());
        command.args(words).arg("--data-dir").arg(self.service_dir());
        command.arg("--root-dir").arg(self.world.dir().join("operator"));
        command
    }

    fn serve(&mut self, stop: &Stop) -> Result<()> {
        let namespace = self.world.namespace(SERVICE);
        let mut serve = namespace.command(&self.binaries.coordinator, &self.world.hosts());
        serve.args([
            "serve",
            "--heartbeat-s",
            "1",
            "--listen",
            &format!("[::]:{SERVICE_PORT}"),
            "--data-dir",
        ]);
        serve.arg(self.service_dir());
        if let Some(places) = self.map_boxes_max {
            serve.args(["--map-boxes-max", &places.to_string()]);
        }
        let mut child = Child::start("coordinator-lite", &serve, &self.world.dir().join("service.log"))?;
        let at = SocketAddr::from((COORDINATOR_V4, SERVICE_PORT));
        let answers = || {
            let connect = || TcpStream::connect_timeout(&at, Duration::from_secs(1)).context("connecting");
            child.ended().is_some() || namespace.inside(connect).is_ok()
        };
        stop.wait_until(START_LIMIT, answers);
        if child.ended().is_some() {
            return Err(child.failure());
        }
        self.service = Some(child);
        Ok(())
    }

    pub(crate) fn invite(&self, name: &str) -> Result<String> {
        let made = command::output(self.operate(&["invite"]).args(["--name", name, "--quiet"]))?;
        Ok(made.trim().to_owned())
    }

    /// `relayd join` and then `relayd run` at this site; gives the address in the mesh.
    pub(crate) fn bring_in(&mut self, site: &Site, invite: &str) -> Result<IpAddr> {
        let dir = self.box_dir(&site.name);
        self.power_on(site, &dir)?;
        let joined = command::output(self.relayd(site, "join").arg(invite).arg("--data-dir").arg(&dir))
            .with_context(|| format!("{} does not come in", site.name))?;
        std::fs::write(join_log(self.world, &site.name), &joined).context("keeping what join said")?;
        let address = mesh_address(&joined)?;
        self.start(site, &dir)?;
        Ok(address)
    }

    /// From its next start on.
    pub(crate) fn dress(&mut self, name: &str, outfit: Outfit) {
        self.outfits.insert(name.to_owned(), outfit);
    }

    /// Ends a box as a pulled plug would. False if there is none.
    pub(crate) fn kill(&mut self, name: &str) -> bool {
        self.boxes.get_mut(name).map(Child::kill).is_some()
    }

    /// Starts a box that was killed, with what it kept.
    pub(crate) fn revive(&mut self, name: &str) -> Result<()> {
        let dir = self.box_dir(name);
        self.start(self.world.site(name), &dir)
    }

    /// An error if a box ended by itself.
    pub(crate) fn ensure_alive(&mut self, name: &str) -> Result<()> {
        let child = self.boxes.get_mut(name).with_context(|| format!("there is no box {name}"))?;
        if child.ended().is_none() { Ok(()) } else { Err(child.failure()) }
    }

    fn relayd(&self, site: &Site, word: &str) -> Command {
        let mut command =
            self.world.namespace(&site.host).command(&self.binaries.relayd, &self.world.hosts());
        command.arg(word);
        if let Some(clock) = self.clocks.get(&site.name) {
            clock.put_into(&mut command, word == "clock");
        }
        command
    }

    /// A board without a battery begins in 1970, and with it the service that sets its clock.
    fn power_on(&mut self, site: &Site, dir: &Path) -> Result<()> {
        let Some(clock) = self.clocks.get(&site.name) else { return Ok(()) };
        clock.power_on()?;
        std::fs::create_dir_all(dir).context("a box's directory")?;
        let mut keep = self.relayd(site, "clock");
        keep.arg("--data-dir").arg(dir).env("RUST_LOG", "info");
        let log = self.world.dir().join(format!("{}-clock-{}.log", site.name, self.starts));
        let child = Child::start(&format!("relayd clock of {}", site.name), &keep, &log)?;
        self.setters.insert(site.name.clone(), child);
        Ok(())
    }

    fn start(&mut self, site: &Site, dir: &Path) -> Result<()> {
        let config = dir.join("relayd.toml");
        let (settings, arguments) = match self.outfits.get(&site.name) {
            Some(outfit) => (outfit.settings(), outfit.arguments()),
            None => (SETTINGS.to_owned(), Vec::new()),
        };
        let words = if self.outfits.contains_key(&site.name) { WORDS_OF_CARRIERS } else { WORDS };
        std::fs::write(&config, settings).context("writing settings")?;
        let mut run = self.relayd(site, "run");
        run.args(["--rtmp", "[::]:1935", "--http", "[::]:8080", "--config"]).arg(&config).args(arguments);
        run.arg("--data-dir")
            .arg(dir)
            .env("RUST_LOG", std::env::var("RELAYBOX_LAB_LOG").unwrap_or_else(|_| words.to_owned()));
        self.starts += 1;
        let log = self.world.dir().join(format!("{}-{}.log", site.name, self.starts));
        let child = Child::start(&format!("relayd of {}", site.name), &run, &log)?;
        self.boxes.insert(site.name.clone(), child);
        Ok(())
    }

    /// What a box says of itself; for people, never for a verdict.
    pub(crate) fn status(&self, site: &Site) -> Result<String> {
        let dir = self.box_dir(&site.name);
        command::output(self.relayd(site, "status").arg("--data-dir").arg(dir))
    }

    /// Names of the boxes in a box's map, as it says; to choose by, never for a verdict.
    pub(crate) fn known_by(&self, name: &str) -> Result<Vec<String>> {
        Ok(peers(&self.status(self.world.site(name))?))
    }
}

impl Running for House<'_> {
    fn logs(&self) -> String {
        let status = |site: &Site| self.status(site).unwrap_or_else(|error| format!("{error:#}\n"));
        let said =
            self.world.sites().iter().map(|site| format!("  {}:\n{}", site.name, indented(&status(site))));
        let children = self.service.iter().chain(self.setters.values()).chain(self.boxes.values());
        let logs = children.map(Child::log_tail);
        said.chain(logs).collect()
    }

    fn restart(&mut self, name: &str) -> Result<()> {
        let site = self.world.site(name);
        self.boxes.get_mut(name).with_context(|| format!("there is no box {name}"))?.kill();
        if let Some(setter) = self.setters.get_mut(name) {
            setter.kill();
        }
        let dir = self.box_dir(name);
        self.power_on(site, &dir)?;
        self.start(site, &dir)
    }

    fn known(&self, name: &str) -> Result<Vec<String>> {
        self.known_by(name)
    }

    fn kill_coordinator(&mut self) {
        if let Some(mut service) = self.service.take() {
            service.kill();
        }
    }

    fn invite_viewer(&self, name: &str, gateway: &str) -> Result<String> {
        let words = ["invite", "--viewer", "--name", name, "--gateway", gateway, "--quiet"];
        command::output(&mut self.operate(&words))
    }

    fn revoke(&self, name: &str) -> Result<()> {
        command::output(&mut self.operate(&["box", "revoke", name])).map(drop)
    }

    fn wireguard(&self, name: &str) -> Result<([u8; 32], u16)> {
        let path = self.box_dir(name).join("mesh/wireguard.key");
        let text = std::fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
        let seed = BASE64URL_NOPAD.decode(text.trim().as_bytes()).ok().context("an odd key")?;
        let seed: [u8; 32] = seed.try_into().map_err(|_| anyhow!("a key of another length"))?;
        let host = self.world.namespace(&self.world.site(name).host);
        let sockets = command::output(host.tool("ss").args(["-Huln"]))?;
        Ok((x25519_dalek::x25519(seed, x25519_dalek::X25519_BASEPOINT_BYTES), wireguard_port(&sockets)?))
    }
}

/// The names in a line such as `peers        2: ana, bob`.
fn peers(said: &str) -> Vec<String> {
    let line = said.lines().find_map(|line| line.strip_prefix("peers "));
    let names = line.and_then(|line| line.split_once(": ")).map_or("", |(_, names)| names);
    let names = names.split([';', '(']).next().unwrap_or_default().split(", ");
    names.map(|name| name.trim().to_owned()).filter(|name| !name.is_empty()).collect()
}

/// Where the words of `relayd join` are kept.
pub(crate) fn join_log(world: &World, name: &str) -> PathBuf {
    world.dir().join(format!("{name}-join.log"))
}

/// Of all UDP sockets in a namespace, the one that listens for IPv4 from anywhere.
fn wireguard_port(sockets: &str) -> Result<u16> {
    let places = sockets.lines().filter_map(|line| line.split_whitespace().nth(3));
    let mut ports = places.filter_map(|place| place.strip_prefix("0.0.0.0:"));
    let port = ports.next().with_context(|| format!("no port in: {sockets}"))?;
    port.parse().with_context(|| format!("odd port {port}"))
}

fn indented(text: &str) -> String {
    text.lines().map(|line| format!("    {line}\n")).collect()
}

fn mesh_address(said: &str) -> Result<IpAddr> {
    let line = said.lines().find_map(|line| line.strip_prefix("address "));
    let address = line.with_context(|| format!("no address in: {said}"))?.trim();
    let address: IpAddr = address.parse().with_context(|| format!("odd address {address}"))?;
    ensure!(address.is_ipv6(), "the mesh's addresses are IPv6, not {address}");
    Ok(address)
}

/// The mesh itself, as it connects the boxes of a cell.
#[derive(Debug)]
pub(crate) struct Mesh {
    pub(crate) binaries: MeshBinaries,
    /// Boards that begin in 1970.
    pub(crate) clockless: BTreeSet<String>,
    /// Sites at which there is no box.
    pub(crate) boxless: BTreeSet<String>,
    /// Places of a box's map, if not as many as usual.
    pub(crate) map_boxes_max: Option<u16>,
}

impl Mesh {
    pub(crate) fn new(binaries: MeshBinaries) -> Mesh {
        Mesh { binaries, clockless: BTreeSet::new(), boxless: BTreeSet::new(), map_boxes_max: None }
    }
}

impl Overlay for Mesh {
    fn limits(&self) -> Limits {
        Limits { connect: Duration::from_secs(60), settle: Duration::from_secs(40) }
    }

    fn bring_up<'a>(&'a self, world: &'a World, stop: &Stop) -> Result<Fleet<'a>> {
        let mut house = House::open_with(world, &self.binaries, self.map_boxes_max, stop)?;
        for board in &self.clockless {
            let clock = BoardClock::of(world.dir(), board);
            clock.make()?;
            house.clocks.insert(board.clone(), clock);
        }
        let sites: Vec<_> = world.sites().iter().filter(|site| !self.boxless.contains(&site.name)).collect();
        let invites = sites.iter().map(|site| house.invite(&site.name)).collect::<Result<Vec<_>>>()?;
        let mut sites = sites.into_iter().zip(&invites).collect::<Vec<_>>();
        // Box b comes last: its time counts.
        sites.sort_by_key(|(site, _)| site.name == "b");
        let (mut addresses, mut began) = (BTreeMap::new(), Instant::now());
        for (site, invite) in sites {
            began = Instant::now();
            addresses.insert(site.name.clone(), house.bring_in(site, invite)?);
        }
        Ok(Fleet { addresses, began, port: BOX_PORT, running: Box::new(house) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_address_is_read_from_what_join_says() {
        let said = "Joined as ana.\nname         ana\naddress      fd52:854:ba7e:0:e85:6f82:c679:b2cd\n";
        assert_eq!(mesh_address(said).unwrap().to_string(), "fd52:854:ba7e:0:e85:6f82:c679:b2cd");
        assert!(mesh_address("Joined as ana.\n").is_err());
    }

    #[test]
    fn who_is_known_is_read_from_what_status_says() {
        let said =
            "membership   good\npeers        2: ana, bob; 1 in the map are refused (the map is stale)\n";
        assert_eq!(peers(said), ["ana", "bob"]);
        assert_eq!(peers("peers        0\n"), Vec::<String>::new());
        assert_eq!(peers("peers        no map yet\n"), Vec::<String>::new());
    }
}
