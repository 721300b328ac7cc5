//! One kept HTTP/1.1 connection that asks and reads, with nothing in between: it must cost less than what it measures.
//! It refuses what servers under measurement don't send: other framings, other versions.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::ops::ControlFlow;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};

/// Longer than any server may hold a request.
const SILENCE_MAX: Duration = Duration::from_secs(20);
const BUFFER_BYTES: usize = 256 << 10;
const LINE_BYTES_MAX: usize = 16 << 10;

#[derive(Debug)]
pub(crate) struct Connection {
    socket: TcpStream,
    server: SocketAddr,
    buffer: Vec<u8>,
    start: usize,
    end: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body_bytes: u64,
}

enum Framing {
    Length(u64),
    Chunked,
    UntilClose,
}

impl Connection {
    pub(crate) fn open(server: SocketAddr) -> Result<Connection> {
        let socket = TcpStream::connect(server).with_context(|| format!("could not connect to {server}"))?;
        socket.set_nodelay(true).context("no TCP_NODELAY")?;
        socket.set_read_timeout(Some(SILENCE_MAX)).context("no read timeout")?;
        Ok(Connection { socket, server, buffer: vec![0; BUFFER_BYTES], start: 0, end: 0 })
    }

    /// Asks, and gives the body to `sink` as it comes; the connection is spent if `sink` breaks off.
    pub(crate) fn get(
        &mut self,
        path: &str,
        mut sink: impl FnMut(&[u8]) -> ControlFlow<()>,
    ) -> Result<Answer> {
        self.ask(path)?;
        let (status, framing) = self.head()?;
        let mut body_bytes = 0;
        match framing {
            Framing::Length(bytes) => {
                body_bytes = bytes;
                let _ = self.take(bytes, &mut sink)?;
            }
            Framing::Chunked => loop {
                let line = self.line()?;
                let size = line.split(';').next().unwrap_or_default();
                let bytes = u64::from_str_radix(size.trim(), 16).context("a chunk without a size")?;
                if self.take(bytes, &mut sink)?.is_break() {
                    break;
                }
                self.line()?;
                body_bytes += bytes;
                if bytes == 0 {
                    break;
                }
            },
            Framing::UntilClose => while self.take(1, &mut sink)?.is_continue() {},
        }
        Ok(Answer { status, body_bytes })
    }

    /// The whole body of an answer with status 200.
    pub(crate) fn fetch(&mut self, path: &str) -> Result<Vec<u8>> {
        let mut body = Vec::new();
        let answer = self.get(path, |bytes| {
            body.extend_from_slice(bytes);
            ControlFlow::Continue(())
        })?;
        ensure!(answer.status == 200, "GET {path}: {} {}", answer.status, String::from_utf8_lossy(&body));
        Ok(body)
    }

    pub(crate) fn fetch_text(&mut self, path: &str) -> Result<String> {
        String::from_utf8(self.fetch(path)?).with_context(|| format!("GET {path}: not UTF-8"))
    }

    pub(crate) fn ask(&mut self, path: &str) -> Result<()> {
        let request = format!("GET {path} HTTP/1.1\r\nHost: {}\r\n\r\n", self.server);
        self.socket.write_all(request.as_bytes()).with_context(|| format!("GET {path}"))
    }

    /// The bare socket, for a reader that only counts.
    pub(crate) fn into_socket(self) -> TcpStream {
        self.socket
    }

    fn head(&mut self) -> Result<(u16, Framing)> {
        let first = self.line()?;
        let status = first.split(' ').nth(1).and_then(|word| word.parse().ok());
        let status = status.with_context(|| format!("no status: {first}"))?;
        let mut framing = Framing::UntilClose;
        loop {
            let line = self.line()?.to_ascii_lowercase();
            if line.is_empty() {
                return Ok((status, framing));
            }
            if let Some(length) = line.strip_prefix("content-length:") {
                framing = Framing::Length(length.trim().parse().context("a length that is no number")?);
            } else if line.starts_with("transfer-encoding:") && line.ends_with("chunked") {
                framing = Framing::Chunked;
            }
        }
    }

    /// One line without its end.
    fn line(&mut self) -> Result<String> {
        let mut line = Vec::new();
        loop {
            if self.start == self.end {
                self.fill()?;
            }
            let byte = self.buffer[self.start];
            self.start += 1;
            match byte {
                b'\n' => return String::from_utf8(line).context("a head that is no text"),
                b'\r' => {}
                byte => line.push(byte),
            }
            ensure!(line.len() <= LINE_BYTES_MAX, "a line without an end");
        }
    }

    /// Exactly that many bytes of body.
    fn take(
        &mut self,
        mut bytes: u64,
        sink: &mut impl FnMut(&[u8]) -> ControlFlow<()>,
    ) -> Result<ControlFlow<()>> {
        while bytes > 0 {
            if self.start == self.end {
                self.fill()?;
            }
            let there = (self.end - self.start).min(usize::try_from(bytes).unwrap_or(usize::MAX));
            let piece = &self.buffer[self.start..self.start + there];
            self.start += there;
            bytes -= there as u64;
            if sink(piece).is_break() {
                return Ok(ControlFlow::Break(()));
            }
        }
        Ok(ControlFlow::Continue(()))
    }

    fn fill(&mut self) -> Result<()> {
        self.start = 0;
        self.end = self.socket.read(&mut self.buffer).context("the answer broke off")?;
        if self.end == 0 {
            bail!("the server closed the connection");
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    fn check(answer: &'static str, expected: &str) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let server = listener.local_addr().unwrap();
        let serving = std::thread::spawn(move || {
            let (mut socket, _) = listener.accept().unwrap();
            let mut request = [0; 1024];
            assert!(socket.read(&mut request).unwrap() > 0);
            socket.write_all(answer.as_bytes()).unwrap();
        });
        let body = Connection::open(server).unwrap().fetch_text("/").unwrap();
        assert_eq!(body, expected);
        serving.join().unwrap();
    }

    #[test]
    fn both_framings_are_read() {
        check("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", "hello");
        check(
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nhel\r\n2;x=y\r\nlo\r\n0\r\n\r\n",
            "hello",
        );
    }
}
