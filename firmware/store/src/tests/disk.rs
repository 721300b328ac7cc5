//! Media on disk: found again, bounded, and never what a stream waits for.

use std::fs;
use std::path::{Path, PathBuf};

use stream::window::Memo;

use super::*;
use crate::Keep;
use crate::disk::format;
use stream::StreamName;

const SECOND: EpochId = EpochId(0xdef);

fn open_disk(scratch: &Scratch, config: impl FnOnce(&mut StoreConfig)) -> Store {
    let mut settings = StoreConfig::on_disk(scratch.path().join("numbers"), scratch.path().join("media"));
    config(&mut settings);
    Store::open(settings).unwrap()
}

fn stream_directory(scratch: &Scratch) -> PathBuf {
    scratch.path().join("media/demo")
}

fn files(directory: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(directory) else { return Vec::new() };
    let paths = entries.map(|entry| entry.unwrap().path());
    paths.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
}

async fn playlist(live: &Arc<Live>) -> String {
    let deadline = Instant::now();
    let rendered = live.media_playlist(PLAYLIST, &Reload::default(), deadline).await.unwrap();
    String::from_utf8(rendered.text.to_vec()).unwrap()
}

/// Two whole segments and two parts; then the store is dropped.
fn first_life(scratch: &Scratch, clean: bool) {
    let store = open_disk(scratch, |_| {});
    let live = store.live("demo").unwrap();
    publish(&live);
    (0..12).for_each(|nth| push(&live, nth));
    if clean {
        store.close();
    }
}

fn publish_second(live: &Live) {
    live.producer(Producer::Present);
    live.begin_epoch(record(SECOND), Bytes::from_static(b"other")).unwrap();
    for nth in 0..PARTS {
        let cut = CutPart {
            epoch: SECOND,
            start: Ticks(PART.0 * nth),
            duration: PART,
            independent: nth == 0,
            opens_segment: nth == 0,
            last: nth == PARTS - 1,
        };
        live.push_part(&cut, Bytes::from(format!("[{nth}]"))).unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a_restart_goes_on_with_the_same_playlist() {
    for clean in [true, false] {
        let scratch = Scratch::new("disk-restart");
        first_life(&scratch, clean);
        let store = open_disk(&scratch, |_| {});
        let live = store.live("demo").unwrap();
        let text = playlist(&live).await;
        assert!(text.contains("#EXT-X-MEDIA-SEQUENCE:0\n"), "{text}");
        assert!(
            text.ends_with("0000000000000abc/2.m4s\n#\n"),
            "the open segment is closed as it was: {text}"
        );
        assert_eq!(whole(&live, ObjectName::Segment(EPOCH, 1)).await.as_deref(), Ok("<5><6><7><8><9>"));
        assert_eq!(whole(&live, ObjectName::Segment(EPOCH, 2)).await.as_deref(), Ok("<10><11>"));
        assert_eq!(whole(&live, ObjectName::Part(EPOCH, 2, 1)).await.as_deref(), Ok("<11>"));
        assert_eq!(whole(&live, ObjectName::Init(EPOCH)).await.as_deref(), Ok("init"));

        publish_second(&live);
        let text = playlist(&live).await;
        let (_, added) = text.split_once("0000000000000abc/2.m4s\n").unwrap();
        assert!(
            added.starts_with("#EXT-X-DISCONTINUITY\n#EXT-X-MAP:URI=\"0000000000000def/init.mp4\"\n"),
            "{added}"
        );
        assert!(added.contains("\n0000000000000def/3.m4s\n"), "{added}");
        assert_eq!(whole(&live, ObjectName::Segment(SECOND, 3)).await.as_deref(), Ok("[0][1][2][3][4]"));
    }
}

#[tokio::test(start_paused = true)]
async fn a_range_is_read_from_disk() {
    let scratch = Scratch::new("disk-range");
    first_life(&scratch, true);
    let live = open_disk(&scratch, |_| {}).live("demo").unwrap();
    let found = fetch(&live, ObjectName::Segment(EPOCH, 1)).await.unwrap();
    let Ok(Object::Whole { bytes: 15, reader }) = found else { panic!("{found:?}") };
    assert_eq!(reader.in_ram(), None);
    assert_eq!(read(reader.slice(4..10)).await, "6><7><");
}

#[tokio::test(start_paused = true)]
async fn after_a_power_cut_the_playlist_ends_and_numbers_jump() {
    let scratch = Scratch::new("disk-power");
    first_life(&scratch, false);
    let memo = Memo {
        playlist: PLAYLIST,
        first_msn: 0,
        target_duration_s: 1,
        discontinuities: 0,
        next_msn: 3,
        ended: false,
    };
    fs::write(stream_directory(&scratch).join("memo"), format::memo(&memo, "another boot", false)).unwrap();
    let live = open_disk(&scratch, |_| {}).live("demo").unwrap();
    assert!(playlist(&live).await.ends_with("0000000000000abc/2.m4s\n#EXT-X-ENDLIST\n"));
    publish_second(&live);
    assert!(playlist(&live).await.ends_with("#EXT-X-ENDLIST\n"));
    assert!(whole(&live, ObjectName::Segment(SECOND, 4096)).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn what_is_torn_is_left_out() {
    let scratch = Scratch::new("disk-torn");
    first_life(&scratch, true);
    let epoch = stream_directory(&scratch).join(EPOCH.to_string());
    // A hole in segment 0, and leftovers.
    let torn = epoch.join("0.3.m4s");
    let content = fs::read(&torn).unwrap();
    fs::write(&torn, &content[..content.len() - 3]).unwrap();
    fs::write(epoch.join("2.7.new"), "half").unwrap();
    fs::write(epoch.join("notes.txt"), "foreign").unwrap();
    fs::create_dir_all(stream_directory(&scratch).join("0000000000000bad")).unwrap();
    let store = open_disk(&scratch, |_| {});
    let live = store.live("demo").unwrap();
    assert_eq!(whole(&live, ObjectName::Segment(EPOCH, 0)).await.as_deref(), Ok("<0><1><2>"));
    assert!(playlist(&live).await.contains("0000000000000abc/2.m4s\n"));
    store.close();
    // Three, five and two parts, with initialization section and memo.
    assert_eq!(files(scratch.path().join("media").as_path()).len(), 12);
}

#[tokio::test(start_paused = true)]
async fn a_missing_segment_leaves_the_newer_ones() {
    let scratch = Scratch::new("disk-hole");
    first_life(&scratch, true);
    let epoch = stream_directory(&scratch).join(EPOCH.to_string());
    fs::remove_file(epoch.join("1.0.m4s")).unwrap();
    let store = open_disk(&scratch, |_| {});
    let live = store.live("demo").unwrap();
    let text = playlist(&live).await;
    assert!(text.contains("#EXT-X-MEDIA-SEQUENCE:2\n"), "{text}");
    assert_eq!(whole(&live, ObjectName::Segment(EPOCH, 0)).await, Err(ObjectError::NotFound));
    assert_eq!(files(&epoch).len(), 3);
}

#[tokio::test(start_paused = true)]
async fn rubbish_is_an_empty_stream() {
    for rubbish in ["memo", "0000000000000abc/init.mp4"] {
        let scratch = Scratch::new("disk-rubbish");
        first_life(&scratch, true);
        fs::write(stream_directory(&scratch).join(rubbish), "rubbish").unwrap();
        let live = open_disk(&scratch, |_| {}).live("demo").unwrap();
        assert_eq!(live.bytes(), 0, "{rubbish}");
        publish_second(&live);
        assert!(whole(&live, ObjectName::Segment(SECOND, 4096)).await.is_ok());
    }
}

#[tokio::test(start_paused = true)]
async fn ram_and_disk_stay_in_their_budgets() {
    let scratch = Scratch::new("disk-flood");
    let store = open_disk(&scratch, |config| {
        config.limits.bytes = 4 << 20;
        config.box_bytes_max = 6 << 20;
        config.keep =
            Keep::Disk { directory: scratch.path().join("media"), ram_bytes_max_per_stream: 512 << 10 };
    });
    let lives = [store.live("demo").unwrap(), store.live("other").unwrap()];
    lives.iter().for_each(|live| publish(live));
    let part = Bytes::from(vec![7; 50 << 10]);
    for nth in 0..600 {
        for live in &lives {
            push_bytes(live, nth, part.clone());
            assert!(live.ram_bytes() <= 512 << 10, "{}", live.ram_bytes());
        }
        assert!(store.bytes() <= 6 << 20);
        if nth % 5 == 0 {
            store.flush();
        }
    }
    store.flush();
    assert!(store.bytes() > 4 << 20, "the disk is used: {}", store.bytes());
    let on_disk: u64 =
        files(&scratch.path().join("media")).iter().map(|path| fs::metadata(path).unwrap().len()).sum();
    assert!(on_disk < (6 << 20) + (64 << 10), "{on_disk}");
    for live in &lives {
        let text = playlist(live).await;
        let first = text.lines().find(|line| line.ends_with(".m4s") && !line.starts_with('#')).unwrap();
        let found = fetch(live, first.parse().unwrap()).await.unwrap().unwrap();
        let Object::Whole { reader, .. } = found else { panic!("{found:?}") };
        assert_eq!(reader.in_ram(), None, "{first}");
        assert_eq!(read(reader).await.len(), 250 << 10);
    }
    for name in store.names() {
        store.remove(&name);
    }
    store.flush();
    assert_eq!(files(&scratch.path().join("media")), Vec::<PathBuf>::new());
}

#[tokio::test(start_paused = true)]
async fn a_disk_that_refuses_makes_the_window_shorter() {
    let scratch = Scratch::new("disk-refuses");
    let store = open_disk(&scratch, |config| {
        config.keep =
            Keep::Disk { directory: scratch.path().join("media"), ram_bytes_max_per_stream: 1 << 20 };
    });
    // Where the stream's directory should be, there is a file.
    fs::write(stream_directory(&scratch), "in the way").unwrap();
    let live = store.live("demo").unwrap();
    publish(&live);
    let part = Bytes::from(vec![7; 50 << 10]);
    for nth in 0..100 {
        push_bytes(&live, nth, part.clone());
        assert!(live.ram_bytes() <= 1 << 20);
    }
    store.flush();
    assert!(store.files_lost() >= 15);
    assert!(playlist(&live).await.contains("0000000000000abc/19.m4s\n"));
    assert_eq!(whole(&live, ObjectName::Segment(EPOCH, 19)).await.unwrap().len(), 250 << 10);
}

#[tokio::test(start_paused = true)]
async fn a_removed_stream_leaves_nothing_behind() {
    let scratch = Scratch::new("disk-remove");
    first_life(&scratch, true);
    let store = open_disk(&scratch, |_| {});
    store.live("demo").unwrap();
    let name: StreamName = "demo".parse().unwrap();
    store.remove(&name);
    store.flush();
    assert!(!stream_directory(&scratch).exists());
    assert_eq!(store.bytes(), 0);
}
