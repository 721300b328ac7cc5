//! The publishing half of an RTMP session (Adobe's RTMP 1.0): handshake, four commands, messages in chunks.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use rustix::io::Errno;
use rustix::net::{RecvFlags, recv};

const HANDSHAKE_BYTES: usize = 1536;
/// What OBS sets.
const CHUNK_BYTES: usize = 4096;
const CHUNK_BYTES_AT_FIRST: usize = 128;
const ANSWER_BYTES_MAX: usize = 64 << 10;
const SILENCE_MAX: Duration = Duration::from_secs(10);

const SET_CHUNK_SIZE: u8 = 1;
const SCRIPT: u8 = 18;
const COMMAND: u8 = 20;

#[derive(Debug)]
pub(super) struct Session {
    socket: TcpStream,
    chunk_bytes: usize,
}

impl Session {
    pub(super) fn publish(server: SocketAddr, key: &str) -> Result<Session> {
        let socket = TcpStream::connect(server).context("no connection")?;
        socket.set_nodelay(true).context("no TCP_NODELAY")?;
        socket.set_read_timeout(Some(SILENCE_MAX)).context("no read timeout")?;
        socket.set_write_timeout(Some(SILENCE_MAX)).context("no write timeout")?;
        let mut session = Session { socket, chunk_bytes: CHUNK_BYTES_AT_FIRST };
        session.shake_hands()?;
        let mut connect = Amf::command("connect", 1.0);
        let url = format!("rtmp://{server}/live");
        connect.object(&[("app", "live"), ("type", "nonprivate"), ("flashVer", "FMLE/3.0"), ("tcUrl", &url)]);
        session.command(connect)?;
        session.await_answer("_result")?;
        session.message(2, SET_CHUNK_SIZE, 0, 0, &(CHUNK_BYTES as u32).to_be_bytes())?;
        session.chunk_bytes = CHUNK_BYTES;
        session.command(Amf::command("releaseStream", 2.0).null().text(key))?;
        session.command(Amf::command("FCPublish", 3.0).null().text(key))?;
        session.command(Amf::command("createStream", 4.0).null())?;
        session.await_answer("_result")?;
        let publish = Amf::command("publish", 5.0).null().text(key).text("live");
        session.message(3, COMMAND, 0, 1, &publish.0)?;
        session.await_answer("NetStream.Publish.Start")?;
        Ok(session)
    }

    /// One FLV tag as a message of the stream.
    pub(super) fn send(&mut self, kind: u8, stamp_ms: u32, body: &[u8]) -> Result<()> {
        if kind == SCRIPT {
            let mut data = Amf::default().text("@setDataFrame");
            data.0.extend_from_slice(body);
            return self.message(4, kind, stamp_ms, 1, &data.0);
        }
        // Audio and video each in a chunk stream of its own.
        self.message(if kind == 8 { 4 } else { 6 }, kind, stamp_ms, 1, body)
    }

    /// Takes what the server said meanwhile, so that it never waits for us.
    pub(super) fn hear(&mut self) -> Result<()> {
        let mut said = [0; 4096];
        loop {
            match recv(&self.socket, &mut said[..], RecvFlags::DONTWAIT) {
                Ok((0, _)) => bail!("the server closed the connection"),
                Ok(_) => {}
                Err(Errno::AGAIN) => return Ok(()),
                Err(error) => return Err(error).context("the connection broke"),
            }
        }
    }

    pub(super) fn finish(&mut self) -> Result<()> {
        let delete = Amf::command("deleteStream", 6.0).null().number(1.0);
        self.command(delete)?;
        self.socket.shutdown(std::net::Shutdown::Write).context("could not say good-bye")
    }

    fn shake_hands(&mut self) -> Result<()> {
        let mut ours = vec![3];
        ours.extend([0; 8]);
        ours.extend((0..HANDSHAKE_BYTES - 8).map(|index| (index * 7 + 1) as u8));
        self.socket.write_all(&ours).context("no handshake")?;
        let mut theirs = vec![0; 1 + 2 * HANDSHAKE_BYTES];
        self.socket.read_exact(&mut theirs).context("no handshake")?;
        self.socket.write_all(&theirs[1..=HANDSHAKE_BYTES]).context("no handshake")
    }

    fn command(&mut self, command: Amf) -> Result<()> {
        self.message(3, COMMAND, 0, 0, &command.0)
    }

    /// One message, all chunks in one write (5.3.1: type 0 first, then type 3).
    fn message(&mut self, chunk_stream: u8, kind: u8, stamp_ms: u32, stream: u32, body: &[u8]) -> Result<()> {
        ensure!(stamp_ms < 0xFF_FFFF, "a bench is shorter than that");
        let mut bytes = Vec::with_capacity(body.len() + body.len() / self.chunk_bytes + 12);
        bytes.push(chunk_stream);
        bytes.extend_from_slice(&stamp_ms.to_be_bytes()[1..]);
        bytes.extend_from_slice(&(body.len() as u32).to_be_bytes()[1..]);
        bytes.push(kind);
        bytes.extend_from_slice(&stream.to_le_bytes());
        for (index, chunk) in body.chunks(self.chunk_bytes).enumerate() {
            if index > 0 {
                bytes.push(0xC0 | chunk_stream);
            }
            bytes.extend_from_slice(chunk);
        }
        self.socket.write_all(&bytes).context("the server took no more")
    }

    /// Reads until the server said this word; a refusal ends it.
    fn await_answer(&mut self, word: &str) -> Result<()> {
        let mut said = Vec::new();
        let mut piece = [0; 4096];
        let has = |said: &[u8], word: &str| said.windows(word.len()).any(|part| part == word.as_bytes());
        while !has(&said, word) {
            let bytes = self.socket.read(&mut piece).with_context(|| format!("no {word}"))?;
            said.extend_from_slice(&piece[..bytes]);
            let refused = has(&said, "_error") || has(&said, "BadName");
            ensure!(
                bytes > 0 && !refused && said.len() < ANSWER_BYTES_MAX,
                "no {word}, but {}",
                String::from_utf8_lossy(&said)
            );
        }
        Ok(())
    }
}

/// Values of AMF 0, one behind the other.
#[derive(Clone, Debug, Default)]
struct Amf(Vec<u8>);

impl Amf {
    fn command(name: &str, transaction: f64) -> Amf {
        Amf::default().text(name).number(transaction)
    }

    fn text(mut self, text: &str) -> Amf {
        self.0.push(2);
        self.name(text);
        self
    }

    fn number(mut self, number: f64) -> Amf {
        self.0.push(0);
        self.0.extend_from_slice(&number.to_be_bytes());
        self
    }

    fn null(mut self) -> Amf {
        self.0.push(5);
        self
    }

    fn object(&mut self, fields: &[(&str, &str)]) {
        self.0.push(3);
        for (name, value) in fields {
            self.name(name);
            self.0.push(2);
            self.name(value);
        }
        self.0.extend_from_slice(&[0, 0, 9]);
    }

    fn name(&mut self, name: &str) {
        self.0.extend_from_slice(&(name.len() as u16).to_be_bytes());
        self.0.extend_from_slice(name.as_bytes());
    }
}
