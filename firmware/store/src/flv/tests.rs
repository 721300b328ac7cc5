//! The ring's promises: instant start, one copy of the bytes, bounded memory, slow readers told.

use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;

use super::{FlvError, FlvReader, Ring};

fn ring(bytes_max: usize) -> Arc<Ring> {
    let ring = Arc::new(Ring::new(bytes_max));
    ring.begin(Bytes::from_static(b"HEAD"), Bytes::from_static(b"inline"));
    ring
}

fn push(ring: &Ring, tag: &'static str, start: bool) {
    ring.push([(Bytes::from_static(tag.as_bytes()), start)]);
}

/// What the reader gets without waiting: the text of the batch, or `-` if it has to wait.
fn take(reader: &mut FlvReader) -> Result<String, FlvError> {
    match reader.poll_next(&mut Context::from_waker(Waker::noop())) {
        Poll::Pending => Ok("-".into()),
        Poll::Ready(batch) => batch.map(|batch| {
            batch.iter().map(|tag| String::from_utf8_lossy(tag).into_owned()).collect::<Vec<_>>().join(" ")
        }),
    }
}

#[test]
fn a_reader_begins_at_the_last_keyframe() {
    let ring = ring(1 << 20);
    let mut early = ring.reader();
    assert_eq!(take(&mut early).as_deref(), Ok("-"));
    push(&ring, "a0", false);
    assert_eq!(take(&mut early).as_deref(), Ok("-"), "no tag before a keyframe");
    push(&ring, "K1", true);
    push(&ring, "d2", false);
    push(&ring, "K3", true);
    push(&ring, "d4", false);
    assert_eq!(take(&mut early).as_deref(), Ok("HEAD K3 d4"));
    let mut late = ring.reader();
    assert_eq!(take(&mut late).as_deref(), Ok("HEAD K3 d4"));
    push(&ring, "d5", false);
    assert_eq!(take(&mut early).as_deref(), Ok("d5"));
    assert_eq!(take(&mut late).as_deref(), Ok("d5"));
    assert_eq!(ring.readers(), 2);
    drop(early);
    assert_eq!(ring.readers(), 1);
}

#[test]
fn dismissed_readers_end_and_others_begin_with_what_comes_next() {
    let ring = ring(1 << 20);
    let mut waiting = ring.reader();
    assert_eq!(take(&mut waiting).as_deref(), Ok("-"));
    push(&ring, "K0", true);
    let mut old = ring.reader();
    assert_eq!(take(&mut old).as_deref(), Ok("HEAD K0"));
    push(&ring, "d1", false);
    ring.dismiss();
    assert_eq!(take(&mut old), Err(FlvError::Ended));
    assert_eq!(take(&mut waiting).as_deref(), Ok("-"));
    ring.begin(Bytes::from_static(b"HEAD2"), Bytes::from_static(b"config2"));
    push(&ring, "K2", true);
    assert_eq!(take(&mut old), Err(FlvError::Ended));
    assert_eq!(take(&mut waiting).as_deref(), Ok("HEAD2 K2"));
    assert_eq!(take(&mut ring.reader()).as_deref(), Ok("HEAD2 K2"));
}

#[test]
fn a_new_configuration_reaches_old_and_new_readers() {
    let ring = ring(1 << 20);
    push(&ring, "K0", true);
    let mut old = ring.reader();
    assert_eq!(take(&mut old).as_deref(), Ok("HEAD K0"));
    ring.begin(Bytes::from_static(b"HEAD2"), Bytes::from_static(b"config2"));
    let mut new = ring.reader();
    assert_eq!(take(&mut new).as_deref(), Ok("-"), "the old keyframe has another configuration");
    assert_eq!(take(&mut old).as_deref(), Ok("config2"));
    push(&ring, "K1", true);
    assert_eq!(take(&mut new).as_deref(), Ok("HEAD2 K1"));
    assert_eq!(take(&mut old).as_deref(), Ok("K1"));
}

#[test]
fn a_reader_out_of_the_ring_is_told_and_others_go_on() {
    let ring = ring(2 << 20);
    let tag = Bytes::from(vec![7; 64 << 10]);
    ring.push([(tag.clone(), true)]);
    let (mut slow, mut quick) = (ring.reader(), ring.reader());
    assert!(take(&mut slow).is_ok());
    for n in 0..1000 {
        ring.push([(tag.clone(), n % 60 == 0)]);
        assert!(take(&mut quick).is_ok());
        assert!(ring.bytes() <= 2 << 20);
    }
    assert_eq!(take(&mut slow), Err(FlvError::Lagged));
    assert_eq!(take(&mut quick).as_deref(), Ok("-"));
}

#[test]
fn frequent_keyframes_keep_some_slack_and_no_more() {
    let ring = ring(16 << 20);
    let tag = Bytes::from(vec![7; 1 << 10]);
    for _ in 0..10_000 {
        ring.push([(tag.clone(), true)]);
    }
    assert_eq!(ring.bytes(), 512 << 10);
}

#[test]
fn a_group_over_the_bound_waits_for_the_next_keyframe() {
    let ring = ring(1 << 20);
    ring.push([(Bytes::from_static(b"K"), true)]);
    for _ in 0..20 {
        ring.push([(Bytes::from(vec![0; 100 << 10]), false)]);
    }
    let mut reader = ring.reader();
    assert_eq!(take(&mut reader).as_deref(), Ok("-"));
    push(&ring, "K2", true);
    assert_eq!(take(&mut reader).as_deref(), Ok("HEAD K2"));
}

#[test]
fn an_end_comes_after_what_is_left() {
    let ring = ring(1 << 20);
    push(&ring, "K0", true);
    let mut reader = ring.reader();
    assert_eq!(take(&mut reader).as_deref(), Ok("HEAD K0"));
    push(&ring, "d1", false);
    ring.end();
    assert_eq!(take(&mut reader).as_deref(), Ok("d1"));
    assert_eq!(take(&mut reader), Err(FlvError::Ended));
    assert_eq!(take(&mut ring.reader()), Err(FlvError::Ended));
    push(&ring, "lost", true);
    assert_eq!(take(&mut ring.reader()), Err(FlvError::Ended));
}

#[tokio::test]
async fn one_push_wakes_all_who_wait_and_shares_the_bytes() {
    let ring = ring(1 << 20);
    push(&ring, "K0", true);
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..50 {
        let mut reader = ring.reader();
        tasks.spawn(async move {
            reader.next().await.unwrap();
            reader.next().await.unwrap().remove(0)
        });
    }
    while ring.lock().waiting < 50 {
        tokio::task::yield_now().await;
    }
    let tag = Bytes::from(vec![1; 100]);
    ring.push([(tag.clone(), false)]);
    while let Some(got) = tasks.join_next().await {
        assert_eq!(got.unwrap().as_ptr(), tag.as_ptr());
    }
    assert_eq!(ring.readers(), 0);
}
