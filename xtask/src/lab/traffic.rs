//! TCP between boxes: an echo on one side, and on the other the first byte, then a volume that counters can't miss.

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

/// Answers what it hears, one connection after the other, on every address of its namespace.
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
    while !stop.wanted() {
        match listener.accept() {
            // Whoever is gone is gone.
            Ok((stream, _)) => echo(stream, stop).unwrap_or_default(),
            Err(error) if error.kind() == ErrorKind::WouldBlock => stop.wait(Duration::from_millis(5)),
            Err(_) => return,
        }
    }
}

fn echo(mut stream: TcpStream, stop: &Stop) -> std::io::Result<()> {
    stream.set_nonblocking(false)?;
    stream.set_nodelay(true)?;
    // Short, so that a connection that died does not keep the next one waiting.
    stream.set_read_timeout(Some(ATTEMPT_LIMIT))?;
    stream.set_write_timeout(Some(ATTEMPT_LIMIT))?;
    let mut buffer = [0; PIECE];
    while !stop.wanted() {
        let len = stream.read(&mut buffer)?;
        if len == 0 {
            break;
        }
        stream.write_all(&buffer[..len])?;
    }
    Ok(())
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
    let mut stream = from.inside(|| attempt(to))?;
    stream.set_read_timeout(Some(PIECE_LIMIT)).context("a limit of time")?;
    stream.set_write_timeout(Some(PIECE_LIMIT)).context("a limit of time")?;
    let start = Instant::now();
    let mut sent = 0;
    let mut answer = [0; PIECE];
    while sent < bytes {
        let piece: Vec<u8> = (sent..bytes.min(sent + PIECE)).map(|at| ((at * 31) >> 3) as u8).collect();
        stream.write_all(&piece).context("sending a volume")?;
        let answer = &mut answer[..piece.len()];
        stream.read_exact(answer).with_context(|| format!("no echo after {sent} bytes"))?;
        ensure!(*answer == *piece, "another echo than what was sent, after {sent} bytes");
        sent += piece.len();
    }
    Ok(start.elapsed())
}
