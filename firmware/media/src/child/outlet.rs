//! The child's standard output: whole frames, from any of GStreamer's threads.

use std::io::{Stdout, Write};
use std::sync::{Arc, Mutex};

use anyhow::{Context, Result, anyhow};
use bytes::BytesMut;
use media::message::{Output, put_header};

#[derive(Clone)]
pub(crate) struct Outlet(Arc<Mutex<Stdout>>);

impl Outlet {
    pub(crate) fn stdout() -> Self {
        Self(Arc::new(Mutex::new(std::io::stdout())))
    }

    /// Blocks while the parent does not read: the parent takes a child that is stuck for a hung one.
    pub(crate) fn send(&self, output: &Output, payload: &[u8]) -> Result<()> {
        let mut frame = BytesMut::new();
        put_header(&mut frame, output, payload.len())?;
        let mut stdout = self.0.lock().map_err(|_| anyhow!("another thread died while it wrote"))?;
        stdout.write_all(&frame).and_then(|()| stdout.write_all(payload)).context("writing to the parent")?;
        stdout.flush().context("writing to the parent")
    }
}
