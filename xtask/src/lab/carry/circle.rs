//! A circle of friends in a world: a box at which a stream is published, boxes that carry it, a viewer behind each.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};

use super::flows;
use super::lines::{self, Lines};
use crate::build::MeshBinaries;
use crate::child::Child;
use crate::lab::house::{House, Outfit};
use crate::lab::plan::Wanted;
use crate::lab::world::World;
use crate::source::{AUDIO_KBPS, Source};
use crate::stop::Stop;
use crate::viewer::{Reader, Tally, Viewer};

/// The name and key of the stream.
pub(crate) const STREAM: &str = "demo";
const KEY: &str = "carriedbyfriends";
/// Every box of the lab listens here.
pub(crate) const HTTP_PORT: u16 = 8080;
pub(crate) const RTMP_PORT: u16 = 1935;
/// What a box without slow lines is asked with.
const ASK_LIMIT: Duration = Duration::from_secs(5);
/// How long a viewer may wait for its first parts: a box that was pulled from the wall has to come back first.
const FIRST_LIMIT: Duration = Duration::from_secs(40);
/// So many parts make a picture.
const FIRST_PARTS: u64 = 10;

/// Everything ends when this does: viewers first.
pub(crate) struct Circle<'a> {
    pub(crate) world: &'a World,
    viewers: BTreeMap<String, Viewer>,
    publisher: Option<Child>,
    house: House<'a>,
    pub(crate) origin: String,
    /// All but the origin.
    pub(crate) boxes: Vec<String>,
}

/// What boxes count of their relaying, all streams together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Relayed {
    pub(crate) sent_bytes: u64,
    pub(crate) received_bytes: u64,
    pub(crate) verified: u64,
    pub(crate) forged: u64,
    pub(crate) pulls: u64,
    pub(crate) gaps: u64,
}

impl<'a> Circle<'a> {
    /// Makes the lines slow, starts a coordinator and lets all boxes in; the first site is the origin's.
    pub(crate) fn open(
        world: &'a World,
        binaries: &'a MeshBinaries,
        lines: Lines,
        stop: &Stop,
    ) -> Result<Circle<'a>> {
        flows::count(world)?;
        let mut house = House::open(world, binaries, stop)?;
        let mut names = Vec::new();
        for (index, site) in world.sites().iter().enumerate() {
            let line_kbps = if index == 0 { lines.origin_kbps } else { lines.box_kbps };
            lines::shape(world, site, line_kbps)?;
            let outfit = Outfit {
                stream: (index == 0).then(|| (STREAM.to_owned(), KEY.to_owned())),
                upload_kbps_max: Lines::told_kbps(line_kbps),
                external: None,
            };
            house.dress(&site.name, outfit);
            let invite = house.invite(&site.name)?;
            house.bring_in(site, &invite)?;
            names.push(site.name.clone());
        }
        let origin = names.remove(0);
        Ok(Circle { world, viewers: BTreeMap::new(), publisher: None, house, origin, boxes: names })
    }

    pub(crate) fn box_names(&self) -> Vec<&str> {
        self.boxes.iter().map(String::as_str).collect()
    }

    /// The test picture, at a constant rate, through RTMP.
    pub(crate) fn publish(&mut self, stream_kbps: u64) -> Result<()> {
        let video_kbps =
            u32::try_from(stream_kbps.saturating_sub(u64::from(AUDIO_KBPS))).context("a rate")?;
        let source = Source { width: 640, height: 360, video_kbps, ..Source::default() };
        let mut ffmpeg = self.world.namespace(&self.world.site(&self.origin).host).tool("ffmpeg");
        ffmpeg.args(source.arguments(&format!("rtmp://127.0.0.1:{RTMP_PORT}/live/{KEY}")));
        let log = self.world.dir().join("publisher.log");
        self.publisher = Some(Child::start("the publisher (ffmpeg)", &ffmpeg, &log)?);
        Ok(())
    }

    /// Somebody in this house begins to watch.
    pub(crate) fn watch(&mut self, name: &str) -> Result<()> {
        let place = self.world.namespace(&self.world.site(name).host).handle()?;
        let sample = self.world.dir().join(format!("{name}-sample.mp4"));
        let url = format!("http://127.0.0.1:{HTTP_PORT}");
        self.viewers.insert(name.to_owned(), Viewer::start_inside(place, &url, STREAM, sample));
        Ok(())
    }

    /// Nobody watches there any more.
    pub(crate) fn unwatch(&mut self, name: &str) -> Option<Viewer> {
        self.viewers.remove(name)
    }

    /// Waits until all these viewers have a picture; how long it took.
    pub(crate) fn await_pictures(&mut self, names: &[&str], stop: &Stop) -> Result<Duration> {
        let began = Instant::now();
        for name in names {
            let viewer = self.viewers.get(*name).with_context(|| format!("nobody watches at {name}"))?;
            let left = FIRST_LIMIT.saturating_sub(began.elapsed());
            if !stop.wait_until(left, || viewer.tally().parts >= FIRST_PARTS) {
                let why = viewer.tally().last_fault.unwrap_or_else(|| "nothing was refused".to_owned());
                self.ensure_alive()?;
                anyhow::bail!("no picture at {name} after {} s: {why}", began.elapsed().as_secs());
            }
        }
        Ok(began.elapsed())
    }

    /// What each viewer has seen; the least in their buffers is looked for anew from now on.
    pub(crate) fn look(&self) -> BTreeMap<String, Tally> {
        self.viewers.iter().map(|(name, viewer)| (name.clone(), viewer.look())).collect()
    }

    /// An error if the publisher or the origin ended by itself.
    pub(crate) fn ensure_alive(&mut self) -> Result<()> {
        if let Some(publisher) = &mut self.publisher
            && publisher.ended().is_some()
        {
            return Err(publisher.failure());
        }
        let origin = self.origin.clone();
        self.house.ensure_alive(&origin)
    }

    /// Pulls the plug of a box.
    pub(crate) fn kill(&mut self, name: &str) -> Result<()> {
        ensure!(self.house.kill(name), "there is no box {name}");
        Ok(())
    }

    pub(crate) fn revive(&mut self, name: &str) -> Result<()> {
        self.house.revive(name)
    }

    /// Every packet between the box and the internet vanishes, both ways, and nobody is told.
    pub(crate) fn cut_off(&self, name: &str) -> Result<()> {
        let edge = self.world.namespace(&self.world.site(name).edge);
        edge.nft(
            "table inet cut {
  chain forward {
    type filter hook forward priority filter - 20; policy drop;
  }
}
",
        )
    }

    pub(crate) fn reconnect(&self, name: &str) -> Result<()> {
        self.world.namespace(&self.world.site(name).edge).nft("delete table inet cut\n")
    }

    /// An answer of a box to somebody in its house.
    pub(crate) fn ask(&self, name: &str, path: &str) -> Result<String> {
        let host = self.world.namespace(&self.world.site(name).host);
        let url = format!("http://127.0.0.1:{HTTP_PORT}{path}");
        host.inside(|| Reader::new(ASK_LIMIT).fetch_text(&url))
    }

    /// What a box counted since its last start.
    pub(crate) fn relayed(&self, name: &str) -> Result<Relayed> {
        Ok(parse_relayed(&self.ask(name, "/metrics")?))
    }

    /// The ends of the boxes' logs.
    pub(crate) fn logs(&self) -> String {
        use crate::lab::cell::Running as _;
        self.house.logs()
    }
}

impl Drop for Circle<'_> {
    fn drop(&mut self) {
        for viewer in std::mem::take(&mut self.viewers).into_values() {
            viewer.leave();
        }
    }
}

/// Names of friends in the order in which they come.
pub(crate) fn sites(wanted: &[Wanted], boxes: usize) -> &[Wanted] {
    &wanted[..=boxes.min(wanted.len() - 1)]
}

fn parse_relayed(text: &str) -> Relayed {
    let sum = |name: &str| {
        let rows = text.lines().filter_map(|line| line.strip_prefix(name));
        let rows = rows.filter(|rest| rest.starts_with(['{', ' ']));
        rows.filter_map(|rest| rest.rsplit(' ').next()?.parse::<u64>().ok()).sum()
    };
    Relayed {
        sent_bytes: sum("relaybox_relay_sent_bytes_total"),
        received_bytes: sum("relaybox_relay_received_bytes_total"),
        verified: sum("relaybox_relay_blocks_verified_total"),
        forged: sum("relaybox_relay_forged_total"),
        pulls: sum("relaybox_relay_pulls_total"),
        gaps: sum("relaybox_relay_gaps_total"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_are_read_from_the_box_s_page() {
        let text = "# TYPE relaybox_relay_forged_total counter
relaybox_relay_forged_total{stream=\"demo\"} 3
relaybox_relay_forged_total{stream=\"other\"} 1
relaybox_relay_sent_bytes_total{stream=\"demo\"} 1200
";
        let relayed = parse_relayed(text);
        assert_eq!((relayed.forged, relayed.sent_bytes, relayed.gaps), (4, 1200, 0));
    }
}
