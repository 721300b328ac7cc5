//! Boxes with a stream of their own each: one is published, and watched at another box. No line is slow.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};

use super::{Report, Scene};
use crate::child::Child;
use crate::lab::carry::circle::{HTTP_PORT, RTMP_PORT};
use crate::lab::carry::trouble_of;
use crate::lab::house::{House, Outfit};
use crate::lab::world::World;
use crate::source::{AUDIO_KBPS, Source};
use crate::stop::Stop;
use crate::viewer::{Reader, Tally, Viewer, playlist};

/// Picture and sound.
const STREAM_KBPS: u32 = 1000;
/// More than that, for all who take it.
const UPLOAD_KBPS_MAX: u64 = 20_000;
/// How long a picture may sort itself out before it counts.
const SETTLE: Duration = Duration::from_secs(5);
/// With what a box is asked for one thing.
const ASK_LIMIT: Duration = Duration::from_secs(10);
/// So many parts make a picture.
const FIRST_PARTS: u64 = 10;

/// Everything ends when this does, viewers first.
pub(super) struct Broadcast<'a> {
    /// By the box at which they watch; the one that came last is looked at.
    viewers: BTreeMap<String, Viewer>,
    last: String,
    addresses: BTreeMap<String, IpAddr>,
    publisher: Option<Child>,
    pub(super) house: House<'a>,
    world: &'a World,
}

/// How the stream of a box is called.
pub(super) fn stream(name: &str) -> String {
    format!("show-{name}")
}

fn key(name: &str) -> String {
    format!("publishedat{name}")
}

impl<'a> Broadcast<'a> {
    /// Lets a box in at each site. With an interface that is there already, if one is named.
    pub(super) fn open(
        scene: &'a Scene<'_>,
        world: &'a World,
        map_boxes_max: Option<u16>,
        external: Option<&'static str>,
    ) -> Result<Broadcast<'a>> {
        Self::open_with(scene, world, map_boxes_max, external, None)
    }

    /// The same where one box gives others less than the rest.
    pub(super) fn open_with_poor(
        scene: &'a Scene<'_>,
        world: &'a World,
        name: &str,
        upload_kbps_max: u64,
    ) -> Result<Broadcast<'a>> {
        Self::open_with(scene, world, None, None, Some((name, upload_kbps_max)))
    }

    fn open_with(
        scene: &'a Scene<'_>,
        world: &'a World,
        map_boxes_max: Option<u16>,
        external: Option<&'static str>,
        poor: Option<(&str, u64)>,
    ) -> Result<Broadcast<'a>> {
        let mut house = House::open_with(world, &scene.binaries, map_boxes_max, scene.stop)?;
        let mut addresses = BTreeMap::new();
        for site in world.sites() {
            let stream = Some((stream(&site.name), key(&site.name)));
            let least = poor.filter(|(name, _)| *name == site.name).map(|(_, kbps)| kbps);
            let upload_kbps_max = least.unwrap_or(UPLOAD_KBPS_MAX);
            house.dress(&site.name, Outfit { stream, upload_kbps_max, external });
            let invite = house.invite(&site.name)?;
            addresses.insert(site.name.clone(), house.bring_in(site, &invite)?);
        }
        let (viewers, last) = (BTreeMap::new(), String::new());
        Ok(Broadcast { viewers, last, addresses, publisher: None, house, world })
    }

    /// In the mesh.
    pub(super) fn address(&self, name: &str) -> Result<IpAddr> {
        self.addresses.get(name).copied().with_context(|| format!("there is no box {name}"))
    }

    /// Publishes at one box, and lets somebody watch at the other.
    pub(super) fn begin(&mut self, at: &str, watched_at: &str) -> Result<()> {
        self.publish(at, STREAM_KBPS)?;
        self.watch(at, watched_at)
    }

    /// Publishes at a box: picture and sound together have so many kbit/s.
    pub(super) fn publish(&mut self, at: &str, kbps: u32) -> Result<()> {
        // One that published before is gone when the next comes.
        self.publisher = None;
        let video_kbps = kbps.saturating_sub(AUDIO_KBPS);
        let source = Source { width: 640, height: 360, video_kbps, ..Source::default() };
        let mut ffmpeg = self.world.namespace(&self.world.site(at).host).tool("ffmpeg");
        ffmpeg.args(source.arguments(&format!("rtmp://127.0.0.1:{RTMP_PORT}/live/{}", key(at))));
        let log = self.world.dir().join("publisher.log");
        self.publisher = Some(Child::start("the publisher (ffmpeg)", &ffmpeg, &log)?);
        Ok(())
    }

    /// Lets somebody watch at a box what is published at another.
    pub(super) fn watch(&mut self, at: &str, watched_at: &str) -> Result<()> {
        let place = self.world.namespace(&self.world.site(watched_at).host).handle()?;
        let url = format!("http://127.0.0.1:{HTTP_PORT}");
        let sample = self.world.dir().join(format!("{watched_at}-sample.mp4"));
        let viewer = Viewer::start_inside(place, &url, &stream(at), sample);
        self.viewers.insert(watched_at.to_owned(), viewer);
        self.last = watched_at.to_owned();
        Ok(())
    }

    fn viewer(&self) -> Result<&Viewer> {
        self.viewers.get(&self.last).context("nobody watches")
    }

    /// What all viewers have seen.
    pub(super) fn look(&self) -> BTreeMap<String, Tally> {
        self.viewers.iter().map(|(name, viewer)| (name.clone(), viewer.look())).collect()
    }

    /// What they had to bear since then, as a sentence.
    pub(super) fn trouble_since(&self, before: &BTreeMap<String, Tally>) -> String {
        trouble_of(before, &self.look())
    }

    /// How long the first picture took, or what was said in its place.
    pub(super) fn picture(&mut self, limit: Duration, stop: &Stop) -> Result<Duration> {
        let began = Instant::now();
        let viewer = self.viewer()?;
        if stop.wait_until(limit, || viewer.tally().parts >= FIRST_PARTS) {
            return Ok(began.elapsed());
        }
        let why = viewer.tally().last_fault.unwrap_or_else(|| "nothing was refused".to_owned());
        if let Some(publisher) = &mut self.publisher
            && publisher.ended().is_some()
        {
            return Err(publisher.failure());
        }
        anyhow::bail!("no picture after {} s: {why}", limit.as_secs())
    }

    /// Finds whether it goes on for so long without a gap or a refusal, and says how many bytes of media that were. How
    /// smooth it is, is not asked here, nor whether the publisher keeps its pace: what was built for tests may share a busy
    /// machine.
    pub(super) fn plays(&self, time: Duration, report: &mut Report, stop: &Stop) -> Result<u64> {
        let viewer = self.viewer()?;
        stop.wait(SETTLE);
        let before = viewer.look();
        stop.wait(time);
        let after = viewer.look();
        let (gaps, faults) = (after.gaps - before.gaps, after.faults - before.faults);
        let (media_s, seconds) = (after.media_s - before.media_s, time.as_secs_f64());
        let whole = gaps == 0 && faults == 0 && media_s >= seconds / 2.0;
        let stalls = after.pace.stalls_total - before.pace.stalls_total;
        let fault = after.last_fault.filter(|_| faults > 0).unwrap_or_default();
        let text = format!(
            "{media_s:.1} s of media in {seconds:.0} s, {gaps} gaps, {stalls} stops, {faults} faults {fault}"
        );
        report.find(whole, text.trim_end().to_owned());
        Ok(after.bytes - before.bytes)
    }

    /// What a box says of itself, for people.
    pub(super) fn status(&self, name: &str) -> Result<String> {
        self.house.status(self.world.site(name))
    }

    /// The ends of all logs.
    pub(super) fn logs(&self) -> String {
        use crate::lab::cell::Running as _;
        self.house.logs()
    }
}

/// Somebody in a house who asks its box for a stream.
pub(super) struct Place<'a> {
    pub(super) world: &'a World,
    pub(super) name: &'a str,
    pub(super) stream: &'a str,
}

impl Place<'_> {
    pub(super) fn fetch(&self, file: &str) -> Result<Vec<u8>> {
        let host = self.world.namespace(&self.world.site(self.name).host);
        let url = format!("http://127.0.0.1:{HTTP_PORT}/live/{}/{file}", self.stream);
        host.inside(|| Reader::new(ASK_LIMIT).fetch(&url))
    }

    /// The name of the media playlist, and what it says when asked so.
    pub(super) fn playlist(&self, query: &str) -> Result<(String, String)> {
        let text = String::from_utf8(self.fetch("index.m3u8")?).context("a playlist")?;
        let name = playlist::first_variant(&text).context("no variant")?.to_owned();
        let text = String::from_utf8(self.fetch(&format!("{name}{query}"))?).context("a playlist")?;
        Ok((name, text))
    }
}

impl Drop for Broadcast<'_> {
    fn drop(&mut self) {
        for viewer in std::mem::take(&mut self.viewers).into_values() {
            viewer.leave();
        }
    }
}
