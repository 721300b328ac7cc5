//! A crowd that asks for the same at once, over connections that are open: how long each waits for the first byte.

use std::io::{ErrorKind, Read as _};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::http::Connection;

/// Whoever has nothing after this gets nothing.
const PATIENCE: Duration = Duration::from_secs(30);
const GLANCE: Timespec = Timespec { tv_sec: 0, tv_nsec: 50_000_000 };
const READ_BYTES: usize = 128 << 10;
const HEAD_BYTES_MAX: usize = 16 << 10;

/// Lets so many connect. That may take seconds, as a server lets in a few at a time.
pub(crate) fn gather(server: SocketAddr, viewers: usize) -> Result<Vec<Connection>> {
    (0..viewers).map(|_| Connection::open(server)).collect()
}

/// Milliseconds from one's own request to the first byte of its answer, sorted. Each answer is read to its end, and has to
/// be 200 with a length.
pub(crate) fn ask(mut connections: Vec<Connection>, path: &str) -> Result<Vec<f64>> {
    let mut takers = Vec::with_capacity(connections.len());
    for connection in &mut connections {
        connection.ask(path)?;
        takers.push(Taker::default());
    }
    let sockets: Vec<TcpStream> = connections.into_iter().map(Connection::into_socket).collect();
    for socket in &sockets {
        socket.set_nonblocking(true).context("a socket that must not wait")?;
    }
    take_all(&sockets, &mut takers)?;
    let waits = takers.iter().filter_map(|taker| taker.first.map(|first| first.duration_since(taker.asked)));
    let mut waits_ms: Vec<f64> = waits.map(|wait| wait.as_secs_f64() * 1e3).collect();
    waits_ms.sort_by(f64::total_cmp);
    Ok(waits_ms)
}

fn take_all(sockets: &[TcpStream], takers: &mut [Taker]) -> Result<()> {
    let (mut buffer, begun) = (vec![0; READ_BYTES], Instant::now());
    loop {
        let left: Vec<usize> = (0..takers.len()).filter(|index| !takers[*index].is_done()).collect();
        if left.is_empty() {
            return Ok(());
        }
        ensure!(begun.elapsed() < PATIENCE, "{} of {} have no answer", left.len(), takers.len());
        let mut waiting: Vec<PollFd<'_>> =
            left.iter().map(|index| PollFd::new(&sockets[*index], PollFlags::IN)).collect();
        poll(&mut waiting, Some(&GLANCE)).context("could not wait for the server")?;
        for (waiter, index) in waiting.iter().zip(&left) {
            if waiter.revents().is_empty() {
                continue;
            }
            let mut socket = &sockets[*index];
            match socket.read(&mut buffer) {
                Ok(0) => bail!("the server dropped viewer {index}"),
                Ok(bytes) => takers[*index].take(&buffer[..bytes])?,
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) => return Err(error).with_context(|| format!("viewer {index}")),
            }
        }
    }
}

/// One answer as it comes.
#[derive(Debug)]
struct Taker {
    asked: Instant,
    first: Option<Instant>,
    head: Vec<u8>,
    /// Of the body, once the head is there.
    left: Option<usize>,
}

impl Default for Taker {
    fn default() -> Taker {
        Taker { asked: Instant::now(), first: None, head: Vec::new(), left: None }
    }
}

impl Taker {
    fn is_done(&self) -> bool {
        self.left == Some(0)
    }

    fn take(&mut self, bytes: &[u8]) -> Result<()> {
        self.first.get_or_insert_with(Instant::now);
        if let Some(left) = &mut self.left {
            *left = left.saturating_sub(bytes.len());
            return Ok(());
        }
        self.head.extend_from_slice(bytes);
        let Some(end) = self.head.windows(4).position(|four| four == b"\r\n\r\n") else {
            ensure!(self.head.len() < HEAD_BYTES_MAX, "a head without an end");
            return Ok(());
        };
        let head = String::from_utf8_lossy(&self.head[..end]).to_ascii_lowercase();
        ensure!(head.starts_with("http/1.1 200"), "{head}");
        let length = head.lines().find_map(|line| line.strip_prefix("content-length:"));
        let length: usize = length.with_context(|| format!("no length: {head}"))?.trim().parse()?;
        self.left = Some(length.saturating_sub(self.head.len() - end - 4));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_done_when_its_length_has_come() {
        let mut taker = Taker::default();
        taker.take(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r").unwrap();
        assert_eq!(taker.left, None);
        taker.take(b"\nab").unwrap();
        assert!(!taker.is_done());
        taker.take(b"cd").unwrap();
        assert!(taker.is_done());
        assert!(Taker::default().take(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n").is_err());
    }
}
