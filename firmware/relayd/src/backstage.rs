//! What the HTTP side asks of the daemon.

use std::error::Error;
use std::fmt::Write as _;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use ingest::{CloseReason, Refusal};
use relay::Tally;
use serve::{
    AudioStatus, Backstage, BackstageError, BoxView, GivingView, GivingWish, Health, LinkView, LinkWish,
    StreamState, StreamStatus, StudioStream, StudioView, VideoStatus, Wanting,
};
use store::Live;
use stream::{ObjectName, StreamName};
use trust::{Access, AccessError, StreamKey};
use wire::WatchUrl;

use crate::admission::Admission;
use crate::advice::advise;
use crate::carry::Carriers;
use crate::health;
use crate::notices;
use crate::publish::Roster;
use crate::pull::Pulls;
use crate::secrets::STREAMS_MAX;
use crate::setup::{self, Pin};
use crate::status::Facts;

pub(crate) struct Office {
    pub(crate) name: String,
    pub(crate) roster: Arc<Roster>,
    pub(crate) admission: Arc<Admission>,
    /// None at a box by itself.
    pub(crate) carriers: Option<Arc<Carriers>>,
    pub(crate) pulls: Arc<Pulls>,
    /// Where others leave what a person has to mend.
    pub(crate) notices: Option<PathBuf>,
    pub(crate) pin: Arc<Pin>,
    pub(crate) setup: setup::Desk,
    pub(crate) started: Instant,
    pub(crate) rtmp: SocketAddr,
    pub(crate) rtmps: Option<SocketAddr>,
    pub(crate) https: Option<SocketAddr>,
}

impl Office {
    fn names(&self) -> Vec<StreamName> {
        self.roster.keys().names().filter_map(|name| name.parse().ok()).collect()
    }

    fn status(&self, name: &StreamName) -> StreamStatus {
        let slot = self.roster.slot(name);
        let live = self.roster.store().get(name);
        let target_duration_s = live.as_ref().and_then(|live| live.target_duration_s());
        let viewers = live.as_ref().map_or(0, |live| live.viewers() as u64);
        let facts = slot.status.facts();
        let state = match (facts.publishing, target_duration_s) {
            (false, _) => StreamState::Offline,
            (true, None) => StreamState::Waiting,
            (true, Some(_)) => StreamState::Live,
        };
        StreamStatus {
            name: name.to_string(),
            state,
            since_unix_ms: facts.since_unix_ms.filter(|_| facts.publishing),
            video: video_status(&facts),
            audio: audio_status(&facts),
            codecs: facts.codecs.clone(),
            bitrate_bps: facts.bitrate_bps,
            viewers,
            keyframe_interval_ms: facts.keyframe_interval_ms,
            keyframe_interval_ms_max: facts.keyframe_interval_ms_max,
            skew_ms: facts.skew_ms,
            drift_ppm: facts.drift_ppm,
            target_duration_s,
            part_target_ms: facts.part_target_ms,
            encoder: facts.encoder.clone(),
            source: self.pulls.view(name),
        }
    }

    fn carried_metrics(&self, out: &mut String) {
        let Some(carriers) = &self.carriers else { return };
        let tallies = carriers.tallies();
        for metric in RELAY_METRICS {
            let _ = writeln!(out, "# HELP {} {}\n# TYPE {0} counter", metric.name, metric.help);
            for (name, tally, gaps) in &tallies {
                let _ =
                    writeln!(out, "{}{{stream=\"{name}\"}} {}", metric.name, (metric.value)(tally, *gaps));
            }
        }
    }

    /// Published here, if anywhere.
    fn is_own(&self, name: &StreamName) -> bool {
        self.roster.keys().key(name).is_some()
    }

    fn keeps(&self) -> Result<(), BackstageError> {
        self.setup.lost().map_or(Ok(()), |why| Err(BackstageError::Forgetful(why.to_owned())))
    }

    fn exists(&self, name: &StreamName) -> Result<(), BackstageError> {
        self.roster.keys().key(name).map(|_| ()).ok_or(BackstageError::NotFound)
    }
}

/// What a box knows of a stream of another box.
fn carried_status(name: &StreamName, live: &Live) -> StreamStatus {
    let target_duration_s = live.target_duration_s();
    let item = live.newest_part();
    let part = item.as_ref().and_then(|item| item.part());
    let epoch = part.and_then(|part| live.sealed(ObjectName::Init(part.epoch())));
    let record = epoch.as_ref().and_then(|item| item.epoch()).map(|epoch| &epoch.record);
    let facts = record.map_or_else(Facts::default, |record| Facts {
        tracks: record.tracks.clone(),
        resolution: record.resolution,
        frame_rate_milli: record.frame_rate_milli,
        ..Facts::default()
    });
    StreamStatus {
        name: name.to_string(),
        state: if target_duration_s.is_some() { StreamState::Live } else { StreamState::Waiting },
        video: video_status(&facts),
        audio: audio_status(&facts),
        codecs: record.map(|record| record.codecs.clone()),
        bitrate_bps: part.map_or(0, |part| part.stamp.average_bps),
        viewers: live.viewers() as u64,
        target_duration_s,
        ..StreamStatus::default()
    }
}

fn video_status(facts: &Facts) -> Option<VideoStatus> {
    let track = facts.tracks.video.as_ref()?;
    let (width, height) = facts.resolution.unwrap_or_default();
    let frame_rate = f64::from(facts.frame_rate_milli.unwrap_or(0)) / 1000.0;
    Some(VideoStatus { codec: track.codec.to_string(), width, height, frame_rate })
}

fn audio_status(facts: &Facts) -> Option<AudioStatus> {
    let track = facts.tracks.audio.as_ref()?;
    let format = track.audio?;
    Some(AudioStatus {
        codec: track.codec.to_string(),
        sample_rate: format.sample_rate,
        channels: format.channels,
    })
}

fn failed(error: anyhow::Error) -> BackstageError {
    BackstageError::Failed(Box::<dyn Error + Send + Sync>::from(error))
}

impl Backstage for Office {
    fn box_view(&self) -> BoxView {
        let store = self.roster.store();
        BoxView {
            name: self.name.clone(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            uptime_s: self.started.elapsed().as_secs(),
            cache_bytes: store.bytes(),
            cache_bytes_max: store.bytes_max(),
            rtmp_port: self.rtmp.port(),
            rtmps_port: self.rtmps.map(|address| address.port()),
            https_port: self.https.map(|address| address.port()),
            health: self.health(),
        }
    }

    fn streams(&self) -> Vec<StreamStatus> {
        let mut streams: Vec<_> = self.names().iter().map(|name| self.status(name)).collect();
        if let Some(carriers) = &self.carriers {
            streams.extend(carriers.carried().iter().map(|(name, _, live)| carried_status(name, live)));
        }
        streams
    }

    fn studio(&self) -> StudioView {
        let names = self.names();
        let streams = names.iter().map(|name| {
            let facts = self.roster.slot(name).status.facts().clone();
            let trouble = self.roster.store().get(name).and_then(|live| live.trouble());
            StudioStream {
                status: self.status(name),
                access: self.admission.access(name),
                access_fixed: self.admission.is_fixed(name),
                key: self.roster.keys().key(name).map(|key| key.expose().to_owned()).unwrap_or_default(),
                advice: [self.pulls.advice(name), advise(&facts, trouble)].concat(),
                history: facts.history.into(),
                offload: self.carriers.as_ref().and_then(|carriers| carriers.origins.offload(name)),
            }
        });
        StudioView {
            server_port: self.rtmp.port(),
            streams: streams.collect(),
            refusals: self.roster.refusals(),
        }
    }

    fn create_stream(&self, name: &StreamName) -> Result<String, BackstageError> {
        self.keeps()?;
        let mut keys = self.roster.keys();
        if keys.key(name).is_some() {
            return Err(BackstageError::Exists);
        }
        if keys.names().count() >= STREAMS_MAX {
            return Err(BackstageError::TooMany);
        }
        keys.set(name, None).map(|key| key.expose().to_owned()).map_err(failed)
    }

    fn rotate_key(&self, name: &StreamName) -> Result<String, BackstageError> {
        self.keeps()?;
        self.exists(name)?;
        let key = self.roster.keys().set(name, None).map_err(failed)?;
        self.roster.disconnect(name, CloseReason::Refused(Refusal::WrongKey));
        Ok(key.expose().to_owned())
    }

    fn remove_stream(&self, name: &StreamName) -> Result<(), BackstageError> {
        self.keeps()?;
        self.exists(name)?;
        self.roster.keys().remove(name).map_err(failed)?;
        self.roster.forget(name);
        self.admission.forget(name).map_err(failed)
    }

    fn want<'a>(&'a self, name: &'a StreamName) -> Option<Wanting<'a>> {
        let carriers = self.carriers.as_ref().filter(|_| !self.is_own(name))?;
        if carriers.shown(name).is_some() {
            return None;
        }
        Some(Box::pin(async move { carriers.bring(name).await }))
    }

    fn signer(&self, name: &StreamName) -> Option<StreamKey> {
        self.carriers.as_ref()?.key(name)
    }

    fn access(&self, name: &StreamName) -> Access {
        let carriers = self.carriers.as_ref().filter(|_| !self.is_own(name));
        let shown = carriers.and_then(|carriers| carriers.shown(name));
        shown.map_or_else(|| self.admission.access(name), |shown| shown.certificate.access)
    }

    fn open_link(&self, name: &StreamName, token: &str) -> Result<Duration, AccessError> {
        let carriers = self.carriers.as_ref().filter(|_| !self.is_own(name));
        match carriers.and_then(|carriers| carriers.shown(name)) {
            Some(shown) => self.admission.open_link_with(name, token, shown.certificate.key),
            None => self.admission.open_link(name, token),
        }
    }

    fn is_near(&self, peer: IpAddr) -> bool {
        self.admission.is_near(peer)
    }

    fn watch_page(&self) -> Option<WatchUrl> {
        self.admission.watch_page()
    }

    fn set_access(&self, name: &StreamName, access: Access) -> Result<(), BackstageError> {
        self.keeps()?;
        self.exists(name)?;
        self.admission.set_access(name, access)?;
        if let Some(carriers) = &self.carriers {
            let secret = self.admission.secret(name).map_err(failed)?;
            carriers.origins.allow(name, &secret, access);
        }
        Ok(())
    }

    fn make_link(&self, name: &StreamName, wish: &LinkWish) -> Result<LinkView, BackstageError> {
        self.keeps()?;
        self.exists(name)?;
        self.admission.make_link(name, wish)
    }

    fn giving(&self) -> Option<GivingView> {
        self.carriers.as_ref().map(|carriers| carriers.giving.view(carriers.sending_bps()))
    }

    fn set_giving(&self, wish: GivingWish) -> Result<(), BackstageError> {
        self.keeps()?;
        self.carriers.as_ref().ok_or(BackstageError::NoFriends)?.giving.set(wish)
    }

    fn metrics(&self) -> String {
        let mut out = String::new();
        let facts: Vec<(StreamName, Facts)> = self
            .names()
            .into_iter()
            .map(|name| {
                let facts = self.roster.slot(&name).status.facts().clone();
                (name, facts)
            })
            .collect();
        for metric in STREAM_METRICS {
            let _ = writeln!(out, "# HELP {} {}\n# TYPE {0} {}", metric.name, metric.help, metric.kind);
            for (name, facts) in &facts {
                if let Some(value) = (metric.value)(facts) {
                    let _ = writeln!(out, "{}{{stream=\"{name}\"}} {value}", metric.name);
                }
            }
        }
        self.pulls.metrics(&mut out);
        self.carried_metrics(&mut out);
        let packager = self.roster.packager();
        let mut one = |name: &str, kind: &str, help: &str, value: u64| {
            let _ = writeln!(out, "# HELP {name} {help}\n# TYPE {name} {kind}\n{name} {value}");
        };
        one(
            "relaybox_packager_starts_total",
            "counter",
            "Times the packaging child was started.",
            packager.starts(),
        );
        one(
            "relaybox_packager_up",
            "gauge",
            "Whether the packaging child runs.",
            u64::from(packager.child().is_some()),
        );
        one(
            "relaybox_publishers_refused_total",
            "counter",
            "Publishers that were turned away.",
            self.roster.refused() as u64,
        );
        one("relaybox_uptime_seconds", "gauge", "Time since the start.", self.started.elapsed().as_secs());
        out
    }

    fn health(&self) -> Health {
        health::check(&self.roster, &self.pulls)
    }

    fn notices(&self) -> Vec<String> {
        self.notices.as_deref().map(notices::read).unwrap_or_default()
    }

    fn setup(&self) -> Option<&dyn serve::Setup> {
        Some(&self.setup)
    }

    fn check_pin(&self, pin: &str) -> bool {
        let is_right = self.pin.matches(pin);
        if is_right {
            self.setup.is_known();
        }
        is_right
    }
}

struct Metric {
    name: &'static str,
    kind: &'static str,
    help: &'static str,
    value: fn(&Facts) -> Option<f64>,
}

const fn metric(
    name: &'static str,
    kind: &'static str,
    help: &'static str,
    value: fn(&Facts) -> Option<f64>,
) -> Metric {
    Metric { name, kind, help, value }
}

/// Listed in docs/metrics.md.
const STREAM_METRICS: [Metric; 14] = [
    metric("relaybox_stream_live", "gauge", "Whether somebody publishes.", |f| {
        Some(f64::from(u8::from(f.publishing)))
    }),
    metric("relaybox_stream_ingested_bytes_total", "counter", "Media bytes taken from publishers.", |f| {
        Some(f.ingested_bytes as f64)
    }),
    metric("relaybox_stream_bitrate_bps", "gauge", "Bits of media in the last second.", |f| {
        Some(f.bitrate_bps as f64)
    }),
    metric("relaybox_stream_parts_packaged_total", "counter", "Parts packaged.", |f| Some(f.parts as f64)),
    metric("relaybox_stream_epochs_total", "counter", "Epochs begun.", |f| Some(f.epochs as f64)),
    metric("relaybox_stream_packager_losses_total", "counter", "Epochs lost with the packager.", |f| {
        Some(f.packager_losses as f64)
    }),
    metric(
        "relaybox_stream_keyframe_interval_seconds",
        "gauge",
        "Distance of the newest two keyframes.",
        |f| f.keyframe_interval_ms.map(|ms| f64::from(ms) / 1000.0),
    ),
    metric("relaybox_stream_av_skew_seconds", "gauge", "Audio behind its time stamps, averaged.", |f| {
        f.skew_ms.map(|ms| ms / 1000.0)
    }),
    metric("relaybox_stream_audio_drift_ppm", "gauge", "Publisher's clock against its sample clock.", |f| {
        f.drift_ppm
    }),
    metric(
        "relaybox_stream_stamps_reordered_total",
        "counter",
        "Time stamps that went back a little.",
        |f| Some(f.repairs.reordered as f64),
    ),
    metric(
        "relaybox_stream_stamps_quarantined_total",
        "counter",
        "Time stamps that were not believed.",
        |f| Some(f.repairs.quarantined as f64),
    ),
    metric("relaybox_stream_clock_jumps_total", "counter", "Times the publisher's clock jumped.", |f| {
        Some(f.repairs.jumps as f64)
    }),
    metric("relaybox_stream_audio_dropped_total", "counter", "Audio frames that came twice.", |f| {
        Some(f.repairs.audio_dropped as f64)
    }),
    metric("relaybox_stream_audio_gaps_total", "counter", "Holes in the audio.", |f| {
        Some(f.repairs.audio_gaps as f64)
    }),
];

/// Of what boxes give each other: a counter per stream.
struct RelayMetric {
    name: &'static str,
    help: &'static str,
    value: fn(&Tally, u64) -> u64,
}

/// Listed in docs/metrics.md.
const RELAY_METRICS: [RelayMetric; 6] = [
    RelayMetric {
        name: "relaybox_relay_sent_bytes_total",
        help: "Bytes of blocks given to other boxes.",
        value: |tally, _| tally.sent(),
    },
    RelayMetric {
        name: "relaybox_relay_received_bytes_total",
        help: "Bytes of blocks taken from other boxes.",
        value: |tally, _| tally.flows().iter().map(|(_, flow)| flow.received).sum(),
    },
    RelayMetric {
        name: "relaybox_relay_blocks_verified_total",
        help: "Blocks that were checked and kept.",
        value: |tally, _| tally.verified.load(Ordering::Relaxed),
    },
    RelayMetric {
        name: "relaybox_relay_forged_total",
        help: "Items and blocks that failed their check.",
        value: |tally, _| tally.forged.load(Ordering::Relaxed),
    },
    RelayMetric {
        name: "relaybox_relay_pulls_total",
        help: "Requests for missing blocks by name.",
        value: |tally, _| tally.pulled.load(Ordering::Relaxed),
    },
    RelayMetric {
        name: "relaybox_relay_gaps_total",
        help: "Parts that did not come in time.",
        value: |_, gaps| gaps,
    },
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_metric_is_documented() {
        let page = include_str!("../../../docs/metrics.md");
        for Metric { name, kind, .. } in STREAM_METRICS {
            assert!(page.contains(&format!("| `{name}` | {kind} |")), "{name}");
        }
        for RelayMetric { name, .. } in RELAY_METRICS {
            assert!(page.contains(&format!("| `{name}` | counter |")), "{name}");
        }
    }
}
