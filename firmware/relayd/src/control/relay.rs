//! The line to the coordinator's relay (`wire::relay`), for peers that no UDP reaches: kept open over pinned TLS for as
//! long as the box runs, and bridged to the data plane's thread.
//!
//! ```text
//! data plane <── pair of sockets: 16 bytes of mesh address, datagram ──> Relay <── TLS: frames ──> coordinator
//! ```
//! Refuses to hold anybody up: while there is no line, and wherever either side is full, datagrams are dropped.

use std::io;
use std::os::unix::net::UnixDatagram as StdDatagram;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, Result};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::UnixDatagram;
use tokio::sync::{Notify, watch};
use tokio::time::timeout;
use wire::path;
use wire::relay::{
    Decoder, Frame, FrameError, Outbox, PARCEL_BYTES_MAX, PING_EVERY_S, PROTOCOL, Parcel, SILENCE_MAX_S,
};

use super::ask::Desk;
use super::keys::random;
use super::plan::Backoff;

/// What waits for the coordinator: a quarter of a second at 4 Mbit/s of uplink.
const OUTBOX_BYTES_MAX: usize = 128 << 10;
const READ_BYTES: usize = 16 << 10;
const PING_EVERY: Duration = Duration::from_secs(PING_EVERY_S as u64);
/// Also how long the coordinator may take nothing.
const SILENCE_MAX: Duration = Duration::from_secs(SILENCE_MAX_S as u64);

/// Why a line ended.
#[derive(Debug, thiserror::Error)]
enum End {
    #[error("the coordinator closed it")]
    Closed,
    #[error("the coordinator was silent, or took nothing")]
    Silent,
    #[error("it broke off")]
    Broken(#[source] io::Error),
    #[error("the coordinator said what is no frame")]
    Frame(#[source] FrameError),
    #[error("the data plane is gone")]
    Gone(#[source] io::Error),
}

/// The task that keeps the line.
pub(crate) struct Relay {
    desk: Desk,
    inside: Inside,
    connected: watch::Sender<bool>,
}

/// Our half of the pair: parcels (`wire::relay::Parcel`), one per datagram.
struct Inside {
    from: UnixDatagram,
    /// The same socket, to write without asking first whether it can be written.
    to: StdDatagram,
}

/// What waits to be written to the coordinator.
struct Waiting {
    outbox: Mutex<Outbox>,
    filled: Notify,
}

impl Relay {
    /// `ours` is one half of a pair of datagram sockets, whose other half the data plane has. Says whether there is a
    /// line at the moment. Has to be called on the runtime.
    ///
    /// # Errors
    /// When the socket can't be used.
    pub(crate) fn new(desk: Desk, ours: StdDatagram) -> Result<(Self, watch::Receiver<bool>)> {
        ours.set_nonblocking(true).context("the relay's socket")?;
        let to = ours.try_clone().context("the relay's socket")?;
        let from = UnixDatagram::from_std(ours).context("the relay's socket")?;
        let (connected, is_connected) = watch::channel(false);
        Ok((Self { desk, inside: Inside { from, to }, connected }, is_connected))
    }

    /// Keeps a line open, and comes back later and later. Ends only when the data plane is gone.
    pub(crate) async fn run(mut self) {
        let mut backoff = Backoff::default();
        loop {
            let opened = tokio::select! {
                opened = self.desk.upgrade(path::RELAY, PROTOCOL) => opened,
                error = self.inside.discard() => return gone(&End::Gone(error)),
            };
            match opened {
                Ok(stream) => {
                    self.connected.send_replace(true);
                    tracing::info!("relayed by the coordinator where nothing else reaches");
                    let (end, heard) = self.inside.bridge(TokioIo::new(stream)).await;
                    self.connected.send_replace(false);
                    if matches!(end, End::Gone(_)) {
                        return gone(&end);
                    }
                    if heard {
                        backoff.handle_success();
                    }
                    tracing::info!(error = format!("{:#}", anyhow::Error::from(end)), "no longer relayed");
                }
                Err(error) => {
                    let code = error.code();
                    let error = format!("{:#}", anyhow::Error::from(error));
                    tracing::debug!(%code, error, "the coordinator does not relay");
                }
            }
            let wait = backoff.handle_failure(random().map_or(500, u32::from_le_bytes));
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                error = self.inside.discard() => return gone(&End::Gone(error)),
            }
        }
    }
}

fn gone(end: &End) {
    tracing::debug!(%end, "nothing is relayed any more");
}

impl Inside {
    /// What the data plane sends while there is no line goes nowhere: later it would be too late. Ends with an error.
    async fn discard(&self) -> io::Error {
        let mut parcel = [0; 1];
        loop {
            if let Err(error) = self.from.recv(&mut parcel).await {
                return error;
            }
        }
    }

    /// Both ways until one ends. Also says whether anything was heard.
    async fn bridge(&self, stream: impl AsyncRead + AsyncWrite) -> (End, bool) {
        let (read, write) = tokio::io::split(stream);
        let waiting = Waiting { outbox: Mutex::new(Outbox::new(OUTBOX_BYTES_MAX)), filled: Notify::new() };
        let mut heard = false;
        let end = tokio::select! {
            end = self.gather(&waiting) => end,
            end = waiting.send(write) => end,
            end = self.receive(read, &mut heard) => end,
        };
        (end, heard)
    }

    async fn gather(&self, waiting: &Waiting) -> End {
        // One byte more, so that what is too long is no parcel.
        let mut bytes = [0; PARCEL_BYTES_MAX + 1];
        loop {
            let length = match self.from.recv(&mut bytes).await {
                Ok(length) => length,
                Err(error) => return End::Gone(error),
            };
            match Parcel::parse(&bytes[..length]) {
                Ok(parcel) => waiting.push(parcel),
                Err(error) => tracing::debug!(%error, "the data plane sent what can't be relayed"),
            }
        }
    }

    async fn receive(&self, mut from: impl AsyncRead + Unpin, heard: &mut bool) -> End {
        let mut decoder = Decoder::new();
        let (mut buffer, mut bytes) = (vec![0; READ_BYTES], Vec::new());
        loop {
            let mut rest = match timeout(SILENCE_MAX, from.read(&mut buffer)).await {
                Ok(Ok(0)) => return End::Closed,
                Ok(Ok(length)) => &buffer[..length],
                Ok(Err(error)) => return End::Broken(error),
                Err(_) => return End::Silent,
            };
            *heard = true;
            loop {
                match decoder.read(&mut rest) {
                    Ok(Some(Frame::Parcel(parcel))) => {
                        bytes.clear();
                        parcel.write(&mut bytes);
                        if let Err(error) = self.hand_in(&bytes) {
                            return End::Gone(error);
                        }
                    }
                    Ok(Some(Frame::Ping)) => {}
                    Ok(None) => break,
                    Err(error) => return End::Frame(error),
                }
            }
        }
    }

    /// Dropped when the data plane has not taken what came before.
    fn hand_in(&self, parcel: &[u8]) -> io::Result<()> {
        match self.to.send(parcel) {
            Err(error) if is_full(&error) => {
                tracing::trace!("the data plane is full: a datagram was dropped");
                Ok(())
            }
            sent => sent.map(drop),
        }
    }
}

fn is_full(error: &io::Error) -> bool {
    /// No buffer space (Linux, asm-generic/errno.h).
    const ENOBUFS: i32 = 105;
    error.kind() == io::ErrorKind::WouldBlock || error.raw_os_error() == Some(ENOBUFS)
}

impl Waiting {
    fn push(&self, parcel: Parcel<'_>) {
        if self.outbox.lock().unwrap_or_else(PoisonError::into_inner).push(parcel) {
            self.filled.notify_one();
        } else {
            tracing::trace!("the line is full: a datagram was dropped");
        }
    }

    async fn send(&self, mut to: impl AsyncWrite + Unpin) -> End {
        let mut frames = Vec::new();
        loop {
            self.outbox.lock().unwrap_or_else(PoisonError::into_inner).take(&mut frames);
            if frames.is_empty() {
                if timeout(PING_EVERY, self.filled.notified()).await.is_ok() {
                    continue;
                }
                let written = Frame::Ping.write(&mut frames);
                debug_assert!(written.is_ok(), "a ping is always a frame");
            }
            let written = async {
                to.write_all(&frames).await?;
                to.flush().await
            };
            match timeout(SILENCE_MAX, written).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => return End::Broken(error),
                Err(_) => return End::Silent,
            }
        }
    }
}

#[cfg(test)]
mod tests;
