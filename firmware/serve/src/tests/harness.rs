//! A box on a loopback port, a stream with known bytes, and a client that hides nothing of HTTP.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use store::{Live, Producer, Store, StoreConfig};
use stream::{Codec, CutPart, EpochId, EpochRecord, StreamName, Ticks, TrackConfig, Tracks};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use trust::access::Lock;
use trust::{
    Access, AccessError, AccessToken, LinkId, MeshId, RootSecret, Signed, StreamSecret, UnixSeconds,
};
use wire::WatchUrl;

use super::setting_up::Shelf;
use crate::{
    Backstage, BackstageError, BoxView, GivingView, GivingWish, Health, Limits, LinkView, LinkWish, Policy,
    Server, Setup, SourceState, SourceView, StreamStatus, StudioStream, StudioView,
};

pub(super) const EPOCH: &str = "0000000000000abc";
pub(super) const PIN: &str = "314159";

/// A box under test; its files go with it.
pub(super) struct Bench {
    pub(super) address: SocketAddr,
    pub(super) server: Arc<Server>,
    pub(super) live: Arc<Live>,
    pub(super) stage: Arc<Stage>,
    directory: std::path::PathBuf,
    serving: JoinHandle<()>,
}

impl Drop for Bench {
    fn drop(&mut self) {
        self.serving.abort();
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}

impl Bench {
    pub(super) async fn start() -> Self {
        Self::with(|_| {}, Limits::default(), None).await
    }

    pub(super) async fn with(
        settings: impl FnOnce(&mut StoreConfig),
        limits: Limits,
        tls: Option<tokio_rustls::TlsAcceptor>,
    ) -> Self {
        Self::launch(settings, limits, tls, Policy::default()).await
    }

    pub(super) async fn with_policy(policy: Policy) -> Self {
        Self::launch(|_| {}, Limits::default(), None, policy).await
    }

    async fn launch(
        settings: impl FnOnce(&mut StoreConfig),
        limits: Limits,
        tls: Option<tokio_rustls::TlsAcceptor>,
        policy: Policy,
    ) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let n = COUNT.fetch_add(1, Ordering::Relaxed);
        let directory = std::env::temp_dir().join(format!("relaybox-serve-{}-{n}", std::process::id()));
        let mut config = StoreConfig::in_ram(directory.join("numbers"));
        settings(&mut config);
        let store = Arc::new(Store::open(config).unwrap());
        let live = store.live("demo").unwrap();
        let policy = Policy { hosts: BTreeSet::from(["box.local".to_owned()]), ..policy };
        let stage = Arc::new(Stage::default());
        let server = Arc::new(Server::new(store, Arc::clone(&stage) as _, policy, limits));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let serving = Arc::clone(&server);
        let serving = tokio::spawn(async move {
            match tls {
                None => crate::serve_http(listener, serving).await,
                Some(acceptor) => crate::serve_https(listener, acceptor, serving).await,
            }
        });
        Self { address, server, live, stage, directory, serving }
    }

    /// Parts of 200 ms, five to a segment: `<nth>` is the content of each.
    pub(super) fn publish(&self, parts: i64) {
        self.live.producer(Producer::Present);
        self.live.begin_epoch(record(), Bytes::from_static(b"init")).unwrap();
        (0..parts).for_each(|nth| self.push(nth));
    }

    pub(super) fn push(&self, nth: i64) {
        self.push_bytes(nth, Bytes::from(format!("<{nth}>")));
    }

    pub(super) fn push_bytes(&self, nth: i64, bytes: Bytes) {
        let cut = CutPart {
            epoch: EpochId(0xabc),
            start: Ticks::from_millis(200 * nth),
            duration: Ticks::from_millis(200),
            independent: nth % 5 == 0,
            opens_segment: nth % 5 == 0,
            last: nth % 5 == 4,
        };
        self.live.push_part(&cut, bytes).unwrap();
    }

    pub(super) async fn connect(&self) -> Client {
        Client { stream: BufReader::new(TcpStream::connect(self.address).await.unwrap()) }
    }

    /// GET with a good Host and these further header lines.
    pub(super) async fn get(&self, path: &str, headers: &[&str]) -> Reply {
        self.ask("GET", path, headers, "").await
    }

    pub(super) async fn ask(&self, method: &str, path: &str, headers: &[&str], body: &str) -> Reply {
        let mut client = self.connect().await;
        client.send(method, path, headers, body).await;
        client.reply(method).await
    }

    pub(super) fn metrics(&self) -> String {
        self.server.metrics.render(&self.server.store)
    }
}

fn record() -> EpochRecord {
    let video = TrackConfig { codec: Codec::H264, record: Bytes::from_static(&[1]), audio: None };
    EpochRecord {
        id: EpochId(0xabc),
        tracks: Tracks { video: Some(video), audio: None },
        codecs: "avc1.42c01e".into(),
        resolution: Some((640, 360)),
        frame_rate_milli: Some(30_000),
        part_target: Ticks::from_millis(200),
        zero_unix_ms: 1_700_000_000_000,
    }
}

pub(super) struct Client {
    stream: BufReader<TcpStream>,
}

#[derive(Debug)]
pub(super) struct Reply {
    pub(super) status: u16,
    pub(super) head: String,
    pub(super) body: Vec<u8>,
}

impl Reply {
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.head
            .lines()
            .skip(1)
            .filter_map(|line| line.split_once(": "))
            .find_map(|(key, value)| key.eq_ignore_ascii_case(name).then_some(value.trim_end()))
    }

    pub(super) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    /// Checks that this is a problem body of this status.
    pub(super) fn assert_problem(&self, status: u16) {
        assert_eq!(self.status, status, "{self:?}");
        assert_eq!(self.header("content-type"), Some("application/problem+json"), "{}", self.head);
        let value: serde_json::Value = serde_json::from_slice(&self.body).unwrap();
        assert_eq!(value["status"], status);
        assert_eq!(value["type"], "about:blank");
        assert!(value["title"].as_str().is_some_and(|title| !title.is_empty()));
        assert!(value["detail"].as_str().is_some_and(|detail| !detail.is_empty()));
    }
}

impl Client {
    /// Sends a request; a Host is added unless `headers` has one.
    pub(super) async fn send(&mut self, method: &str, path: &str, headers: &[&str], body: &str) {
        let mut text = format!("{method} {path} HTTP/1.1\r\n");
        if !headers.iter().any(|line| line.to_ascii_lowercase().starts_with("host:")) {
            text.push_str("Host: localhost\r\n");
        }
        for line in headers.iter().filter(|line| **line != "Host:") {
            text.push_str(line);
            text.push_str("\r\n");
        }
        if !body.is_empty() {
            text.push_str(&format!("Content-Length: {}\r\n", body.len()));
        }
        text.push_str("\r\n");
        text.push_str(body);
        self.stream.write_all(text.as_bytes()).await.unwrap();
    }

    pub(super) async fn head(&mut self) -> Reply {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            assert_ne!(
                self.stream.read_line(&mut head).await.unwrap(),
                0,
                "closed within the head: {head:?}"
            );
        }
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        Reply { status, head, body: Vec::new() }
    }

    pub(super) async fn reply(&mut self, method: &str) -> Reply {
        let mut reply = self.head().await;
        if method == "HEAD" || matches!(reply.status, 204 | 304) {
            return reply;
        }
        if let Some(length) = reply.header("content-length") {
            reply.body = vec![0; length.parse().unwrap()];
            self.stream.read_exact(&mut reply.body).await.unwrap();
        } else {
            while let Some(chunk) = self.chunk().await {
                reply.body.extend_from_slice(&chunk);
            }
        }
        reply
    }

    /// One chunk of a chunked body; none at its end. Panics if the connection breaks off.
    pub(super) async fn chunk(&mut self) -> Option<Vec<u8>> {
        let mut line = String::new();
        self.stream.read_line(&mut line).await.unwrap();
        let length =
            usize::from_str_radix(line.trim_end(), 16).unwrap_or_else(|_| panic!("no chunk: {line:?}"));
        let mut chunk = vec![0; length + 2];
        self.stream.read_exact(&mut chunk).await.unwrap();
        chunk.truncate(length);
        (length > 0).then_some(chunk)
    }

    /// What is left until the server closes.
    pub(super) async fn rest(&mut self) -> Vec<u8> {
        let mut rest = Vec::new();
        let _ = self.stream.read_to_end(&mut rest).await;
        rest
    }

    pub(super) async fn write(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.stream.write_all(bytes).await
    }
}

/// Yields until `condition` holds.
pub(super) async fn until(mut condition: impl FnMut() -> bool) {
    while !condition() {
        tokio::task::yield_now().await;
    }
}

/// The daemon: one stream, whose key must never be seen without a session.
pub(super) struct Stage {
    pub(super) access: Mutex<Access>,
    /// Whether this machine counts as the home network.
    pub(super) near: AtomicBool,
    pub(super) now: AtomicU64,
    /// None at a box by itself.
    pub(super) giving: Mutex<Option<GivingWish>>,
    pub(super) shelf: Shelf,
}

pub(super) const NOW: u64 = 1_800_000_000;

impl Default for Stage {
    fn default() -> Self {
        Self {
            access: Mutex::default(),
            near: AtomicBool::new(true),
            now: AtomicU64::new(NOW),
            giving: Mutex::new(Some(GivingWish::default())),
            shelf: Shelf::default(),
        }
    }
}

impl Stage {
    pub(super) fn opens_for(&self, access: Access) {
        *self.access.lock().unwrap_or_else(PoisonError::into_inner) = access;
    }
}

fn secret() -> StreamSecret {
    StreamSecret::from_seed(&[1; 32])
}

fn mesh() -> MeshId {
    MeshId::of(&RootSecret::from_seed(&[2; 32]).public())
}

/// The text of a link to a stream that is good from one second until another, both from `NOW` on.
pub(super) fn link(stream: &str, from: u64, until: u64) -> String {
    let (mesh, not_before) = (mesh(), Some(UnixSeconds::new(NOW + from)));
    let expires = UnixSeconds::new(NOW + until);
    let stream = stream.into();
    let token = AccessToken { mesh, stream, id: LinkId([3; 8]), label: None, not_before, expires };
    Signed::sign(token, &secret()).unwrap().to_string()
}

fn status() -> StreamStatus {
    let text = "pulled from srs.example".into();
    let source = SourceView { text, state: SourceState::Live, trouble: None };
    let encoder = Some("OBS".into());
    StreamStatus { name: "demo".into(), encoder, source: Some(source), ..StreamStatus::default() }
}

impl Backstage for Stage {
    fn box_view(&self) -> BoxView {
        BoxView { name: "box".into(), rtmp_port: 1935, ..BoxView::default() }
    }

    fn streams(&self) -> Vec<StreamStatus> {
        vec![status()]
    }

    fn studio(&self) -> StudioView {
        let stream = StudioStream { status: status(), key: "s3cret-key".into(), ..StudioStream::default() };
        StudioView { server_port: 1935, streams: vec![stream], refusals: Vec::new() }
    }

    fn create_stream(&self, name: &StreamName) -> Result<String, BackstageError> {
        if name.as_str() == "demo" { Err(BackstageError::Exists) } else { Ok("made-key".into()) }
    }

    fn rotate_key(&self, name: &StreamName) -> Result<String, BackstageError> {
        if name.as_str() == "demo" { Ok("new-key".into()) } else { Err(BackstageError::NotFound) }
    }

    fn remove_stream(&self, name: &StreamName) -> Result<(), BackstageError> {
        if name.as_str() == "demo" { Ok(()) } else { Err(BackstageError::NotFound) }
    }

    fn want<'a>(&'a self, _name: &'a StreamName) -> Option<crate::Wanting<'a>> {
        None
    }

    fn signer(&self, _name: &StreamName) -> Option<trust::StreamKey> {
        None
    }

    fn access(&self, _: &StreamName) -> Access {
        *self.access.lock().unwrap()
    }

    fn open_link(&self, name: &StreamName, token: &str) -> Result<Duration, AccessError> {
        let now = UnixSeconds::new(self.now.load(Ordering::Relaxed));
        let (mesh, key) = (mesh(), secret().public());
        let lock = Lock { mesh: &mesh, stream: name.as_str(), key: &key, now };
        AccessToken::open(token, &lock).map(|token| token.expires.since(now))
    }

    fn is_near(&self, _: IpAddr) -> bool {
        self.near.load(Ordering::Relaxed)
    }

    fn watch_page(&self) -> Option<WatchUrl> {
        Some("https://watch.example.org".parse().unwrap())
    }

    fn set_access(&self, name: &StreamName, access: Access) -> Result<(), BackstageError> {
        if name.as_str() == "fixed" {
            return Err(BackstageError::Fixed);
        }
        self.opens_for(access);
        Ok(())
    }

    fn make_link(&self, name: &StreamName, wish: &LinkWish) -> Result<LinkView, BackstageError> {
        if wish.valid_s < 60 {
            return Err(BackstageError::LinkTime);
        }
        let path = format!("/t/{}/live/{name}", link(name.as_str(), 0, wish.valid_s));
        let expires_unix_s = NOW + wish.valid_s;
        Ok(LinkView { path, watch_url: None, id: "0".into(), label: wish.label.clone(), expires_unix_s })
    }

    fn giving(&self) -> Option<GivingView> {
        let wish = self.giving.lock().unwrap().clone()?;
        Some(GivingView { wish, ..GivingView::default() })
    }

    fn set_giving(&self, wish: GivingWish) -> Result<(), BackstageError> {
        if wish.limit_kbps == Some(1) {
            return Err(BackstageError::Giving("that is too little".into()));
        }
        match &mut *self.giving.lock().unwrap() {
            Some(giving) => *giving = wish,
            None => return Err(BackstageError::NoFriends),
        }
        Ok(())
    }

    fn metrics(&self) -> String {
        "relaybox_extra 1\n".into()
    }

    fn health(&self) -> Health {
        Health { ok: true, problems: Vec::new() }
    }

    fn notices(&self) -> Vec<String> {
        vec!["relaybox.toml: line 2".to_owned()]
    }

    fn setup(&self) -> Option<&dyn Setup> {
        Some(&self.shelf)
    }

    fn check_pin(&self, pin: &str) -> bool {
        pin == PIN
    }
}
