//! The child's standard output: whole frames, from any of GStreamer's threads.

use std::fs::File;
use std::io::{IoSlice, Write};
use std::os::fd::AsFd;
use std::sync::{Arc, Mutex};

use anyhow::{Context, Result, anyhow};
use bytes::BytesMut;
use media::message::{Output, put_header};

#[derive(Clone)]
pub(crate) struct Outlet(Arc<Mutex<File>>);

impl Outlet {
    /// Without the standard library's line buffer, which would cut a frame at the last newline in it.
    pub(crate) fn stdout() -> Result<Self> {
        let stdout = std::io::stdout().as_fd().try_clone_to_owned().context("standard output")?;
        Ok(Self(Arc::new(Mutex::new(File::from(stdout)))))
    }

    /// Blocks while the parent does not read: the parent takes a child that is stuck for a hung one.
    pub(crate) fn send(&self, output: &Output, payload: &[u8]) -> Result<()> {
        let mut frame = BytesMut::new();
        put_header(&mut frame, output, payload.len())?;
        let mut stdout = self.0.lock().map_err(|_| anyhow!("another thread died while it wrote"))?;
        // One call for a frame that fits the pipe: the parent wakes up once.
        let written = stdout.write_vectored(&[IoSlice::new(&frame), IoSlice::new(payload)]);
        let written = written.context("writing to the parent")?;
        let rest = frame.get(written..).unwrap_or_default();
        stdout.write_all(rest).context("writing to the parent")?;
        let rest = payload.get(written.saturating_sub(frame.len())..).unwrap_or_default();
        stdout.write_all(rest).context("writing to the parent")
    }
}
