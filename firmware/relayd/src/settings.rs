//! What the operator set: fragment (a file, or the flags) -> merged fragment -> settings.
//!
//! Settings are complete, validated and immutable; an unknown key is an error, with the file's line.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use serde::de::{self, Visitor};
use serde::{Deserialize, Deserializer};
use stream::window::WindowLimits;
use stream::{StreamName, Ticks};
use trust::Access;
use wire::WatchUrl;

use crate::pull::{self, PullFragment, Wanted};
use crate::setup::Image;

/// Any part of the settings. Flags override a file field by field.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Fragment {
    /// How the box is called: letters, digits and dashes; `NAME.local` on the home network.
    pub(crate) name: Option<String>,
    pub(crate) standalone: Option<Standalone>,
    pub(crate) data_dir: Option<PathBuf>,
    /// Each file there is something to mend, which the box's page says.
    pub(crate) notices: Option<PathBuf>,
    pub(crate) ingest: IngestFragment,
    pub(crate) http: HttpFragment,
    pub(crate) cache: CacheFragment,
    pub(crate) media: MediaFragment,
    pub(crate) mesh: MeshFragment,
    pub(crate) watch: WatchFragment,
    pub(crate) relay: RelayFragment,
    /// Names of streams to make if they are not there; their keys are made and kept.
    pub(crate) streams: Vec<String>,
    /// Streams to take from other servers.
    pub(crate) pull: Vec<PullFragment>,
    /// For a box from an image.
    pub(crate) image: Option<Image>,
}

/// Whether the box is by itself: `true`, `false` or `"until-joined"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standalone {
    /// A box of a mesh; one that belongs to none does not start.
    No,
    /// No coordinator and no mesh, also where the box belongs to one.
    Yes,
    /// By itself, and in its mesh as soon as `relayd join` made it a member.
    UntilJoined,
}

impl<'de> Deserialize<'de> for Standalone {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Words;
        impl Visitor<'_> for Words {
            type Value = Standalone;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("true, false or \"until-joined\"")
            }

            fn visit_bool<E: de::Error>(self, said: bool) -> Result<Standalone, E> {
                Ok(if said { Standalone::Yes } else { Standalone::No })
            }

            fn visit_str<E: de::Error>(self, said: &str) -> Result<Standalone, E> {
                match said {
                    "until-joined" => Ok(Standalone::UntilJoined),
                    _ => Err(E::invalid_value(de::Unexpected::Str(said), &self)),
                }
            }
        }
        deserializer.deserialize_any(Words)
    }
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct IngestFragment {
    pub(crate) rtmp: Option<SocketAddr>,
    pub(crate) rtmps: Option<SocketAddr>,
    pub(crate) publishers_max: Option<usize>,
    pub(crate) bits_per_second_max: Option<u64>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct HttpFragment {
    pub(crate) http: Option<SocketAddr>,
    pub(crate) https: Option<SocketAddr>,
    /// PEM files; without them the box makes its own certificate.
    pub(crate) certificate: Option<PathBuf>,
    pub(crate) private_key: Option<PathBuf>,
    /// Where viewers outside reach this box: `https://NAME[:PORT]`.
    pub(crate) public_url: Option<String>,
    /// More names under which the box may be asked.
    pub(crate) hosts: Vec<String>,
    pub(crate) api_open: Option<bool>,
    pub(crate) metrics_open: Option<bool>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct CacheFragment {
    pub(crate) box_mib_max: Option<u64>,
    pub(crate) stream_mib_max: Option<u64>,
    pub(crate) window_s: Option<u32>,
    /// The longest group of pictures that is served.
    pub(crate) target_duration_s_max: Option<u32>,
    /// Keep parts here and find them again after a restart, instead of in RAM.
    pub(crate) directory: Option<PathBuf>,
}

/// What boxes reach each other through.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Mode {
    /// Tunnels of our own.
    #[default]
    Own,
    /// A network that is there already.
    External,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct MeshFragment {
    pub(crate) mode: Option<Mode>,
    /// The network interface to make, or to take if it is there; where the mode is external, the one to use.
    pub(crate) interface: Option<String>,
    /// UDP, for peers; 0 for any that is free.
    pub(crate) port: Option<u16>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct WatchFragment {
    /// Of streams for which neither this file nor the studio says anything.
    pub(crate) access: Option<Access>,
    /// Whether private addresses, and those of the box's own networks, are the home network.
    pub(crate) household: Option<bool>,
    /// By the stream's name. The studio can't change what stands here.
    pub(crate) streams: BTreeMap<String, Access>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct RelayFragment {
    /// Whether this box takes streams from others, and gives any to them.
    pub(crate) enabled: Option<bool>,
    /// The most that this box gives other boxes, in kbit/s on the line; 0 gives nothing.
    pub(crate) upload_kbps_max: Option<u64>,
    /// Whether the box gives less when the household's line gets slower.
    pub(crate) guard_line: Option<bool>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct MediaFragment {
    pub(crate) segment_ms: Option<u32>,
    /// How far behind the newest part viewers play, if that is more than three parts: PART-HOLD-BACK.
    pub(crate) hold_back_ms: Option<u32>,
    /// The binary `relaybox-media`, if it is not beside `relayd`.
    pub(crate) packager: Option<PathBuf>,
}

#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) name: String,
    pub(crate) standalone: Standalone,
    pub(crate) data_dir: PathBuf,
    pub(crate) notices: Option<PathBuf>,
    pub(crate) rtmp: SocketAddr,
    pub(crate) rtmps: Option<SocketAddr>,
    pub(crate) http: SocketAddr,
    pub(crate) https: Option<SocketAddr>,
    pub(crate) certificate: Option<(PathBuf, PathBuf)>,
    pub(crate) ingest: ingest::Limits,
    pub(crate) hosts: BTreeSet<String>,
    pub(crate) public_url: Option<WatchUrl>,
    pub(crate) api_open: bool,
    pub(crate) metrics_open: bool,
    pub(crate) box_bytes_max: u64,
    /// None: in RAM.
    pub(crate) cache_dir: Option<PathBuf>,
    pub(crate) window: WindowLimits,
    pub(crate) cutter: stream::cutter::Settings,
    packager: Option<PathBuf>,
    pub(crate) mesh_mode: Mode,
    pub(crate) mesh_interface: String,
    pub(crate) mesh_port: u16,
    pub(crate) upload_bps_max: Option<u64>,
    pub(crate) guards_line: bool,
    pub(crate) relays: bool,
    /// Those that are pulled among them.
    pub(crate) streams: Vec<StreamName>,
    pub(crate) pulls: Vec<Wanted>,
    pub(crate) access: Access,
    pub(crate) access_fixed: BTreeMap<StreamName, Access>,
    pub(crate) household: bool,
    pub(crate) image: Option<Image>,
}

/// UDP, between boxes: one that a router can be told to forward.
const MESH_PORT: u16 = 7466;
/// Where friends carry a stream, a box needs half a second to see that a parent is gone, and some more to have what that one
/// owes from another.
const HOLD_BACK_CARRIED_MS: u32 = 1_000;

/// Used by the systemd unit too.
pub(crate) const DATA_DIR: &str = "/var/lib/relaybox";

impl Settings {
    /// Reads the file, lays the flags over it, and checks the whole.
    pub(crate) fn read(file: Option<&Path>, flags: Fragment) -> Result<Self> {
        let fragment = match file {
            None => Fragment::default(),
            Some(path) => {
                let text = fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))?;
                toml::from_str(&text).with_context(|| format!("in {}", path.display()))?
            }
        };
        Self::check(fragment.overlaid(flags))
    }

    /// `relaybox-media`: as set, or beside this binary, or where the package puts it.
    pub(crate) fn packager(&self) -> Result<PathBuf> {
        if let Some(path) = &self.packager {
            return Ok(path.clone());
        }
        let own = std::env::current_exe().context("finding this binary")?;
        let beside = own.with_file_name("relaybox-media");
        let packaged = Path::new("/usr/lib/relaybox/relaybox-media");
        match [beside.as_path(), packaged].into_iter().find(|path| path.is_file()) {
            Some(path) => Ok(path.to_owned()),
            None => bail!("relaybox-media is neither {} nor {}", beside.display(), packaged.display()),
        }
    }

    fn check(fragment: Fragment) -> Result<Self> {
        let Fragment { name, standalone, data_dir, ingest, http, cache, media, mesh, watch, relay, .. } =
            fragment;
        let pulls = pull::check(fragment.pull)?;
        let name = name.unwrap_or_else(|| "relaybox".to_owned());
        let plain = |c: char| c.is_ascii_alphanumeric() || c == '-';
        ensure!(
            !name.is_empty() && name.len() <= 63 && name.chars().all(plain) && !name.starts_with('-'),
            "name: 1 to 63 letters, digits or dashes, not {name:?}"
        );
        ensure!(
            mesh.mode != Some(Mode::External) || mesh.interface.is_some(),
            "mesh.mode: an external network is named by mesh.interface"
        );
        let any = IpAddr::from([0u16; 8]);
        let limits = ingest::Limits::default();
        let window = WindowLimits::default();
        let certificate = match (http.certificate, http.private_key) {
            (Some(certificate), Some(key)) => Some((certificate, key)),
            (None, None) => None,
            _ => bail!("http.certificate and http.private_key go together"),
        };
        let mut streams = fragment
            .streams
            .iter()
            .map(|name| name.parse().with_context(|| format!("streams: {name:?}")))
            .collect::<Result<Vec<StreamName>>>()?;
        streams.extend(pulls.iter().map(|wanted| wanted.name.clone()));
        let access_fixed = watch
            .streams
            .iter()
            .map(|(name, access)| {
                Ok((name.parse().with_context(|| format!("watch.streams: {name:?}"))?, *access))
            })
            .collect::<Result<BTreeMap<StreamName, Access>>>()?;
        let mut hosts: BTreeSet<String> = http.hosts.iter().map(|host| host.to_ascii_lowercase()).collect();
        hosts.insert(format!("{}.local", name.to_ascii_lowercase()));
        let public_url = http.public_url.as_deref().map(str::parse::<WatchUrl>).transpose();
        let public_url = public_url.context("http.public_url")?;
        hosts.extend(public_url.iter().map(|url| url.host().to_owned()));
        Ok(Self {
            name,
            standalone: standalone.unwrap_or(Standalone::No),
            data_dir: data_dir.unwrap_or_else(|| DATA_DIR.into()),
            notices: fragment.notices,
            rtmp: ingest.rtmp.unwrap_or_else(|| SocketAddr::new(any, 1935)),
            rtmps: ingest.rtmps,
            http: http.http.unwrap_or_else(|| SocketAddr::new(any, 8080)),
            https: http.https,
            certificate,
            ingest: ingest::Limits {
                publishers: within(
                    "ingest.publishers_max",
                    ingest.publishers_max,
                    1..=256,
                    limits.publishers,
                )?,
                bits_per_second: within(
                    "ingest.bits_per_second_max",
                    ingest.bits_per_second_max,
                    100_000..=1_000_000_000,
                    limits.bits_per_second,
                )?,
                ..limits
            },
            hosts,
            public_url,
            api_open: http.api_open.unwrap_or(false),
            metrics_open: http.metrics_open.unwrap_or(false),
            box_bytes_max: within("cache.box_mib_max", cache.box_mib_max, 16..=1_048_576, 512)? << 20,
            cache_dir: cache.directory,
            window: WindowLimits {
                bytes: within(
                    "cache.stream_mib_max",
                    cache.stream_mib_max,
                    4..=1_048_576,
                    window.bytes >> 20,
                )? << 20,
                duration: Ticks::from_secs(i64::from(within(
                    "cache.window_s",
                    cache.window_s,
                    10..=86_400,
                    60,
                )?)),
                target_duration_s_max: within(
                    "cache.target_duration_s_max",
                    cache.target_duration_s_max,
                    2..=60,
                    window.target_duration_s_max,
                )?,
                part_hold_back: Ticks::from_millis(i64::from(within(
                    "media.hold_back_ms",
                    media.hold_back_ms,
                    0..=10_000,
                    if standalone == Some(Standalone::Yes) { 0 } else { HOLD_BACK_CARRIED_MS },
                )?)),
            },
            cutter: stream::cutter::Settings {
                segment_target: Ticks::from_millis(i64::from(within(
                    "media.segment_ms",
                    media.segment_ms,
                    500..=20_000,
                    2_000,
                )?)),
                ..stream::cutter::Settings::default()
            },
            packager: media.packager,
            mesh_mode: mesh.mode.unwrap_or_default(),
            mesh_interface: interface(mesh.interface)?,
            mesh_port: mesh.port.unwrap_or(MESH_PORT),
            guards_line: relay.guard_line.unwrap_or(true),
            upload_bps_max: relay.upload_kbps_max.map(|kbps| kbps.saturating_mul(1000)),
            relays: relay.enabled.unwrap_or(true),
            streams,
            pulls,
            access: watch.access.unwrap_or_default(),
            access_fixed,
            household: watch.household.unwrap_or(true),
            image: fragment.image,
        })
    }
}

/// An interface's name, as Linux takes it: up to 15 bytes, neither slashes nor white space (netdevice(7)).
fn interface(name: Option<String>) -> Result<String> {
    let name = name.unwrap_or_else(|| "relaybox".to_owned());
    let plain = |c: char| c.is_ascii_graphic() && c != '/' && c != '%';
    ensure!(
        (1..=15).contains(&name.len()) && name.chars().all(plain) && !name.starts_with('.'),
        "mesh.interface: 1 to 15 letters, digits or dashes, not {name:?}"
    );
    Ok(name)
}

/// The value, or the default where none was given.
fn within<T: PartialOrd + std::fmt::Display + Copy>(
    key: &str,
    value: Option<T>,
    range: std::ops::RangeInclusive<T>,
    default: T,
) -> Result<T> {
    let value = value.unwrap_or(default);
    ensure!(range.contains(&value), "{key}: {} to {}, not {value}", range.start(), range.end());
    Ok(value)
}

impl Fragment {
    fn overlaid(self, over: Self) -> Self {
        Self {
            name: over.name.or(self.name),
            standalone: over.standalone.or(self.standalone),
            data_dir: over.data_dir.or(self.data_dir),
            notices: over.notices.or(self.notices),
            ingest: IngestFragment {
                rtmp: over.ingest.rtmp.or(self.ingest.rtmp),
                rtmps: over.ingest.rtmps.or(self.ingest.rtmps),
                publishers_max: over.ingest.publishers_max.or(self.ingest.publishers_max),
                bits_per_second_max: over.ingest.bits_per_second_max.or(self.ingest.bits_per_second_max),
            },
            http: HttpFragment {
                http: over.http.http.or(self.http.http),
                https: over.http.https.or(self.http.https),
                ..self.http
            },
            media: MediaFragment { packager: over.media.packager.or(self.media.packager), ..self.media },
            mesh: MeshFragment {
                mode: over.mesh.mode.or(self.mesh.mode),
                interface: over.mesh.interface.or(self.mesh.interface),
                port: over.mesh.port.or(self.mesh.port),
            },
            cache: self.cache,
            watch: self.watch,
            relay: self.relay,
            streams: [self.streams, over.streams].concat(),
            pull: [self.pull, over.pull].concat(),
            image: over.image.or(self.image),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: Result<(), &str>) {
        let read = toml::from_str::<Fragment>(text).map_err(anyhow::Error::from).and_then(Settings::check);
        match (read, expected) {
            (Ok(_), Ok(())) => {}
            (Err(error), Err(part)) => {
                let error = format!("{error:#}");
                assert!(error.contains(part), "{error}");
            }
            (read, _) => panic!("{text}: {read:?}"),
        }
    }

    #[test]
    fn a_mistake_is_named() {
        check("standalone = true", Ok(()));
        check("", Ok(()));
        check("standalone = 'until-joined'", Ok(()));
        check("standalone = 'until-left'", Err("expected true, false or \"until-joined\""));
        check("standalone = true\nnmae = 'x'", Err("unknown field `nmae`"));
        check("standalone = true\n[cache]\nwindow_s = 5", Err("cache.window_s: 10 to 86400, not 5"));
        check("standalone = true\n[http]\nhttp = 'here'", Err("invalid socket address"));
        check("standalone = true\n[http]\npublic_url = 'https://live.example.org'", Ok(()));
        check(
            "standalone = true\n[http]\npublic_url = 'live.example.org'",
            Err("http.public_url: an address"),
        );
        check("standalone = true\n[http]\ncertificate = 'a.pem'", Err("go together"));
        check("standalone = true\nstreams = ['a b']", Err("a stream's name is"));
        check("standalone = true\nname = 'my box'", Err("name: 1 to 63"));
        check("standalone = true\n[watch]\naccess = 'mesh'\n[watch.streams]\ndemo = 'link'", Ok(()));
        check("standalone = true\n[watch]\naccess = 'friends'", Err("unknown variant `friends`"));
        check("standalone = true\n[watch.streams]\n'a b' = 'open'", Err("watch.streams: \"a b\""));
        check("[mesh]\ninterface = 'a name that is long'", Err("mesh.interface: 1 to 15"));
        check("[mesh]\nmode = 'external'\ninterface = 'tailscale0'", Ok(()));
        check("[mesh]\nmode = 'external'", Err("is named by mesh.interface"));
        check("[mesh]\nmode = 'extern'", Err("unknown variant `extern`"));
        check("[[pull]]\nname = 'ana'\nurl = 'rtmp://srs.example/live/ana'", Ok(()));
        check(
            "[[pull]]\nname = 'ana'\nurl = 'srt://srs.example/live'",
            Err("pull: the url of ana: begins with"),
        );
        check("[[pull]]\nname = 'ana'", Err("missing field `url`"));
        check("[[pull]]\nname = 'a'\nurl = 'rtmp://a/b/c'\nkey = 'x'", Err("unknown field `key`"));
    }

    #[test]
    fn the_shipped_file_is_good() {
        let path = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../systemd/relayd.toml"));
        Settings::read(Some(path), Fragment::default()).unwrap();
    }

    #[test]
    fn viewers_are_farther_behind_where_friends_carry_streams() {
        let behind = |text: &str| {
            let fragment = toml::from_str(text).unwrap();
            Settings::check(fragment).unwrap().window.part_hold_back
        };
        assert_eq!(behind("standalone = true"), Ticks::ZERO);
        assert_eq!(behind(""), Ticks::from_millis(1_000));
        assert_eq!(behind("[media]\nhold_back_ms = 1500"), Ticks::from_millis(1_500));
    }

    #[test]
    fn flags_override_the_file() {
        let file: Fragment =
            toml::from_str("standalone = true\nname = 'a'\n[http]\nhttp = '127.0.0.1:1'").unwrap();
        let flags: Fragment = toml::from_str("[http]\nhttp = '127.0.0.1:2'").unwrap();
        let settings = Settings::check(file.overlaid(flags)).unwrap();
        assert_eq!((settings.http.port(), settings.name.as_str()), (2, "a"));
    }
}
