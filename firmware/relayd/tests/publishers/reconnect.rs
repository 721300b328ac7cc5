//! HTTP-FLV viewers over a publisher's reconnect: they stay, on one clock, as long as their decoder can follow.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use crate::ffmpeg::{H264_AAC, Publishing, newer};
use crate::laboratory::{Laboratory, until};
use crate::programme::{Coding, Publisher, Tag, code, tags};

/// A viewer of `/live/demo.flv`, from the first byte on.
struct Viewer {
    socket: TcpStream,
    received: Vec<u8>,
}

impl Viewer {
    /// Waits for the stream to be there. HTTP/1.0, so that the body comes as it is.
    fn open(lab: &Laboratory) -> Self {
        until("there is an FLV stream", || {
            let mut socket = TcpStream::connect(lab.http).unwrap();
            socket.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
            let request = format!("GET /live/demo.flv HTTP/1.0\r\nHost: {}\r\n\r\n", lab.http);
            socket.write_all(request.as_bytes()).unwrap();
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                let mut byte = [0];
                socket.read_exact(&mut byte).unwrap();
                head.push(byte[0]);
            }
            let ok = head.starts_with(b"HTTP/1.0 200") || head.starts_with(b"HTTP/1.1 200");
            ok.then_some(Self { socket, received: Vec::new() })
        })
    }

    /// False at the end.
    fn read(&mut self) -> bool {
        let mut buffer = vec![0; 64 << 10];
        let bytes = self.socket.read(&mut buffer).unwrap();
        self.received.extend_from_slice(&buffer[..bytes]);
        bytes > 0
    }

    /// The whole tags that came so far.
    fn tags(&self) -> Vec<Tag> {
        let mut end = 13;
        while let Some(head) = self.received.get(end..end + 4) {
            let next = end + 15 + u32::from_be_bytes([0, head[1], head[2], head[3]]) as usize;
            if next > self.received.len() {
                break;
            }
            end = next;
        }
        tags(self.received.get(..end).unwrap_or_default())
    }

    fn pictures(&self) -> Vec<i64> {
        let pictures = |tag: &Tag| tag.video && !tag.is_header();
        if self.received.len() < 13 {
            return Vec::new();
        }
        self.tags().iter().filter(|tag| pictures(tag)).map(|tag| tag.stamp_ms).collect()
    }
}

#[test]
fn a_viewer_stays_on_one_clock_when_the_publisher_comes_back() {
    let lab = Laboratory::start("");
    let tags = code(Coding { seconds: 4, ..Coding::default() });
    let mut first = Publisher::connect(lab.rtmp, "secret");
    first.send(&tags);
    let mut viewer = Viewer::open(&lab);
    while viewer.pictures().len() < 30 {
        assert!(viewer.read(), "the first publication ends for its viewers");
    }
    first.finish();
    let mut second = Publisher::connect(lab.rtmp, "secret");
    second.send(&tags);
    // All of the second publication's 120, but for the last, which no later one has closed.
    while viewer.pictures().len() < 30 + 119 {
        assert!(viewer.read(), "the second publication ends for its viewers");
    }
    let pictures = viewer.pictures();
    assert!(pictures.windows(2).all(|pair| pair[0] < pair[1]), "{pictures:?}");
}

#[test]
fn a_viewer_is_let_go_when_the_codec_changes() {
    let Some(ffmpeg) = newer() else { return };
    let lab = Laboratory::start("");
    let url = format!("rtmp://{}/live/secret", lab.rtmp);
    let publishing = Publishing::start(&ffmpeg, H264_AAC, &url);
    let mut viewer = Viewer::open(&lab);
    while viewer.pictures().len() < 30 {
        assert!(viewer.read());
    }
    drop(publishing);
    let hevc = "-c:v libx265 -preset ultrafast -x265-params log-level=none -g 50 -c:a aac";
    let _publishing = Publishing::start(&ffmpeg, hevc, &url);
    while viewer.read() {}
    // Old codec ids stand in the low half of the first byte; 7 is H.264, and HEVC has none.
    let ids: Vec<u8> = viewer.tags().iter().filter(|tag| tag.video).map(|tag| tag.body[0] & 0xf).collect();
    assert!(ids.iter().all(|id| *id == 7), "{ids:?}");
    let again = Viewer::open(&lab);
    drop(again);
}
