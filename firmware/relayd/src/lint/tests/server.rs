//! A live stream that moves when it is asked, not with the clock: each request for what comes next makes it.
//!
//! A segment has five parts of 0.2 s. The script's hooks change what is answered.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crate::probe::tests::fragment::{self, Fragment};
use crate::probe::tests::transport;

const FIRST_MSN: u64 = 7;
const SEGMENTS: u64 = 10;
const PARTS: u64 = 5;
/// Parts that exist at first, and when the stream ends.
const BEGIN: u64 = SEGMENTS * PARTS + 1;
const END: u64 = BEGIN + 19;

/// How far the stream is.
#[derive(Clone, Copy, Debug)]
pub(super) struct State {
    /// Parts made since its beginning.
    pub(super) parts: u64,
    pub(super) ended: bool,
}

impl State {
    /// Parts made since the lint came.
    pub(super) fn age(&self) -> u64 {
        self.parts - BEGIN
    }
}

#[derive(Clone, Debug)]
pub(super) struct Request {
    /// Without a slash at its beginning.
    pub(super) path: String,
    pub(super) query: String,
    /// Requests for this path before.
    pub(super) before: u64,
}

#[derive(Clone, Debug)]
pub(super) struct Reply {
    pub(super) status: u16,
    pub(super) content_type: &'static str,
    pub(super) cache_control: &'static str,
    pub(super) body: Vec<u8>,
}

/// What is changed: nothing, by default.
#[derive(Clone, Copy)]
pub(super) struct Script {
    pub(super) text: fn(String, &State) -> String,
    pub(super) multivariant: fn(String) -> String,
    /// Takes a part's number since the beginning, and whether it is asked for as a part.
    pub(super) fragment: fn(Fragment, u64, bool) -> Fragment,
    pub(super) reply: fn(Reply, &Request) -> Reply,
    /// Whether a blocking reload moves the stream.
    pub(super) blocks: bool,
    /// Whether segments are transport streams.
    pub(super) transport: bool,
}

impl Default for Script {
    fn default() -> Self {
        Self {
            text: |text, _| text,
            multivariant: |text| text,
            fragment: |fragment, _, _| fragment,
            reply: |reply, _| reply,
            blocks: true,
            transport: false,
        }
    }
}

pub(super) struct Server {
    address: SocketAddr,
    stop: Arc<AtomicBool>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Server {
    pub(super) fn start(script: Script) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let mut stream =
            Stream { script, parts: AtomicU64::new(BEGIN), asked: std::collections::BTreeMap::new() };
        let thread = std::thread::spawn(move || {
            for connection in listener.incoming() {
                if stopped.load(Ordering::Relaxed) {
                    break;
                }
                let _ = stream.serve(&connection.unwrap());
            }
        });
        Self { address, stop, thread: Some(thread) }
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        let _ = TcpStream::connect(self.address);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

struct Stream {
    script: Script,
    parts: AtomicU64,
    asked: std::collections::BTreeMap<String, u64>,
}

impl Stream {
    /// One request per connection.
    fn serve(&mut self, connection: &TcpStream) -> std::io::Result<()> {
        let mut reader = BufReader::new(connection);
        let mut first = String::new();
        reader.read_line(&mut first)?;
        loop {
            let mut line = String::new();
            if reader.read_line(&mut line)? <= 2 {
                break;
            }
        }
        let target = first.split(' ').nth(1).unwrap_or("/");
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let path = path.trim_start_matches('/').to_owned();
        let before = self.asked.entry(path.clone()).or_default();
        let request = Request { path, query: query.to_owned(), before: *before };
        *before += 1;
        let reply = (self.script.reply)(self.answer(&request), &request);
        let mut writer = connection;
        write!(
            writer,
            "HTTP/1.1 {} X\r\nContent-Type: {}\r\nCache-Control: {}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
            reply.status,
            reply.content_type,
            reply.cache_control,
            reply.body.len()
        )?;
        writer.write_all(&reply.body)
    }

    fn answer(&self, request: &Request) -> Reply {
        let playlist = |body: String| Reply {
            status: 200,
            content_type: "application/vnd.apple.mpegurl",
            cache_control: "no-cache",
            body: body.into_bytes(),
        };
        let media = |body: Vec<u8>| Reply {
            status: 200,
            content_type: "video/mp4",
            cache_control: "max-age=60, immutable",
            body,
        };
        let status = |status| Reply { status, ..media(Vec::new()) };
        match request.path.as_str() {
            "index.m3u8" => playlist((self.script.multivariant)(
                "#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=90000,AVERAGE-BANDWIDTH=85000,CODECS=\"avc1.42c01e,mp4a.40.2\",\
                 RESOLUTION=640x360,FRAME-RATE=30.000\nmedia.m3u8\n"
                    .to_owned(),
            )),
            "media.m3u8" => match self.advance(&request.query) {
                Ok(delta) => playlist(self.media(delta)),
                Err(refused) => status(refused),
            },
            "init.mp4" => media(fragment::init()),
            object => match number(object) {
                None => status(404),
                Some((msn, None)) => {
                    let first = (msn - FIRST_MSN) * PARTS;
                    let parts = (first..first + PARTS).map(|part| (self.script.fragment)(Fragment::part(part), part, false));
                    media(if self.script.transport {
                        transport::segment(&parts.collect::<Vec<_>>())
                    } else {
                        parts.flat_map(|part| part.bytes()).collect()
                    })
                }
                Some((msn, Some(part))) => {
                    let part = (msn - FIRST_MSN) * PARTS + part;
                    self.parts.fetch_max((part + 1).min(END), Ordering::Relaxed);
                    media((self.script.fragment)(Fragment::part(part), part, true).bytes())
                }
            },
        }
    }

    /// Moves the stream to what is asked for; a plain request moves it by a segment if it has no parts to show.
    fn advance(&self, query: &str) -> Result<bool, u16> {
        let value = |name: &str| {
            let pair = query.split('&').find_map(|pair| pair.strip_prefix(name));
            pair.map(|value| value.parse::<u64>().unwrap())
        };
        let (msn, part) = (value("_HLS_msn="), value("_HLS_part="));
        let parts = self.parts.load(Ordering::Relaxed);
        let state = State { parts, ended: false };
        match (msn, part) {
            (None, Some(_)) => Err(400),
            (Some(msn), part) => {
                let wanted = (msn.saturating_sub(FIRST_MSN)) * PARTS + part.map_or(PARTS, |part| part + 1);
                if wanted > parts + 15 {
                    return Err(400);
                }
                if self.script.blocks {
                    self.parts.fetch_max(wanted.min(END), Ordering::Relaxed);
                }
                Ok(false)
            }
            (None, None) if query.contains("_HLS_skip") => Ok(true),
            (None, None) => {
                let low_latency = !(self.script.text)("#EXT-X-PART-INF".to_owned(), &state).is_empty();
                if !low_latency {
                    self.parts.store((parts + PARTS).min(END), Ordering::Relaxed);
                }
                Ok(false)
            }
        }
    }

    fn media(&self, delta: bool) -> String {
        let parts = self.parts.load(Ordering::Relaxed);
        let state = State { parts, ended: parts == END };
        let (closed, open) = (parts / PARTS, parts % PARTS);
        let first = closed - SEGMENTS;
        let skipped = if delta { SEGMENTS - 6 } else { 0 };
        let mut out = format!(
            "#EXTM3U\n#EXT-X-VERSION:{}\n#EXT-X-TARGETDURATION:1\n\
             #EXT-X-SERVER-CONTROL:CAN-BLOCK-RELOAD=YES,PART-HOLD-BACK=0.6,HOLD-BACK=3,CAN-SKIP-UNTIL=6\n\
             #EXT-X-PART-INF:PART-TARGET=0.2\n#EXT-X-MEDIA-SEQUENCE:{}\n#EXT-X-DISCONTINUITY-SEQUENCE:0\n\
             #EXT-X-INDEPENDENT-SEGMENTS\n",
            if delta { 9 } else { 6 },
            FIRST_MSN + first
        );
        if skipped > 0 {
            out.push_str(&format!("#EXT-X-SKIP:SKIPPED-SEGMENTS={skipped}\n"));
        } else {
            out.push_str("#EXT-X-MAP:URI=\"init.mp4\"\n");
        }
        for segment in first + skipped..=closed {
            let listed = if segment == closed { open } else { PARTS };
            if listed == 0 {
                continue;
            }
            out.push_str(&format!("#EXT-X-PROGRAM-DATE-TIME:2024-01-01T00:00:{segment:02}.000Z\n"));
            let msn = FIRST_MSN + segment;
            for part in (0..listed).filter(|_| segment + 3 >= closed) {
                let independent = if part == 0 { ",INDEPENDENT=YES" } else { "" };
                out.push_str(&format!("#EXT-X-PART:DURATION=0.2,URI=\"{msn}.{part}.m4s\"{independent}\n"));
            }
            if segment < closed {
                out.push_str(&format!("#EXTINF:1.0,\n{msn}.m4s\n"));
            }
        }
        out.push_str(&if state.ended {
            "#EXT-X-ENDLIST\n".to_owned()
        } else {
            format!("#EXT-X-PRELOAD-HINT:TYPE=PART,URI=\"{}.{open}.m4s\"\n", FIRST_MSN + closed)
        });
        (self.script.text)(out, &state)
    }
}

/// `MSN.m4s` or `MSN.PART.m4s`.
fn number(object: &str) -> Option<(u64, Option<u64>)> {
    let stem = object.strip_suffix(".m4s")?;
    match stem.split_once('.') {
        None => Some((stem.parse().ok()?, None)),
        Some((msn, part)) => Some((msn.parse().ok()?, Some(part.parse().ok()?))),
    }
}
