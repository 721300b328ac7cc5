//! A scripted publisher on a socket.

use std::net::SocketAddr;
use std::time::Duration;

use ingest::script::Script;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const PATIENCE: Duration = Duration::from_secs(60);

#[derive(Debug)]
pub(crate) struct Client {
    socket: TcpStream,
    received: Vec<u8>,
}

impl Client {
    pub(crate) async fn open(address: SocketAddr) -> Self {
        Self { socket: TcpStream::connect(address).await.expect("the server listens"), received: Vec::new() }
    }

    /// Connected and published, with the server's consent.
    pub(crate) async fn publishing(address: SocketAddr, key: &str) -> Self {
        let mut client = Self::open(address).await;
        client.send(&mut Script::publisher("live", key)).await;
        client.wait_for("NetStream.Publish.Start").await;
        client
    }

    /// Sends what the script holds and empties it.
    pub(crate) async fn send(&mut self, script: &mut Script) {
        self.socket.write_all(&script.take()).await.expect("the server reads");
    }

    /// Reads until the server has said `text`.
    pub(crate) async fn wait_for(&mut self, text: &str) {
        while !self.has_heard(text) {
            assert!(self.read().await > 0, "the server closed without {text:?}: it said {:?}", self.heard());
        }
    }

    /// Reads to the end, and gives what the server said behind the handshake.
    pub(crate) async fn read_to_end(&mut self) -> String {
        while self.read().await > 0 {}
        self.heard()
    }

    fn has_heard(&self, text: &str) -> bool {
        self.received.windows(text.len()).any(|window| window == text.as_bytes())
    }

    fn heard(&self) -> String {
        String::from_utf8_lossy(self.received.get(3073..).unwrap_or_default()).into_owned()
    }

    async fn read(&mut self) -> usize {
        let read = self.socket.read_buf(&mut self.received);
        tokio::time::timeout(PATIENCE, read).await.expect("the server says or closes something").unwrap_or(0)
    }
}
