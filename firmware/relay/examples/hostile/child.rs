//! One request of a child, and what it is told.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use swarm::part::{StripeCount, Stripes};
use wire::feed::{BlockFrame, BlocksRequest, FeedRequest, Frame, MEDIA_TYPE, Request, STRIPES_HEADER};

use crate::book::{Book, Entry};
use crate::deed::{Deed, Script};
use crate::{Result, say};

const HEAD_BYTES_MAX: usize = 4096;
/// How often a child hears that its parent lives.
const ALIVE_EVERY: Duration = Duration::from_millis(300);
const MOMENT: Duration = Duration::from_millis(10);
/// Parts of a segment that are too few to begin with.
const FEW_PARTS: u32 = 3;

pub(crate) fn serve(socket: &TcpStream, id: usize, deed: Deed, book: &Arc<Book>) -> Result<()> {
    socket.set_nodelay(true)?;
    let head = read_head(socket)?;
    let target = head.split(' ').nth(1).ok_or("no request")?;
    let (path, query) = target.split_once('?').map_or((target, None), |(path, query)| (path, Some(query)));
    match Request::parse(path, query)? {
        Request::Feed(asked) => feed(socket, id, &asked, deed, book),
        Request::Blocks(asked) => blocks(socket, id, &asked, deed, book),
    }
}

fn read_head(mut socket: &TcpStream) -> Result<String> {
    let (mut head, mut byte) = (Vec::new(), [0]);
    while !head.ends_with(b"\r\n\r\n") {
        if head.len() >= HEAD_BYTES_MAX || socket.read(&mut byte)? == 0 {
            return Err("no request came".into());
        }
        head.push(byte[0]);
    }
    Ok(String::from_utf8(head)?)
}

fn greet(mut socket: &TcpStream, stripes: u16) -> Result<()> {
    let head = "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-type";
    write!(socket, "{head}: {MEDIA_TYPE}\r\n{STRIPES_HEADER}: {stripes}\r\n\r\n")?;
    Ok(())
}

/// Whoever checks by asking gets what is right, but from one that lies.
fn blocks(mut socket: &TcpStream, id: usize, asked: &BlocksRequest, deed: Deed, book: &Book) -> Result<()> {
    greet(socket, 0)?;
    if book.has_begun() && deed == Deed::Lies {
        say("misdeed", &format!("{id} pull"));
        return Ok(());
    }
    let found = book.blocks(asked.part);
    for index in &asked.blocks {
        if let Some(bytes) = found.get(index) {
            let block = BlockFrame { part: asked.part, index: *index, bytes: bytes.clone() };
            socket.write_all(&Frame::Block(block).to_bytes())?;
        }
    }
    Ok(())
}

fn feed(socket: &TcpStream, id: usize, asked: &FeedRequest, deed: Deed, book: &Arc<Book>) -> Result<()> {
    let stripes = Stripes(asked.stripes);
    greet(socket, asked.stripes)?;
    say("opened", &format!("{id} {}", stripes.len()));
    let gone = Arc::new(AtomicBool::new(false));
    let (mut ear, is_gone) = (socket.try_clone()?, Arc::clone(&gone));
    std::thread::spawn(move || {
        // A child says nothing more; when it ends the connection, this ends.
        let _ = ear.read(&mut [0]);
        is_gone.store(true, Ordering::Relaxed);
    });
    let told = tell(socket, id, asked, deed, book, &gone);
    say("closed", &format!("{id} {}", stripes.len()));
    told
}

fn tell(
    mut socket: &TcpStream,
    id: usize,
    asked: &FeedRequest,
    deed: Deed,
    book: &Book,
    gone: &AtomicBool,
) -> Result<()> {
    let of = StripeCount::new(asked.of).ok_or("no stripes")?;
    let Some((hello, mut next, first)) = start(asked, book) else { return Err("nothing came yet".into()) };
    socket.write_all(&Frame::Hello(hello).to_bytes())?;
    let stripes = Stripes(asked.stripes);
    let mut script = Script { of, stripes, first, queue: BTreeMap::new(), count: 0, newest: None };
    let (mut wrong, mut replays, mut alive) = (false, false, Instant::now());
    while !gone.load(Ordering::Relaxed) {
        let deed = Some(deed).filter(|_| book.has_begun());
        let replaying = deed == Some(Deed::Replays);
        if replaying && !replays {
            script.replay(&past(book));
            replays = true;
        }
        book.wait(next, MOMENT);
        let entries: Vec<Entry> = book.read().entries.get(next..).unwrap_or_default().to_vec();
        next += entries.len();
        let mut does_wrong = replaying;
        for entry in entries.iter().filter(|_| !replaying) {
            does_wrong |= script.take(entry, deed);
        }
        if does_wrong && !wrong && asked.stripes != 0 {
            say("misdeed", &format!("{id} {}", script.stripes.len()));
            wrong = true;
        }
        while let Some(bytes) = script.poll() {
            socket.write_all(&bytes)?;
        }
        if alive.elapsed() >= ALIVE_EVERY {
            alive = Instant::now();
            socket.write_all(&Frame::Alive { newest: script.newest }.to_bytes())?;
        }
    }
    Ok(())
}

/// The hello, the entry with which this child begins, and the first part that it wants: as an honest box would have it.
fn start(asked: &FeedRequest, book: &Book) -> Option<(bytes::Bytes, usize, (u64, u32))> {
    let pages = book.read();
    let epoch = pages.entries.iter().rposition(|entry| matches!(entry, Entry::Epoch { .. }))?;
    let newest = pages.entries.iter().rev().find_map(|entry| match entry {
        Entry::Part { name, .. } => Some(*name),
        Entry::Epoch { .. } | Entry::Mark { .. } | Entry::Block { .. } => None,
    })?;
    let back = u64::from(newest.part + 1 < FEW_PARTS);
    let first = asked.from.map_or((newest.msn.saturating_sub(back), 0), |from| (from.msn, from.part));
    Some((pages.hello.clone()?, epoch, first))
}

/// The first epoch, from its beginning to its end.
fn past(book: &Book) -> Vec<Entry> {
    let pages = book.read();
    let is_epoch = |entry: &&Entry| matches!(entry, Entry::Epoch { .. });
    let mut epochs = pages.entries.iter().enumerate().filter(|(_, entry)| is_epoch(entry)).map(|(at, _)| at);
    let (from, to) = (epochs.next().unwrap_or(0), epochs.next().unwrap_or(pages.entries.len()));
    pages.entries.get(from..to).unwrap_or_default().to_vec()
}
