//! Any bytes from a viewer: no panic, no held connection, and every answer is HTTP.
#![no_main]

use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use serve::{
    Backstage, BackstageError, BoxView, GivingView, GivingWish, Health, Limits, LinkView, LinkWish, Policy,
    Server, StreamStatus, StudioView, Wanting,
};
use store::{Producer, Store, StoreConfig};
use stream::{Codec, CutPart, EpochId, EpochRecord, StreamName, Ticks, TrackConfig, Tracks};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use trust::{Access, AccessError, StreamKey};
use wire::WatchUrl;

struct Stage;

impl Backstage for Stage {
    fn box_view(&self) -> BoxView {
        BoxView::default()
    }
    fn streams(&self) -> Vec<StreamStatus> {
        vec![StreamStatus { name: "demo".into(), ..StreamStatus::default() }]
    }
    fn studio(&self) -> StudioView {
        StudioView::default()
    }
    fn create_stream(&self, _: &StreamName) -> Result<String, BackstageError> {
        Err(BackstageError::TooMany)
    }
    fn rotate_key(&self, _: &StreamName) -> Result<String, BackstageError> {
        Err(BackstageError::NotFound)
    }
    fn remove_stream(&self, _: &StreamName) -> Result<(), BackstageError> {
        Err(BackstageError::NotFound)
    }
    fn want<'a>(&'a self, _: &'a StreamName) -> Option<Wanting<'a>> {
        None
    }
    fn signer(&self, _: &StreamName) -> Option<StreamKey> {
        None
    }
    fn access(&self, _: &StreamName) -> Access {
        Access::Open
    }
    fn open_link(&self, _: &StreamName, token: &str) -> Result<Duration, AccessError> {
        if token == "good" { Ok(Duration::from_secs(9)) } else { Err(AccessError::Foreign) }
    }
    fn is_near(&self, _: IpAddr) -> bool {
        false
    }
    fn watch_page(&self) -> Option<WatchUrl> {
        None
    }
    fn giving(&self) -> Option<GivingView> {
        Some(GivingView::default())
    }
    fn set_giving(&self, _: GivingWish) -> Result<(), BackstageError> {
        Ok(())
    }
    fn set_access(&self, _: &StreamName, _: Access) -> Result<(), BackstageError> {
        Err(BackstageError::NotFound)
    }
    fn make_link(&self, _: &StreamName, _: &LinkWish) -> Result<LinkView, BackstageError> {
        Err(BackstageError::NotFound)
    }
    fn metrics(&self) -> String {
        String::new()
    }
    fn health(&self) -> Health {
        Health::default()
    }
    fn notices(&self) -> Vec<String> {
        Vec::new()
    }
    fn setup(&self) -> Option<&dyn serve::Setup> {
        None
    }
    fn check_pin(&self, _: &str) -> bool {
        false
    }
}

/// A stream that has ended, so that nothing is worth waiting for.
static SERVER: LazyLock<Arc<Server>> = LazyLock::new(|| {
    let numbers = std::env::temp_dir().join(format!("relaybox-fuzz-{}", std::process::id()));
    let store = Store::open(StoreConfig::in_ram(numbers)).expect("the temporary directory can be written");
    let live = store.live("demo").expect("a good name");
    live.producer(Producer::Present);
    let video = TrackConfig { codec: Codec::H264, record: Bytes::new(), audio: None };
    let record = EpochRecord {
        id: EpochId(0xabc),
        tracks: Tracks { video: Some(video), audio: None },
        codecs: "avc1.42c01e".into(),
        resolution: Some((640, 360)),
        frame_rate_milli: Some(30_000),
        part_target: Ticks::from_millis(200),
        zero_unix_ms: 1_700_000_000_000,
    };
    live.begin_epoch(record, Bytes::from_static(b"init")).expect("a good record");
    for nth in 0..12 {
        let cut = CutPart {
            epoch: EpochId(0xabc),
            start: Ticks::from_millis(200 * nth),
            duration: Ticks::from_millis(200),
            independent: nth % 5 == 0,
            opens_segment: nth % 5 == 0,
            last: nth % 5 == 4,
        };
        live.push_part(&cut, Bytes::from_static(b"media")).expect("a good part");
    }
    live.abandon_segment();
    live.producer(Producer::Absent);
    Arc::new(Server::new(Arc::new(store), Arc::new(Stage), Policy::default(), Limits::default()))
});

fuzz_target!(|request: &[u8]| {
    // In a paused clock all timeouts come at once when nothing else is left to do.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    runtime.expect("a runtime can be built").block_on(async {
        let (mut client, socket) = tokio::io::duplex(1 << 20);
        let peer = IpAddr::from(Ipv4Addr::new(192, 0, 2, 1));
        let serving = serve::serve_io(socket, peer, Arc::clone(&SERVER));
        let asking = async {
            let _ = client.write_all(request).await;
            let mut answer = Vec::new();
            let _ = client.read_to_end(&mut answer).await;
            assert!(answer.is_empty() || answer.starts_with(b"HTTP/1."), "not HTTP");
        };
        tokio::join!(serving, asking);
    });
});
