//! TCP between boxes: an echo on one side, and on the other the first byte, then a volume that counters can't miss.
//!
//! Only one port is open between boxes, so the echo is a sink as well: whoever says `SINK` hears nothing until
//! the end, and then how many bytes were right.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{Ipv6Addr, SocketAddr, TcpListener, TcpStream};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};

use super::netns::Namespace;
use crate::stop::Stop;

/// How long one attempt to connect, or one answer, may take.
const ATTEMPT_LIMIT: Duration = Duration::from_secs(1);
/// How long a piece of a volume may take.
const PIECE_LIMIT: Duration = Duration::from_secs(5);
/// What is sent before it is awaited.
const PIECE: usize = 16 * 1024;
/// From here on bytes are to be counted and not echoed. It goes alone.
pub(crate) const SINK: &[u8] = b"to sink!";
/// How long an echo may not see that it should stop.
const GLANCE: Duration = Duration::from_millis(50);

/// How many connections are echoed at once; the next one is closed at once. Those whose peer is gone count until
/// `IDLE_LIMIT`.
const CONNECTIONS_MAX: usize = 256;
/// How long a connection may be silent.
const IDLE_LIMIT: Duration = Duration::from_secs(120);

/// Answers what it hears, on every address of its namespace.
#[derive(Debug)]
pub(crate) struct Echo {
    stop: Stop,
    thread: Option<JoinHandle<()>>,
}

impl Echo {
    pub(crate) fn start(namespace: &Namespace, port: u16) -> Result<Echo> {
        let bind = || TcpListener::bind((Ipv6Addr::UNSPECIFIED, port)).context("listening for echoes");
        let listener = namespace.inside(bind)?;
        listener.set_nonblocking(true).context("a listener that does not block")?;
        let stop = Stop::default();
        let wanted = stop.clone();
        let thread = std::thread::spawn(move || serve(&listener, &wanted));
        Ok(Echo { stop, thread: Some(thread) })
    }
}

impl Drop for Echo {
    fn drop(&mut self) {
        self.stop.set();
        if let Some(thread) = self.thread.take() {
            thread.join().ok();
        }
    }
}

fn serve(listener: &TcpListener, stop: &Stop) {
    let mut open: Vec<JoinHandle<()>> = Vec::new();
    while !stop.wanted() {
        match listener.accept() {
            Ok((stream, _)) => {
                open.retain(|thread| !thread.is_finished());
                if open.len() < CONNECTIONS_MAX {
                    let stop = stop.clone();
                    // Whoever is gone is gone.
                    open.push(std::thread::spawn(move || echo(stream, &stop).unwrap_or_default()));
                }
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => stop.wait(Duration::from_millis(5)),
            Err(_) => break,
        }
    }
    for thread in open {
        thread.join().ok();
    }
}

fn echo(mut stream: TcpStream, stop: &Stop) -> std::io::Result<()> {
    stream.set_nonblocking(false)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(GLANCE))?;
    stream.set_write_timeout(Some(IDLE_LIMIT))?;
    let mut buffer = [0; PIECE];
    let mut heard = Instant::now();
    let mut sink: Option<usize> = None;
    while !stop.wanted() && heard.elapsed() < IDLE_LIMIT {
        match stream.read(&mut buffer) {
            Ok(0) => {
                let right = sink.map_or(Vec::new(), |right| (right as u64).to_be_bytes().to_vec());
                return stream.write_all(&right);
            }
            Ok(len) => {
                heard = Instant::now();
                let bytes = &buffer[..len];
                match &mut sink {
                    Some(right) if *bytes == *pattern(*right, len) => *right += len,
                    Some(_) => return Ok(()),
                    None if bytes == SINK => sink = Some(0),
                    None => stream.write_all(bytes)?,
                }
            }
            Err(error) if is_pause(&error) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Whether a limit of time of ours came before any byte.
pub(crate) fn is_pause(error: &std::io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted)
}

/// Tries until one byte went there and back, and gives the connection. `None` when the time is over.
pub(crate) fn first_byte(
    from: &Namespace,
    to: SocketAddr,
    limit: Duration,
    stop: &Stop,
) -> Option<TcpStream> {
    let end = Instant::now() + limit;
    while Instant::now() < end && !stop.wanted() {
        let start = Instant::now();
        if let Ok(stream) = from.inside(|| attempt(to)) {
            return Some(stream);
        }
        // A refusal comes at once: not everything is up yet.
        stop.wait(Duration::from_millis(20).saturating_sub(start.elapsed()));
    }
    None
}

/// One try to get a byte there and back. Call it inside a namespace.
fn attempt(to: SocketAddr) -> Result<TcpStream> {
    let mut stream = TcpStream::connect_timeout(&to, ATTEMPT_LIMIT).context("connecting")?;
    stream.set_nodelay(true).context("no delay")?;
    stream.set_read_timeout(Some(ATTEMPT_LIMIT)).context("a limit of time")?;
    stream.write_all(b"!").context("sending")?;
    let mut answer = [0];
    stream.read_exact(&mut answer).context("no echo")?;
    Ok(stream)
}

/// Sends that many bytes there and back on a connection of its own, and checks each. Gives the time.
pub(crate) fn exchange(from: &Namespace, to: SocketAddr, bytes: usize) -> Result<Duration> {
    volume(from.inside(|| attempt(to))?, bytes)
}

/// The same on a connection that is there.
pub(crate) fn volume(mut stream: TcpStream, bytes: usize) -> Result<Duration> {
    stream.set_read_timeout(Some(PIECE_LIMIT)).context("a limit of time")?;
    stream.set_write_timeout(Some(PIECE_LIMIT)).context("a limit of time")?;
    let start = Instant::now();
    let mut sent = 0;
    let mut answer = [0; PIECE];
    while sent < bytes {
        let piece = pattern(sent, PIECE.min(bytes - sent));
        stream.write_all(&piece).context("sending a volume")?;
        let answer = &mut answer[..piece.len()];
        stream.read_exact(answer).with_context(|| format!("no echo after {sent} bytes"))?;
        ensure!(*answer == *piece, "another echo than what was sent, after {sent} bytes");
        sent += piece.len();
    }
    Ok(start.elapsed())
}

/// What stands at these places of everything that is sent.
pub(crate) fn pattern(from: usize, len: usize) -> Vec<u8> {
    (from..from + len).map(|at| ((at * 31) >> 3) as u8).collect()
}
