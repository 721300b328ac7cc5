//! Boxes in a world, with an echo at each: does a byte go through, and which way does a volume go.
//!
//! The judgement asks nobody but the routers between which the volume went.

use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context as _, Result};

use super::cell::{Fleet, Overlay};
use super::meter::{self, Ends, PathType, Reading};
use super::netns::Namespace;
use super::plan::{COORDINATOR_V4, COORDINATOR_V6};
use super::traffic::{self, Echo};
use super::world::World;
use crate::stop::Stop;

/// How long it may take to connect for a volume between boxes that are thought to reach each other.
const CONNECT_LIMIT: Duration = Duration::from_secs(5);

pub(crate) struct Stage<'a> {
    pub(crate) world: &'a World,
    pub(crate) fleet: Fleet<'a>,
    _echoes: Vec<Echo>,
}

/// Which way a volume went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Seen {
    /// None if no way carried most of it, or if the two routers disagree.
    pub(crate) path: Option<PathType>,
    /// What the routers counted, for people.
    pub(crate) counted: String,
}

impl Seen {
    pub(crate) fn name(&self) -> &'static str {
        self.path.map_or("no one way", PathType::name)
    }
}

impl<'a> Stage<'a> {
    pub(crate) fn set(world: &'a World, overlay: &'a dyn Overlay, stop: &Stop) -> Result<Stage<'a>> {
        let fleet = overlay.bring_up(world, stop)?;
        let echo = |name: &String| Echo::start(world.namespace(&world.site(name).host), fleet.port);
        let echoes = fleet.addresses.keys().map(echo).collect::<Result<Vec<_>>>()?;
        Ok(Stage { world, fleet, _echoes: echoes })
    }

    pub(crate) fn host(&self, name: &str) -> &Namespace {
        self.world.namespace(&self.world.site(name).host)
    }

    /// Where a box answers.
    pub(crate) fn place(&self, name: &str) -> SocketAddr {
        let address = self.fleet.addresses.get(name);
        let address = address.unwrap_or_else(|| panic!("there is no box {name}"));
        (*address, self.fleet.port).into()
    }

    /// As `traffic::first_byte`.
    pub(crate) fn first_byte(
        &self,
        [from, to]: [&str; 2],
        limit: Duration,
        stop: &Stop,
    ) -> Option<TcpStream> {
        traffic::first_byte(self.host(from), self.place(to), limit, stop)
    }

    /// As `traffic::exchange`, with some patience.
    pub(crate) fn exchange(&self, [from, to]: [&str; 2], bytes: usize) -> Result<Duration> {
        let stream = self.first_byte([from, to], CONNECT_LIMIT, &Stop::default());
        let stream = stream.with_context(|| format!("from {from} to {to}: no connection"))?;
        traffic::volume(stream, bytes).with_context(|| format!("from {from} to {to}"))
    }

    /// Lets a volume go there and back twice, once from each side, and says which way it went. The inner error is the
    /// boxes' and the outer one the lab's.
    pub(crate) fn way(&self, pair: [&str; 2], bytes: usize) -> Result<Result<Seen>> {
        let [a, b] = pair;
        measure(self.world, pair, 4 * bytes as u64, || {
            self.exchange([b, a], bytes)?;
            self.exchange([a, b], bytes).map(drop)
        })
    }
}

/// Reads which way a volume goes past both routers.
pub(crate) fn measure(
    world: &World,
    [a, b]: [&str; 2],
    bytes: u64,
    volume: impl FnOnce() -> Result<()>,
) -> Result<Result<Seen>> {
    let routers = [a, b].map(|name| world.namespace(&world.site(name).edge));
    let before = [Reading::take(routers[0])?, Reading::take(routers[1])?];
    if let Err(error) = volume() {
        return Ok(Err(error));
    }
    let mut paths = Vec::new();
    let mut counted = String::new();
    for (index, (own, other)) in [(a, b), (b, a)].into_iter().enumerate() {
        let seen = Reading::take(routers[index])?.since(&before[index]);
        counted.push_str(&format!("    past the router of {own}: {seen}\n"));
        paths.push(meter::way(&seen, &ends(world, [own, other]), bytes));
    }
    // Both routers have to say the same.
    let path = if paths[0] == paths[1] { paths[0] } else { None };
    Ok(Ok(Seen { path, counted }))
}

/// Who is at the far end for a box that talks to another.
fn ends(world: &World, [own, other]: [&str; 2]) -> Ends {
    let everywhere = |name: &str| {
        let site = world.site(name);
        site.public.iter().copied().chain(site.later).collect::<Vec<_>>()
    };
    let third = world.sites().iter().filter(|site| ![own, other].contains(&site.name.as_str()));
    Ends {
        other: everywhere(other),
        third: third.flat_map(|site| everywhere(&site.name)).collect(),
        coordinator: vec![COORDINATOR_V4.into(), COORDINATOR_V6.into()],
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use super::*;
    use crate::lab::cell;
    use crate::lab::expect::Company;
    use crate::lab::plan::SERVICE;
    use crate::lab::privilege;

    const VOLUME: usize = 256 * 1024;

    /// Real TCP to the coordinator's place, as the last resort of the mesh has it.
    #[test]
    fn tcp_to_the_coordinator_is_seen_to_be_that() {
        if !privilege::can_make_worlds() {
            return;
        }
        let cell = cell::wanted("blocked:v6".parse().unwrap(), Company::Alone);
        let world = World::new(&cell, false).unwrap();
        let _echo = Echo::start(world.namespace(SERVICE), 8443).unwrap();
        let send = |name: &str, to: IpAddr| {
            traffic::exchange(world.namespace(&world.site(name).host), (to, 8443).into(), 2 * VOLUME)
        };
        let volume = || {
            send("a", COORDINATOR_V4.into()).context("a")?;
            send("b", COORDINATOR_V6.into()).map(drop)
        };
        let seen = measure(&world, ["a", "b"], 4 * VOLUME as u64, volume).unwrap().unwrap();
        assert_eq!(seen.path, Some(PathType::RelayedTls), "{}", seen.counted);
    }
}
