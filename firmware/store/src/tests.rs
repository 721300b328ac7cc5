//! The store as its users see it: waiting, budgets, restarts. In virtual time.

mod carried;
mod disk;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use stream::playlist::{PlaylistName, Reload, Skip};
use stream::window::WindowLimits;
use stream::{Codec, CutPart, EpochId, EpochRecord, ObjectName, Ticks, TrackConfig, Tracks};
use tokio::task::JoinHandle;
use tokio::time::{Instant, advance};

use crate::scratch::Scratch;
use crate::{Live, Object, ObjectError, ObjectReader, PlaylistError, Producer, Store, StoreConfig};

const EPOCH: EpochId = EpochId(0xabc);
const PLAYLIST: PlaylistName = PlaylistName { epoch: EPOCH, n: 0 };
/// A part lasts 200 ms, a segment has five.
const PART: Ticks = Ticks::from_millis(200);
const PARTS: i64 = 5;

fn record(id: EpochId) -> EpochRecord {
    let video = TrackConfig { codec: Codec::H264, record: Bytes::from_static(&[1]), audio: None };
    EpochRecord {
        id,
        tracks: Tracks { video: Some(video), audio: None },
        codecs: "avc1.42c01e".into(),
        resolution: Some((640, 360)),
        frame_rate_milli: Some(30_000),
        part_target: PART,
        zero_unix_ms: 1_700_000_000_000,
    }
}

fn open(scratch: &Scratch, config: impl FnOnce(&mut StoreConfig)) -> Store {
    let mut settings = StoreConfig::in_ram(scratch.path().join("numbers"));
    config(&mut settings);
    Store::open(settings).unwrap()
}

fn publish(live: &Live) {
    live.producer(Producer::Present);
    live.begin_epoch(record(EPOCH), Bytes::from_static(b"init")).unwrap();
}

fn push_bytes(live: &Live, nth: i64, bytes: Bytes) {
    let within = nth % PARTS;
    let cut = CutPart {
        epoch: EPOCH,
        start: Ticks(PART.0 * nth),
        duration: PART,
        independent: within == 0,
        opens_segment: within == 0,
        last: within == PARTS - 1,
    };
    live.push_part(&cut, bytes).unwrap();
}

/// The part with this number since the epoch began; its bytes are its number as text.
fn push(live: &Live, nth: i64) {
    push_bytes(live, nth, Bytes::from(format!("<{nth}>")));
}

fn ask(live: &Arc<Live>, msn: u64, part: u32) -> JoinHandle<Result<String, PlaylistError>> {
    let live = Arc::clone(live);
    tokio::spawn(async move {
        let reload = Reload { msn: Some(msn), part: Some(part), skip: Skip::No };
        let deadline = Instant::now() + Duration::from_secs(10);
        let rendered = live.media_playlist(PLAYLIST, &reload, deadline).await?;
        Ok(String::from_utf8(rendered.text.to_vec()).unwrap())
    })
}

fn fetch(live: &Arc<Live>, name: ObjectName) -> JoinHandle<Result<Object, ObjectError>> {
    let live = Arc::clone(live);
    tokio::spawn(async move { live.object(name, Instant::now() + Duration::from_secs(10)).await })
}

async fn settle() {
    for _ in 0..10 {
        tokio::task::yield_now().await;
    }
}

async fn read(mut reader: ObjectReader) -> String {
    let mut text = Vec::new();
    while let Some(bytes) = reader.next().await.unwrap() {
        text.extend_from_slice(&bytes);
    }
    String::from_utf8(text).unwrap()
}

async fn whole(live: &Arc<Live>, name: ObjectName) -> Result<String, ObjectError> {
    match fetch(live, name).await.unwrap()? {
        Object::Whole { reader, .. } => Ok(read(reader).await),
        Object::Growing(_) => panic!("{name} grows"),
    }
}

#[tokio::test(start_paused = true)]
async fn a_blocking_reload_wakes_with_its_part() {
    let scratch = Scratch::new("reload");
    let live = open(&scratch, |_| {}).live("demo").unwrap();
    publish(&live);
    (0..6).for_each(|nth| push(&live, nth));

    let (next, after) = (ask(&live, 1, 1), ask(&live, 1, 2));
    settle().await;
    assert!(!next.is_finished());
    push(&live, 6);
    let text = next.await.unwrap().unwrap();
    assert!(text.contains("0000000000000abc/1.1.m4s\""), "{text}");
    assert!(!after.is_finished());
    push(&live, 7);
    assert!(after.await.unwrap().unwrap().contains("0000000000000abc/1.2.m4s\""));
    let far = ask(&live, 4, 0).await.unwrap();
    assert!(matches!(far, Err(PlaylistError::BadRequest(_))), "{far:?}");
}

#[tokio::test(start_paused = true)]
async fn a_stalled_producer_ends_the_wait() {
    let scratch = Scratch::new("stall");
    let live = open(&scratch, |_| {}).live("demo").unwrap();
    publish(&live);
    (0..6).for_each(|nth| push(&live, nth));
    let part = ObjectName::Part(EPOCH, 1, 1);

    let (playlist, object) = (ask(&live, 1, 1), fetch(&live, part));
    let began = Instant::now();
    assert_eq!(playlist.await.unwrap(), Err(PlaylistError::Stalled));
    assert_eq!(began.elapsed(), Duration::from_secs(2));
    assert_eq!(object.await.unwrap().unwrap_err(), ObjectError::Stalled);
    assert_eq!(ask(&live, 1, 1).await.unwrap(), Err(PlaylistError::Stalled), "at once from then on");
    assert_eq!(began.elapsed(), Duration::from_secs(2));

    push(&live, 6);
    assert!(ask(&live, 1, 1).await.unwrap().is_ok());
    // A publisher that is gone is waited for as long as one that is silent.
    live.producer(Producer::Absent);
    let began = Instant::now();
    let waiting = ask(&live, 1, 2);
    assert_eq!(ask(&live, 1, 3).await.unwrap(), Err(PlaylistError::Stalled));
    assert_eq!(began.elapsed(), Duration::from_secs(2));
    assert_eq!(waiting.await.unwrap(), Err(PlaylistError::Stalled));
}

#[tokio::test(start_paused = true)]
async fn a_wait_goes_on_as_long_as_parts_come() {
    let scratch = Scratch::new("slow");
    let live = open(&scratch, |_| {}).live("demo").unwrap();
    publish(&live);
    (0..6).for_each(|nth| push(&live, nth));
    let last = ask(&live, 1, 4);
    for nth in 6..10 {
        advance(Duration::from_millis(1500)).await;
        settle().await;
        assert!(!last.is_finished());
        push(&live, nth);
    }
    assert!(last.await.unwrap().is_ok());
}

#[tokio::test(start_paused = true)]
async fn the_first_answer_waits_for_a_whole_group() {
    let scratch = Scratch::new("held");
    let live = open(&scratch, |_| {}).live("demo").unwrap();
    let deadline = || Instant::now() + Duration::from_secs(10);
    assert_eq!(live.multivariant(deadline()).await, Err(PlaylistError::Offline));

    publish(&live);
    let began = Instant::now();
    assert_eq!(live.multivariant(deadline()).await, Err(PlaylistError::Held));
    assert_eq!(began.elapsed(), Duration::from_secs(10));

    let waiting = ask(&live, 0, 0);
    (0..4).for_each(|nth| push(&live, nth));
    settle().await;
    assert!(!waiting.is_finished());
    push(&live, 4);
    assert!(waiting.await.unwrap().unwrap().contains("#EXT-X-TARGETDURATION:1\n"));
    let (one, two) =
        (live.multivariant(deadline()).await.unwrap(), live.multivariant(deadline()).await.unwrap());
    assert_eq!(one.text.as_ptr(), two.text.as_ptr(), "rendered once");
    assert_eq!(one.tag, two.tag);
    live.end();
    let again = live.multivariant(deadline()).await.unwrap();
    assert_eq!(again.text, one.text);
}

#[tokio::test(start_paused = true)]
async fn a_hinted_part_is_held_and_then_comes() {
    let scratch = Scratch::new("hint");
    let live = open(&scratch, |_| {}).live("demo").unwrap();
    publish(&live);
    (0..6).for_each(|nth| push(&live, nth));
    let hinted = fetch(&live, ObjectName::Part(EPOCH, 1, 1));
    settle().await;
    assert!(!hinted.is_finished());
    push(&live, 6);
    assert!(matches!(hinted.await.unwrap(), Ok(Object::Whole { bytes: 3, .. })));
    assert_eq!(whole(&live, ObjectName::Part(EPOCH, 1, 1)).await.as_deref(), Ok("<6>"));
    assert_eq!(whole(&live, ObjectName::Init(EPOCH)).await.as_deref(), Ok("init"));
    assert_eq!(whole(&live, ObjectName::Part(EPOCH, 1, 3)).await, Err(ObjectError::NotFound), "not hinted");
    assert_eq!(whole(&live, ObjectName::Part(EpochId(1), 1, 1)).await, Err(ObjectError::NotFound));
}

#[tokio::test(start_paused = true)]
async fn a_hinted_part_that_is_never_made_is_not_found_at_once() {
    let scratch = Scratch::new("never");
    let live = open(&scratch, |_| {}).live("demo").unwrap();
    publish(&live);
    (0..6).for_each(|nth| push(&live, nth));
    let hinted = fetch(&live, ObjectName::Part(EPOCH, 1, 1));
    settle().await;
    let began = Instant::now();
    live.abandon_segment();
    assert_eq!(hinted.await.unwrap().unwrap_err(), ObjectError::NotFound);
    assert_eq!(whole(&live, ObjectName::Part(EPOCH, 1, 1)).await, Err(ObjectError::NotFound));
    assert_eq!(began.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn an_open_segment_streams_its_parts() {
    let scratch = Scratch::new("growing");
    let live = open(&scratch, |_| {}).live("demo").unwrap();
    publish(&live);
    (0..7).for_each(|nth| push(&live, nth));
    let name = ObjectName::Segment(EPOCH, 1);
    let Ok(Object::Growing(reader)) = fetch(&live, name).await.unwrap() else { panic!("not growing") };
    let reading = tokio::spawn(read(reader));
    settle().await;
    push(&live, 7);
    settle().await;
    assert!(!reading.is_finished());
    push(&live, 8);
    push(&live, 9);
    assert_eq!(reading.await.unwrap(), "<5><6><7><8><9>");
    assert_eq!(whole(&live, name).await.as_deref(), Ok("<5><6><7><8><9>"));

    push(&live, 10);
    let Ok(Object::Growing(mut reader)) = fetch(&live, ObjectName::Segment(EPOCH, 2)).await.unwrap() else {
        panic!("not growing")
    };
    assert_eq!(reader.next().await.unwrap(), Some(Bytes::from_static(b"<10>")));
    let stalled = reader.next().await.unwrap_err();
    assert_eq!(stalled.kind(), std::io::ErrorKind::TimedOut, "must not look like an end");
}

#[tokio::test(start_paused = true)]
async fn what_left_the_window_lingers() {
    let scratch = Scratch::new("linger");
    let limits =
        WindowLimits { duration: Ticks::from_secs(4), target_duration_s_max: 6, ..WindowLimits::default() };
    let live = open(&scratch, |config| config.limits = limits).live("demo").unwrap();
    publish(&live);
    for nth in 0..60 {
        push(&live, nth);
        advance(Duration::from_millis(200)).await;
    }
    let text = ask(&live, 11, 4).await.unwrap().unwrap();
    assert!(text.contains("#EXT-X-MEDIA-SEQUENCE:8\n"), "{text}");
    assert_eq!(whole(&live, ObjectName::Segment(EPOCH, 5)).await.as_deref(), Ok("<25><26><27><28><29>"));
    assert_eq!(whole(&live, ObjectName::Part(EPOCH, 5, 1)).await.as_deref(), Ok("<26>"));
    advance(Duration::from_secs(11)).await;
    push(&live, 60);
    assert_eq!(whole(&live, ObjectName::Segment(EPOCH, 5)).await, Err(ObjectError::NotFound));
}

#[tokio::test(start_paused = true)]
async fn budgets_hold_under_a_flood() {
    let scratch = Scratch::new("flood");
    let limits = WindowLimits { bytes: 1 << 20, ..WindowLimits::default() };
    let store = open(&scratch, |config| {
        config.limits = limits;
        config.box_bytes_max = 2 << 20;
    });
    let lives: Vec<_> = (0..5).map(|n| store.live(&format!("s{n}")).unwrap()).collect();
    lives.iter().for_each(|live| publish(live));
    let part = Bytes::from(vec![0; 50 << 10]);
    for nth in 0..500 {
        // The first stream sends a tenth of the others.
        push_bytes(&lives[0], nth, part.slice(..5 << 10));
        for live in &lives[1..] {
            push_bytes(live, nth, part.clone());
            assert!(live.bytes() <= 1 << 20);
            assert!(store.bytes() <= 2 << 20, "{}", store.bytes());
        }
    }
    let held: u64 = lives.iter().map(|live| live.bytes()).sum();
    assert_eq!(store.bytes(), held);
    assert!(held > 1 << 20, "the budget is used: {held}");
    assert!(lives[0].bytes() > 250 << 10, "the largest gave, not the smallest: {}", lives[0].bytes());
    for live in &lives {
        assert!(ask(live, 99, 4).await.unwrap().is_ok());
    }
    for name in store.names() {
        store.remove(&name);
    }
    assert_eq!(store.bytes(), 0);
}

#[tokio::test(start_paused = true)]
async fn open_segments_alone_stay_in_the_budget() {
    let scratch = Scratch::new("open");
    let store = open(&scratch, |config| config.box_bytes_max = 1 << 20);
    let lives: Vec<_> = (0..4).map(|n| store.live(&format!("s{n}")).unwrap()).collect();
    lives.iter().for_each(|live| publish(live));
    for nth in 0..50 {
        for live in &lives {
            let cut = CutPart {
                epoch: EPOCH,
                start: Ticks(PART.0 * nth),
                duration: PART,
                independent: nth == 0,
                opens_segment: nth == 0,
                last: false,
            };
            let _ = live.push_part(&cut, Bytes::from(vec![0; 64 << 10]));
            assert!(store.bytes() <= 1 << 20, "{}", store.bytes());
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_restart_goes_on_above_all_numbers() {
    let scratch = Scratch::new("restart");
    {
        let live = open(&scratch, |_| {}).live("demo").unwrap();
        publish(&live);
        (0..10).for_each(|nth| push(&live, nth));
        assert!(whole(&live, ObjectName::Segment(EPOCH, 1)).await.is_ok());
    }
    let live = open(&scratch, |_| {}).live("demo").unwrap();
    publish(&live);
    (0..10).for_each(|nth| push(&live, nth));
    assert!(whole(&live, ObjectName::Segment(EPOCH, 4097)).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn bad_names_and_too_many_streams_are_refused() {
    let scratch = Scratch::new("names");
    let store = open(&scratch, |config| config.streams_max = 2);
    assert!(store.live("../up").is_err());
    store.live("a").unwrap();
    store.live("b").unwrap();
    store.live("a").unwrap();
    assert!(matches!(store.live("c"), Err(crate::StoreError::TooManyStreams)));
    store.remove(&"a".parse().unwrap());
    store.live("c").unwrap();
}
