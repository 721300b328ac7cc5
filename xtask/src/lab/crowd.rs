//! A crowd of viewers at one box: connections that are open already ask for the same at the same moment, and each looks at
//! the clock. One thread serves all of them. Refuses to know what an answer should be.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

/// How long a box may take to let somebody in.
const OPEN_LIMIT: Duration = Duration::from_secs(10);
const READ_BYTES: usize = 128 << 10;
/// Between two looks at the clock while nothing comes.
const GLANCE: Timespec = Timespec { tv_sec: 0, tv_nsec: 50_000_000 };
/// Above this no answer is read.
const ANSWER_BYTES_MAX: usize = 16 << 20;

/// What one viewer got, and when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Got {
    pub(crate) status: u16,
    pub(crate) body: Vec<u8>,
    /// From the moment at which the first of the crowd asked until this one had the first byte of its answer.
    pub(crate) first_byte: Duration,
    /// The same until it had the last.
    pub(crate) whole: Duration,
    /// The same until it asked itself.
    pub(crate) asked: Duration,
}

/// Opens so many connections, from the namespace of the thread that calls. That may take seconds: a box lets in a few at a
/// time.
pub(crate) fn gather(server: SocketAddr, viewers: usize) -> Result<Vec<TcpStream>> {
    let open = || TcpStream::connect_timeout(&server, OPEN_LIMIT).context("a viewer is not let in");
    (0..viewers).map(|_| open()).collect()
}

/// Asks on all of them, and waits until all have their answers.
pub(crate) fn ask(sockets: &[TcpStream], path: &str, limit: Duration) -> Result<Vec<Got>> {
    let request = format!("GET {path} HTTP/1.1\r\nHost: relaybox\r\n\r\n");
    let began = Instant::now();
    let mut takers = Vec::with_capacity(sockets.len());
    for mut socket in sockets {
        // A few hundred bytes: an empty socket takes them at once.
        socket.write_all(request.as_bytes()).context("asking")?;
        socket.set_nonblocking(true).context("a socket that must not wait")?;
        takers.push(Taker::new(began.elapsed()));
    }
    take_all(sockets, &mut takers, began, limit)?;
    takers.into_iter().map(Taker::finish).collect()
}

fn take_all(sockets: &[TcpStream], takers: &mut [Taker], began: Instant, limit: Duration) -> Result<()> {
    let mut buffer = vec![0; READ_BYTES];
    loop {
        let left: Vec<usize> = (0..takers.len()).filter(|&index| takers[index].whole.is_none()).collect();
        if left.is_empty() {
            return Ok(());
        }
        ensure!(
            began.elapsed() < limit,
            "{} of {} viewers have no answer after {} s",
            left.len(),
            takers.len(),
            limit.as_secs()
        );
        let mut waiting: Vec<PollFd<'_>> =
            left.iter().map(|&index| PollFd::new(&sockets[index], PollFlags::IN)).collect();
        poll(&mut waiting, Some(&GLANCE)).context("waiting for the box")?;
        for (waiter, &index) in waiting.iter().zip(&left) {
            if waiter.revents().is_empty() {
                continue;
            }
            let mut socket = &sockets[index];
            match socket.read(&mut buffer) {
                Ok(0) => anyhow::bail!("the box dropped viewer {index}"),
                Ok(bytes) => takers[index].take(&buffer[..bytes], began.elapsed())?,
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {}
                Err(error) => return Err(error).context("reading an answer"),
            }
        }
    }
}

/// One answer as it comes.
#[derive(Clone, Debug, Default)]
struct Taker {
    asked: Duration,
    bytes: Vec<u8>,
    first_byte: Option<Duration>,
    /// Where the body begins, and how long it is.
    body: Option<(usize, usize)>,
    whole: Option<Duration>,
}

impl Taker {
    fn new(asked: Duration) -> Taker {
        Taker { asked, ..Taker::default() }
    }

    fn take(&mut self, bytes: &[u8], now: Duration) -> Result<()> {
        self.first_byte.get_or_insert(now);
        self.bytes.extend_from_slice(bytes);
        ensure!(self.bytes.len() <= ANSWER_BYTES_MAX, "an answer of more than {ANSWER_BYTES_MAX} bytes");
        if self.body.is_none() {
            self.body = find_body(&self.bytes)?;
        }
        if self.body.is_some_and(|(from, len)| self.bytes.len() >= from + len) {
            self.whole = Some(now);
        }
        Ok(())
    }

    fn finish(self) -> Result<Got> {
        let (from, len) = self.body.context("an answer without an end")?;
        let status = self.bytes.get(9..12).and_then(|digits| std::str::from_utf8(digits).ok()?.parse().ok());
        Ok(Got {
            status: status.context("an answer without a status")?,
            body: self.bytes[from..from + len].to_vec(),
            first_byte: self.first_byte.unwrap_or_default(),
            whole: self.whole.context("an answer that did not end")?,
            asked: self.asked,
        })
    }
}

/// Where the body begins and its length, once the head is whole (RFC 9112 section 6.2; nothing asked here is chunked).
fn find_body(bytes: &[u8]) -> Result<Option<(usize, usize)>> {
    let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") else { return Ok(None) };
    let head = String::from_utf8_lossy(&bytes[..end]).to_ascii_lowercase();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length:"));
    let length = length.with_context(|| format!("an answer without a length: {head}"))?;
    Ok(Some((end + 4, length.trim().parse().context("an odd length")?)))
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead as _, BufReader};
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn everybody_gets_the_answer_and_knows_when() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let server = listener.local_addr().unwrap();
        let serving = std::thread::spawn(move || {
            let open: Vec<TcpStream> = (0..3).map(|_| listener.accept().unwrap().0).collect();
            for (index, mut socket) in open.iter().enumerate() {
                let mut line = String::new();
                BufReader::new(socket).read_line(&mut line).unwrap();
                assert_eq!(line, "GET /part HTTP/1.1\r\n");
                let status = if index == 2 { "404 Not Found" } else { "200 OK" };
                write!(socket, "HTTP/1.1 {status}\r\nContent-Length: 5\r\n\r\nhe").unwrap();
                socket.write_all(b"llo").unwrap();
            }
            open
        });
        let crowd = gather(server, 3).unwrap();
        let got = ask(&crowd, "/part", Duration::from_secs(30)).unwrap();
        drop(serving.join().unwrap());
        let mut statuses: Vec<u16> = got.iter().map(|got| got.status).collect();
        statuses.sort_unstable();
        assert_eq!(statuses, [200, 200, 404]);
        assert!(got.iter().all(|got| got.body == b"hello"));
        assert!(got.iter().all(|got| got.asked <= got.first_byte && got.first_byte <= got.whole));
    }

    #[test]
    fn an_answer_ends_where_its_length_says() {
        assert_eq!(find_body(b"HTTP/1.1 200 OK\r\nContent-Le").unwrap(), None);
        let head = b"HTTP/1.1 200 OK\r\nContent-Length: 12\r\n\r\nx";
        assert_eq!(find_body(head).unwrap(), Some((head.len() - 1, 12)));
        assert!(find_body(b"HTTP/1.1 200 OK\r\n\r\n").is_err());
    }
}
