//! Lines of the relay by hand, as a box would have them.

use std::time::Duration;

use rustls::pki_types::ServerName;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, ReadHalf, WriteHalf};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use trust::Ula;
use wire::relay::{Decoder, Frame, PROTOCOL, Parcel};
use wire::{Method, path};

use crate::client;
use crate::hand::Hand;
use crate::house::House;

/// What has to come, comes within this time.
const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) struct Line {
    pub(crate) ear: Ear,
    pub(crate) mouth: Mouth,
}

pub(crate) struct Ear {
    from: ReadHalf<TlsStream<TcpStream>>,
    decoder: Decoder,
    bytes: Vec<u8>,
    taken: usize,
}

pub(crate) struct Mouth(WriteHalf<TlsStream<TcpStream>>);

/// Fields of a request's head that ask for frames.
pub(crate) fn upgrade() -> String {
    format!("Connection: Upgrade\r\nUpgrade: {PROTOCOL}\r\n")
}

/// The code of the problem, where the coordinator has one.
pub(crate) async fn refused(house: &House, fields: &str) -> String {
    match open(house, fields).await {
        Ok(_) => "not refused".to_owned(),
        Err(code) => code,
    }
}

impl Line {
    pub(crate) async fn open(house: &House, hand: &Hand) -> Self {
        let signature = hand.signature(Method::Get, path::RELAY, b"");
        open(house, &format!("{}{signature}", upgrade())).await.unwrap()
    }
}

async fn open(house: &House, fields: &str) -> Result<Line, String> {
    let socket = TcpStream::connect(house.address()).await.unwrap();
    socket.set_nodelay(true).unwrap();
    let connector = TlsConnector::from(client::config());
    let mut stream = connector.connect(ServerName::try_from("localhost").unwrap(), socket).await.unwrap();
    let head = format!("GET {} HTTP/1.1\r\nHost: localhost\r\n{fields}\r\n", path::RELAY);
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    while !answer.ends_with(b"\r\n\r\n") {
        answer.push(timeout(PATIENCE, stream.read_u8()).await.unwrap().unwrap());
    }
    let answer = String::from_utf8(answer).unwrap().to_ascii_lowercase();
    if answer.starts_with("http/1.1 101 ") {
        assert!(answer.contains("connection: upgrade\r\n"), "{answer}");
        assert!(answer.contains("upgrade: relaybox-relay/1\r\n"), "{answer}");
        let (from, to) = tokio::io::split(stream);
        let ear = Ear { from, decoder: Decoder::new(), bytes: Vec::new(), taken: 0 };
        return Ok(Line { ear, mouth: Mouth(to) });
    }
    let length = answer.split("content-length: ").nth(1).unwrap().split("\r\n").next().unwrap();
    let mut body = vec![0; length.parse().unwrap()];
    timeout(PATIENCE, stream.read_exact(&mut body)).await.unwrap().unwrap();
    let problem: serde_json::Value = serde_json::from_slice(&body).unwrap();
    Err(problem["code"].as_str().unwrap().to_owned())
}

impl Ear {
    /// The next datagram and whose it is; None at the end of the line.
    pub(crate) async fn next(&mut self) -> Option<(Ula, Vec<u8>)> {
        timeout(PATIENCE, self.hear()).await.expect("a datagram, or the line's end")
    }

    async fn hear(&mut self) -> Option<(Ula, Vec<u8>)> {
        loop {
            let mut rest = &self.bytes[self.taken..];
            let before = rest.len();
            let heard = match self.decoder.read(&mut rest).unwrap() {
                Some(Frame::Parcel(parcel)) => Some(Some((parcel.other, parcel.datagram.to_vec()))),
                Some(Frame::Ping) => Some(None),
                None => None,
            };
            self.taken += before - rest.len();
            match heard {
                Some(Some(heard)) => return Some(heard),
                Some(None) => continue,
                None => {}
            }
            self.bytes.resize(16 << 10, 0);
            let length = self.from.read(&mut self.bytes).await.unwrap_or(0);
            self.bytes.truncate(length);
            self.taken = 0;
            if length == 0 {
                return None;
            }
        }
    }
}

impl Mouth {
    pub(crate) async fn say(&mut self, to: Ula, datagram: &[u8]) {
        let mut bytes = Vec::new();
        Frame::Parcel(Parcel { other: to, datagram }).write(&mut bytes).unwrap();
        self.say_bytes(&bytes).await;
    }

    pub(crate) async fn say_bytes(&mut self, bytes: &[u8]) {
        self.0.write_all(bytes).await.unwrap();
        self.0.flush().await.unwrap();
    }
}
