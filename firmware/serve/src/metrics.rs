//! Counters of the HTTP side in Prometheus' text format. Each name is listed in docs/metrics.md; a test holds the
//! two against each other.
//!
//! It refuses labels that a viewer could choose: every label value is one of ours.

use std::fmt::Write as _;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use store::Store;

use crate::route::Kind;

const CLASSES: [&str; 5] = ["1xx", "2xx", "3xx", "4xx", "5xx"];

/// Why somebody was turned away. The word is the label in metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Turned {
    /// As many connections as the box allows.
    BoxLimit,
    /// As many connections as one address may have.
    PeerLimit,
    /// The TLS handshake failed or took too long.
    Tls,
    /// The Host is no name of this box.
    Host,
    /// A state change from another site.
    Origin,
    /// No session, or an expired one.
    Session,
    /// Only for this machine itself.
    Peer,
    WrongPin,
    /// Too many PINs were tried.
    PinRate,
    /// The stream is not open to who asked.
    Access,
    /// A link that opens nothing.
    Link,
}

impl Turned {
    const ALL: [(Self, &'static str); 11] = [
        (Self::BoxLimit, "box_limit"),
        (Self::PeerLimit, "peer_limit"),
        (Self::Tls, "tls"),
        (Self::Host, "host"),
        (Self::Origin, "origin"),
        (Self::Session, "session"),
        (Self::Peer, "peer"),
        (Self::WrongPin, "wrong_pin"),
        (Self::PinRate, "pin_rate"),
        (Self::Access, "access"),
        (Self::Link, "link"),
    ];
}

#[derive(Debug, Default)]
pub(crate) struct Metrics {
    requests: [[AtomicU64; CLASSES.len()]; Kind::ALL.len()],
    sent_bytes: AtomicU64,
    connections: AtomicI64,
    connections_total: AtomicU64,
    stalled: AtomicU64,
    flv_dropped: AtomicU64,
    waits: AtomicU64,
    waiting: AtomicI64,
    turned: [AtomicU64; Turned::ALL.len()],
}

/// Counts down again when what it stands for is over.
#[derive(Debug)]
pub(crate) struct Open<'a>(&'a AtomicI64);

impl<'a> Open<'a> {
    fn new(gauge: &'a AtomicI64) -> Self {
        gauge.fetch_add(1, Ordering::Relaxed);
        Self(gauge)
    }
}

impl Drop for Open<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Metrics {
    pub(crate) fn request(&self, kind: Kind, status: http::StatusCode) {
        let class = usize::from(status.as_u16() / 100).clamp(1, CLASSES.len()) - 1;
        self.requests[kind as usize][class].fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn sent(&self, bytes: u64) {
        self.sent_bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(crate) fn connection(&self) -> Open<'_> {
        self.connections_total.fetch_add(1, Ordering::Relaxed);
        Open::new(&self.connections)
    }

    /// A playlist request that is held.
    pub(crate) fn wait(&self) -> Open<'_> {
        self.waits.fetch_add(1, Ordering::Relaxed);
        Open::new(&self.waiting)
    }

    pub(crate) fn stalled(&self) {
        self.stalled.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn flv_dropped(&self) {
        self.flv_dropped.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn turned(&self, why: Turned) {
        self.turned[why as usize].fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn render(&self, store: &Store) -> String {
        let mut text = Text(String::with_capacity(8 << 10));
        text.family("relaybox_http_requests_total", "counter", "Requests answered.");
        for kind in Kind::ALL {
            for (class, count) in CLASSES.iter().zip(&self.requests[kind as usize]) {
                let labels = format!("{{route=\"{}\",status=\"{class}\"}}", kind.label());
                text.sample("relaybox_http_requests_total", &labels, count.load(Ordering::Relaxed));
            }
        }
        text.family("relaybox_http_turned_away_total", "counter", "Connections and requests turned away.");
        for (why, label) in Turned::ALL {
            let count = self.turned[why as usize].load(Ordering::Relaxed);
            text.sample("relaybox_http_turned_away_total", &format!("{{reason=\"{label}\"}}"), count);
        }
        for (name, help, count) in [
            ("relaybox_http_sent_bytes_total", "Bytes written to sockets.", &self.sent_bytes),
            ("relaybox_http_connections_total", "Connections accepted.", &self.connections_total),
            ("relaybox_http_stalled_total", "Connections closed: the peer took nothing.", &self.stalled),
            ("relaybox_flv_readers_dropped_total", "HTTP-FLV viewers dropped: too slow.", &self.flv_dropped),
            ("relaybox_playlist_waits_total", "Playlist requests that were held.", &self.waits),
        ] {
            text.single(name, "counter", help, count.load(Ordering::Relaxed));
        }
        for (name, help, gauge) in [
            ("relaybox_http_connections", "Connections open.", &self.connections),
            ("relaybox_playlist_waiting", "Playlist requests held at this moment.", &self.waiting),
        ] {
            let value = u64::try_from(gauge.load(Ordering::Relaxed)).unwrap_or(0);
            text.single(name, "gauge", help, value);
        }
        text.store(store);
        text.0
    }
}

struct Text(String);

impl Text {
    fn family(&mut self, name: &str, kind: &str, help: &str) {
        let _ = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }

    fn sample(&mut self, name: &str, labels: &str, value: u64) {
        let _ = writeln!(self.0, "{name}{labels} {value}");
    }

    fn single(&mut self, name: &str, kind: &str, help: &str, value: u64) {
        self.family(name, kind, help);
        self.sample(name, "", value);
    }

    fn store(&mut self, store: &Store) {
        self.single("relaybox_store_bytes", "gauge", "Bytes of media kept.", store.bytes());
        self.single("relaybox_store_bytes_max", "gauge", "Budget of the box.", store.bytes_max());
        self.single(
            "relaybox_store_files_lost_total",
            "counter",
            "Files that the disk did not take.",
            store.files_lost(),
        );
        let lives: Vec<_> =
            store.lives().into_iter().map(|live| (live.name().clone(), live.stats())).collect();
        type Get = fn(&store::Stats) -> u64;
        let families: [(&str, &str, &str, Get); 5] = [
            ("relaybox_stream_bytes", "gauge", "Bytes of media kept of a stream.", |s| s.bytes),
            ("relaybox_stream_flv_bytes", "gauge", "Bytes in a stream's FLV ring.", |s| s.flv_bytes as u64),
            ("relaybox_stream_flv_readers", "gauge", "HTTP-FLV viewers.", |s| s.flv_readers as u64),
            ("relaybox_stream_hls_clients", "gauge", "HLS clients of the last 10 s.", |s| {
                s.hls_clients as u64
            }),
            ("relaybox_stream_parts_total", "counter", "Parts stored.", |s| s.parts),
        ];
        for (name, kind, help, get) in families {
            self.family(name, kind, help);
            for (stream, stats) in &lives {
                self.sample(name, &format!("{{stream=\"{stream}\"}}"), get(stats));
            }
        }
    }
}
