//! Boxes with a stream of their own each: one is published, and watched at another box. No line is slow.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};

use super::{Report, Scene};
use crate::child::Child;
use crate::lab::carry::circle::{HTTP_PORT, RTMP_PORT};
use crate::lab::house::{House, Outfit};
use crate::lab::world::World;
use crate::source::{AUDIO_KBPS, Source};
use crate::stop::Stop;
use crate::viewer::Viewer;

/// Picture and sound.
const STREAM_KBPS: u32 = 1000;
/// More than that, for all who take it.
const UPLOAD_KBPS_MAX: u64 = 20_000;
/// How long a picture may sort itself out before it counts.
const SETTLE: Duration = Duration::from_secs(5);
/// So many parts make a picture.
const FIRST_PARTS: u64 = 10;

/// Everything ends when this does, the viewer first.
pub(super) struct Broadcast<'a> {
    viewer: Option<Viewer>,
    publisher: Option<Child>,
    pub(super) house: House<'a>,
    world: &'a World,
}

fn stream(name: &str) -> String {
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
        let mut house = House::open_with(world, &scene.binaries, map_boxes_max, scene.stop)?;
        for site in world.sites() {
            let stream = Some((stream(&site.name), key(&site.name)));
            house.dress(&site.name, Outfit { stream, upload_kbps_max: UPLOAD_KBPS_MAX, external });
            let invite = house.invite(&site.name)?;
            house.bring_in(site, &invite)?;
        }
        Ok(Broadcast { viewer: None, publisher: None, house, world })
    }

    /// Publishes at one box, and lets somebody watch at the other.
    pub(super) fn begin(&mut self, at: &str, watched_at: &str) -> Result<()> {
        let source =
            Source { width: 640, height: 360, video_kbps: STREAM_KBPS - AUDIO_KBPS, ..Source::default() };
        let mut ffmpeg = self.world.namespace(&self.world.site(at).host).tool("ffmpeg");
        ffmpeg.args(source.arguments(&format!("rtmp://127.0.0.1:{RTMP_PORT}/live/{}", key(at))));
        let log = self.world.dir().join("publisher.log");
        self.publisher = Some(Child::start("the publisher (ffmpeg)", &ffmpeg, &log)?);
        let place = self.world.namespace(&self.world.site(watched_at).host).handle()?;
        let url = format!("http://127.0.0.1:{HTTP_PORT}");
        let sample = self.world.dir().join("sample.mp4");
        self.viewer = Some(Viewer::start_inside(place, &url, &stream(at), sample));
        Ok(())
    }

    /// How long the first picture took, or what was said in its place.
    pub(super) fn picture(&mut self, limit: Duration, stop: &Stop) -> Result<Duration> {
        let began = Instant::now();
        let viewer = self.viewer.as_ref().context("nobody watches")?;
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
        let viewer = self.viewer.as_ref().context("nobody watches")?;
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

impl Drop for Broadcast<'_> {
    fn drop(&mut self) {
        if let Some(viewer) = self.viewer.take() {
            viewer.leave();
        }
    }
}
