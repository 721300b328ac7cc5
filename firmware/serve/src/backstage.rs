//! What the daemon tells and does for pages and API: everything about a stream but its media.
//!
//! The views are the JSON of the API: snake_case, units last, no key anywhere but in [`StudioStream`].

use std::future::Future;
use std::net::IpAddr;
use std::pin::Pin;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use stream::StreamName;
use trust::{Access, AccessError, Name, StreamKey};
use wire::WatchUrl;

use crate::setup::Setup;

/// Implemented by the daemon. All methods are called off the I/O threads when they may block.
pub trait Backstage: Send + Sync + 'static {
    fn box_view(&self) -> BoxView;
    fn streams(&self) -> Vec<StreamStatus>;
    /// May block.
    fn studio(&self) -> StudioView;
    /// Makes a stream; gives its key. May block.
    fn create_stream(&self, name: &StreamName) -> Result<String, BackstageError>;
    /// Gives a stream a new key and disconnects who publishes with the old one. May block.
    fn rotate_key(&self, name: &StreamName) -> Result<String, BackstageError>;
    /// May block.
    fn remove_stream(&self, name: &StreamName) -> Result<(), BackstageError>;
    /// Sees to it that a stream of another box is carried here. None when there is nothing to wait for. Never blocks.
    fn want<'a>(&'a self, name: &'a StreamName) -> Option<Wanting<'a>>;
    /// With which key a stream's parts are signed; none where they are not. Never blocks.
    fn signer(&self, name: &StreamName) -> Option<StreamKey>;
    /// Who may watch a stream without a link. Never blocks.
    fn access(&self, name: &StreamName) -> Access;
    /// Judges the token of a link: for how long it still opens this stream. Never blocks.
    fn open_link(&self, name: &StreamName, token: &str) -> Result<Duration, AccessError>;
    /// Whether an address is one of the mesh's, or of the box's own home network. Never blocks.
    fn is_near(&self, peer: IpAddr) -> bool;
    /// The coordinator's watch page, whose scripts may play here what is near. Never blocks.
    fn watch_page(&self) -> Option<WatchUrl>;
    /// May block.
    fn set_access(&self, name: &StreamName, access: Access) -> Result<(), BackstageError>;
    /// May block.
    fn make_link(&self, name: &StreamName, wish: &LinkWish) -> Result<LinkView, BackstageError>;
    /// What the box gives other boxes; none at a box by itself.
    fn giving(&self) -> Option<GivingView>;
    /// May block.
    fn set_giving(&self, wish: GivingWish) -> Result<(), BackstageError>;
    /// More metrics in Prometheus' text format.
    fn metrics(&self) -> String;
    fn health(&self) -> Health;
    /// What a person at the box has to mend, in words for them and without secrets. May block.
    fn notices(&self) -> Vec<String>;
    /// None where the box is set up by its settings file alone. Never blocks.
    fn setup(&self) -> Option<&dyn Setup>;
    /// Compares in constant time. May block.
    fn check_pin(&self, pin: &str) -> bool;
}

/// What is to be waited for.
pub type Wanting<'a> = Pin<Box<dyn Future<Output = Wanted> + Send + 'a>>;

/// What became of a stream that a viewer wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// It is carried here.
    Here,
    /// Nobody publishes it.
    Unknown,
    /// Somebody publishes it, but nothing has come yet.
    Soon,
}

#[derive(Debug, thiserror::Error)]
pub enum BackstageError {
    #[error("there is no such stream")]
    NotFound,
    #[error("there is such a stream already")]
    Exists,
    #[error("the box has as many streams as it may have")]
    TooMany,
    #[error("the box's settings file says who may watch this stream: change it there")]
    Fixed,
    #[error("a link is good for a minute at least, and for 366 days at most")]
    LinkTime,
    #[error("this box is in no mesh, and gives nothing to other boxes")]
    NoFriends,
    /// What is wrong with a wish, in plain words.
    #[error("{0}")]
    Giving(String),
    /// The box keeps nothing at all for now, in the words of why.
    #[error("{0}")]
    Forgetful(String),
    #[error("the change could not be kept")]
    Failed(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// What a link shall be.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LinkWish {
    /// From now on.
    pub valid_s: u64,
    /// For whom, so that the streamer can tell links apart.
    #[serde(default)]
    pub label: Option<Name>,
}

/// What a friend lets the box give other boxes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GivingWish {
    /// On the line; none: as much as goes.
    #[serde(default)]
    pub limit_kbps: Option<u64>,
    #[serde(default)]
    pub paused: bool,
    /// By whose clock quiet hours are, as IANA names it: `Europe/Berlin`. None: by this machine's.
    #[serde(default)]
    pub zone: Option<String>,
    #[serde(default)]
    pub quiet: Vec<QuietHours>,
}

/// A time of the day at which the box gives less; over midnight if `to` is before `from`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct QuietHours {
    /// `HH:MM` on the clock on the wall.
    pub from: String,
    /// Not in it any more.
    pub to: String,
    #[serde(default)]
    pub limit_kbps: u64,
}

/// What decides how much the box gives just now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum GivingWhy {
    /// Nobody wished anything: the box watches its line.
    #[default]
    Free,
    Limit,
    Quiet,
    Paused,
}

#[derive(Clone, Debug, Default, Serialize)]
pub struct GivingView {
    pub wish: GivingWish,
    /// What the settings file allows at most.
    pub ceiling_kbps: Option<u64>,
    /// At most, just now; none: as much as goes.
    pub now_kbps: Option<u64>,
    pub why: GivingWhy,
    /// When the quiet hours end.
    pub until: Option<String>,
    /// On the wall; none while the box does not know the time.
    pub local_time: Option<String>,
    /// The machine's own zone, where it has a name.
    pub zone_here: Option<String>,
    /// Over the last seconds, on the line.
    pub sending_bps: u64,
}

/// A link that was made. It is kept nowhere.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LinkView {
    /// Below every box that carries the stream: `/t/TOKEN/live/NAME`.
    pub path: String,
    /// The same at the coordinator's watch page, which finds a box by itself; none where there is none.
    pub watch_url: Option<String>,
    pub id: String,
    pub label: Option<Name>,
    pub expires_unix_s: u64,
}

#[derive(Clone, Debug, Default, Serialize)]
pub struct BoxView {
    pub name: String,
    pub version: String,
    pub uptime_s: u64,
    pub cache_bytes: u64,
    pub cache_bytes_max: u64,
    pub rtmp_port: u16,
    pub rtmps_port: Option<u16>,
    pub https_port: Option<u16>,
    pub health: Health,
}

#[derive(Clone, Debug, Default, Serialize)]
pub struct Health {
    pub ok: bool,
    pub problems: Vec<HealthProblem>,
}

#[derive(Clone, Debug, Serialize)]
pub struct HealthProblem {
    pub code: String,
    /// For a person: what is wrong and what helps.
    pub text: String,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum StreamState {
    /// Media comes.
    Live,
    /// Somebody publishes, but nothing can be watched yet.
    Waiting,
    #[default]
    Offline,
}

#[derive(Clone, Debug, Default, Serialize)]
pub struct VideoStatus {
    pub codec: String,
    pub width: u32,
    pub height: u32,
    /// Frames per second, measured.
    pub frame_rate: f64,
}

#[derive(Clone, Debug, Default, Serialize)]
pub struct AudioStatus {
    pub codec: String,
    pub sample_rate: u32,
    pub channels: u8,
}

/// How it stands with another server, from which a stream is pulled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum SourceState {
    Connecting,
    /// The server is there, and sends nothing yet.
    Waiting,
    /// Media comes.
    Live,
    /// A publisher here has the stream.
    Held,
    Failed,
}

/// Where a stream comes from that this box pulls.
#[derive(Clone, Debug, Serialize)]
pub struct SourceView {
    /// `pulled from HOST`: without keys.
    pub text: String,
    pub state: SourceState,
    /// Why nothing comes: a plain sentence, without keys and without a full stop.
    pub trouble: Option<String>,
}

/// What is known about a stream. Who watches hears all of it but [`StreamStatus::source`].
#[derive(Clone, Debug, Default, Serialize)]
pub struct StreamStatus {
    pub name: String,
    pub state: StreamState,
    pub since_unix_ms: Option<i64>,
    pub video: Option<VideoStatus>,
    pub audio: Option<AudioStatus>,
    pub codecs: Option<String>,
    pub bitrate_bps: u64,
    pub viewers: u64,
    pub keyframe_interval_ms: Option<u32>,
    pub keyframe_interval_ms_max: Option<u32>,
    /// Audio after video, positive if audio is late.
    pub skew_ms: Option<f64>,
    pub drift_ppm: Option<f64>,
    pub target_duration_s: Option<u32>,
    pub part_target_ms: Option<u32>,
    pub encoder: Option<String>,
    /// None for a stream that is published here, or that another box gives.
    pub source: Option<SourceView>,
}

/// For whoever has the PIN.
#[derive(Clone, Debug, Default, Serialize)]
pub struct StudioView {
    /// What OBS calls "Server".
    pub server_port: u16,
    pub streams: Vec<StudioStream>,
    pub refusals: Vec<RefusalView>,
}

#[derive(Clone, Default, Serialize)]
pub struct StudioStream {
    pub status: StreamStatus,
    pub key: String,
    pub access: Access,
    /// The settings file says who may watch: it can't be changed here.
    pub access_fixed: bool,
    pub history: Vec<HistoryPoint>,
    pub advice: Vec<Advice>,
    /// Once other boxes carry it.
    pub offload: Option<Offload>,
}

/// What friends saved this box's line, since the box started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Offload {
    /// Bytes of media that viewers of other boxes got.
    pub watched_bytes: u64,
    /// Bytes of media that went from here to other boxes for it.
    pub given_bytes: u64,
}

impl std::fmt::Debug for StudioStream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StudioStream").field("status", &self.status).finish_non_exhaustive()
    }
}

#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct HistoryPoint {
    pub at_unix_ms: i64,
    pub bitrate_bps: u64,
    pub frame_rate: f64,
    pub skew_ms: Option<f64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    Info,
    Warn,
    Error,
}

#[derive(Clone, Debug, Serialize)]
pub struct Advice {
    pub code: String,
    pub severity: Severity,
    pub text: String,
}

/// A publisher that was turned away.
#[derive(Clone, Debug, Serialize)]
pub struct RefusalView {
    pub at_unix_ms: i64,
    pub peer: String,
    pub code: String,
    pub text: String,
}
