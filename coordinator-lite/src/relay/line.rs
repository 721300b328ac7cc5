//! One box's connection: frames in, frames out, and pings while there is nothing to say. Ends when the box is silent,
//! takes nothing, or says what is no frame.

use std::io;
use std::time::{Duration, Instant};

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::time::timeout;
use wire::relay::{Decoder, Frame, FrameError, PING_EVERY_S, SILENCE_MAX_S};

use super::Line;

const READ_BYTES: usize = 16 << 10;

/// How long either side may say nothing.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pace {
    pub(crate) ping_every: Duration,
    /// Also how long the box may take nothing.
    pub(crate) silence_max: Duration,
}

impl Pace {
    pub(crate) const USUAL: Self = Self {
        ping_every: Duration::from_secs(PING_EVERY_S as u64),
        silence_max: Duration::from_secs(SILENCE_MAX_S as u64),
    };
}

/// Why a line ended.
#[derive(Debug, thiserror::Error)]
pub(crate) enum End {
    #[error("the box closed it")]
    Closed,
    #[error("the box was silent, or took nothing")]
    Silent,
    #[error("another connection of the box took its place")]
    Replaced,
    #[error("it broke off")]
    Broken(#[source] io::Error),
    #[error("the box said what is no frame")]
    Frame(#[source] FrameError),
}

impl Line {
    /// Until it ends, which it does in no other way than with a reason.
    pub(crate) async fn carry(&self, stream: impl AsyncRead + AsyncWrite, pace: Pace) -> End {
        let (read, write) = tokio::io::split(stream);
        tokio::select! {
            end = self.receive(read, pace) => end,
            end = self.send(write, pace) => end,
        }
    }

    async fn receive(&self, mut from: impl AsyncRead + Unpin, pace: Pace) -> End {
        let mut decoder = Decoder::new();
        let mut buffer = vec![0; READ_BYTES];
        loop {
            let mut bytes = match timeout(pace.silence_max, from.read(&mut buffer)).await {
                Ok(Ok(0)) => return End::Closed,
                Ok(Ok(length)) => &buffer[..length],
                Ok(Err(error)) => return End::Broken(error),
                Err(_) => return End::Silent,
            };
            let now = Instant::now();
            loop {
                match decoder.read(&mut bytes) {
                    Ok(Some(Frame::Parcel(parcel))) => self.forward(parcel, now),
                    Ok(Some(Frame::Ping)) => {}
                    Ok(None) => break,
                    Err(error) => return End::Frame(error),
                }
            }
        }
    }

    async fn send(&self, mut to: impl AsyncWrite + Unpin, pace: Pace) -> End {
        let mut frames = Vec::new();
        loop {
            if !self.take(&mut frames) {
                return End::Replaced;
            }
            if frames.is_empty() {
                if timeout(pace.ping_every, self.filled.notified()).await.is_ok() {
                    continue;
                }
                let written = Frame::Ping.write(&mut frames);
                debug_assert!(written.is_ok(), "a ping is always a frame");
            }
            let written = async {
                to.write_all(&frames).await?;
                to.flush().await
            };
            match timeout(pace.silence_max, written).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => return End::Broken(error),
                Err(_) => return End::Silent,
            }
        }
    }
}
