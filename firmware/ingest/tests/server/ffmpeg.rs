//! Debian's ffmpeg as the publisher; for Enhanced RTMP a newer one, whose path is in RELAYBOX_FFMPEG.

use std::ffi::OsStr;
use std::process::Stdio;
use std::sync::Arc;

use ingest::{CloseReason, Limits, Refusal};
use stream::{AudioFormat, Codec, TrackKind};
use tokio::process::Command;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::pki_types::PrivatePkcs8KeyDer;

use crate::publishing::limits;
use crate::recorder::{House, KEYS};

const SOURCE: &str = "-f lavfi -i testsrc2=size=320x180:rate=25 -f lavfi -i sine=sample_rate=44100";
const H264_AAC: &str = "-c:v libx264 -preset ultrafast -bf 2 -g 25 -c:a aac";

/// Publishes two seconds; whether ffmpeg was content, and what it said.
async fn publish(options: &str, url: &str) -> (bool, String) {
    publish_by("ffmpeg".as_ref(), &format!("{H264_AAC} {options}"), url).await
}

async fn publish_by(ffmpeg: &OsStr, options: &str, url: &str) -> (bool, String) {
    let arguments = format!("-nostdin -v error -re {SOURCE} {options} -t 2 -f flv {url}");
    let output = Command::new(ffmpeg)
        .args(arguments.split_whitespace())
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output()
        .await
        .expect("ffmpeg is installed");
    (output.status.success(), String::from_utf8_lossy(&output.stderr).into_owned())
}

async fn check_two_seconds(house: &House) {
    assert_eq!(house.closed(1).await, [(KEYS[0], CloseReason::Finished)]);
    house
        .until("record", |record| {
            let avc = record.config_of(Codec::H264).expect("H.264 was configured");
            assert_eq!(avc.record[0], 1);
            let aac =
                record.config_of(Codec::Aac).and_then(|config| config.audio).expect("AAC was configured");
            assert_eq!((aac.sample_rate, aac.channels, aac.frame_samples), (44_100, 1, 1024));
            let encoder = record.metadata[0].encoder.as_deref().unwrap_or_default();
            assert!(encoder.starts_with("Lavf"), "{encoder}");
            assert_eq!(
                (record.metadata[0].width, record.metadata[0].frame_rate_milli),
                (Some(320), Some(25_000))
            );

            let video: Vec<_> = record.units_of(TrackKind::Video).collect();
            assert_eq!(video.len(), 50);
            assert!(video.windows(2).all(|pair| pair[1].stamp_ms - pair[0].stamp_ms == 40));
            assert!(video.iter().any(|unit| unit.composition_ms > 40), "frames are reordered");
            let keyframes: Vec<_> = (0..50).filter(|index| video[*index].keyframe).collect();
            assert_eq!(keyframes, [0, 25]);

            let audio: Vec<_> = record.units_of(TrackKind::Audio).map(|unit| unit.stamp_ms).collect();
            assert!(audio.len() >= 86, "{} audio frames", audio.len());
            assert!(audio.windows(2).all(|pair| (23..=24).contains(&(pair[1] - pair[0]))), "{audio:?}");
            Some(())
        })
        .await;
}

#[tokio::test]
async fn ffmpeg_publishes() {
    let house = House::open(limits(), None).await;
    let url = format!("rtmp://{}/live/{}", house.address, KEYS[0]);
    assert_eq!(publish("", &url).await, (true, String::new()));
    check_two_seconds(&house).await;
}

#[tokio::test]
async fn ffmpeg_publishes_over_tls() {
    let certified = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let key = PrivatePkcs8KeyDer::from(certified.signing_key.serialize_der());
    let config = ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(vec![certified.cert.der().clone()], key.into())
        .unwrap();
    let house = House::open(limits(), Some(TlsAcceptor::from(Arc::new(config)))).await;
    let url = format!("rtmps://localhost:{}/live/{}", house.address.port(), KEYS[0]);
    assert_eq!(publish("-tls_verify 0", &url).await, (true, String::new()));
    check_two_seconds(&house).await;
}

#[tokio::test]
async fn ffmpeg_says_why_it_was_refused() {
    let house = House::open(limits(), None).await;
    let (content, said) = publish("", &format!("rtmp://{}/live/wrong", house.address)).await;
    assert!(!content && said.contains("wrong stream key: copy it again"), "{said}");
    assert_eq!(house.first_refusal().await, Refusal::WrongKey);

    let house = House::open(Limits { refusal_ms: 1, ..limits() }, None).await;
    let (content, said) = publish("", &format!("rtmp://{}/vod/{}", house.address, KEYS[0])).await;
    assert!(!content && said.contains("the server address has to end in /live"), "{said}");
    assert_eq!(house.first_refusal().await, Refusal::UnknownApplication);
}

#[tokio::test]
async fn stamps_beyond_24_bits_arrive_whole() {
    let house = House::open(limits(), None).await;
    let url = format!("rtmp://{}/live/{}", house.address, KEYS[0]);
    // 16776 s: the 24-bit field overflows after 1.2 s.
    assert_eq!(publish("-output_ts_offset 16776", &url).await, (true, String::new()));
    house.closed(1).await;
    house
        .until("record", |record| {
            let video: Vec<_> = record.units_of(TrackKind::Video).map(|unit| unit.stamp_ms).collect();
            assert!(video.windows(2).all(|pair| pair[1] - pair[0] == 40), "{video:?}");
            assert!(video[0] < 16_777_215 && video[49] > 16_777_215, "{video:?}");
            Some(())
        })
        .await;
}

/// Publishes by the newer ffmpeg; checks the tracks, 50 pictures 40 ms apart, and a keyframe each second.
async fn check_enhanced(options: &str, video: Codec, audio: (Codec, AudioFormat)) {
    let ffmpeg =
        std::env::var_os("RELAYBOX_FFMPEG").expect("RELAYBOX_FFMPEG names an ffmpeg of version 7.1 or later");
    let house = House::open(limits(), None).await;
    let url = format!("rtmp://{}/live/{}", house.address, KEYS[0]);
    let (content, said) = publish_by(&ffmpeg, options, &url).await;
    assert!(content, "{said}");
    house.closed(1).await;
    house
        .until("record", |record| {
            assert!(
                record.config_of(video).is_some_and(|config| config.record.len() >= 4),
                "{:?}",
                record.configs
            );
            assert_eq!(record.config_of(audio.0).and_then(|config| config.audio), Some(audio.1));
            let pictures: Vec<_> = record.units_of(TrackKind::Video).collect();
            assert!(pictures.windows(2).all(|pair| pair[1].stamp_ms - pair[0].stamp_ms == 40));
            let keyframes: Vec<_> = (0..pictures.len()).filter(|index| pictures[*index].keyframe).collect();
            assert_eq!((pictures.len(), keyframes), (50, vec![0, 25]));
            assert!(record.units_of(TrackKind::Audio).count() >= 86);
            Some(())
        })
        .await;
}

#[tokio::test]
#[ignore = "needs an ffmpeg with Enhanced RTMP in RELAYBOX_FFMPEG"]
async fn a_newer_ffmpeg_publishes_hevc_and_opus() {
    let opus = AudioFormat { sample_rate: 48_000, channels: 1, frame_samples: 960 };
    let options = "-c:v libx265 -preset ultrafast -x265-params log-level=none -g 25 -c:a libopus -ar 48000";
    check_enhanced(options, Codec::Hevc, (Codec::Opus, opus)).await;
}

#[tokio::test]
#[ignore = "needs an ffmpeg with Enhanced RTMP in RELAYBOX_FFMPEG"]
async fn a_newer_ffmpeg_publishes_av1_and_aac() {
    let aac = AudioFormat { sample_rate: 44_100, channels: 1, frame_samples: 1024 };
    let options = "-c:v libsvtav1 -preset 12 -svtav1-params pred-struct=1 -g 25 -c:a aac";
    check_enhanced(options, Codec::Av1, (Codec::Aac, aac)).await;
}
