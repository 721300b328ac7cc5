//! A board's own clock, which all its programs share and which starts in 1970 whenever the board does.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, SystemTime};

use anyhow::{Context as _, Result};

use crate::command;

const SOURCE: &str = include_str!("board_clock.c");
/// Shortly after the first of January 1970, as a board without a battery starts.
const START: Duration = Duration::from_secs(10);

/// The library with the clock in it, and the file with its offset.
#[derive(Clone, Debug)]
pub(crate) struct BoardClock {
    library: PathBuf,
    offset: PathBuf,
}

impl BoardClock {
    /// Of a board whose files are in `dir`.
    pub(crate) fn of(dir: &Path, board: &str) -> BoardClock {
        BoardClock { library: dir.join("board_clock.so"), offset: dir.join(format!("{board}-clock")) }
    }

    /// Compiles the library; the board is off.
    pub(crate) fn make(&self) -> Result<()> {
        let source = self.library.with_extension("c");
        std::fs::write(&source, SOURCE).context("writing down the clock")?;
        let mut cc = Command::new("cc");
        cc.args(["-shared", "-fPIC", "-O2", "-o"].map(OsStr::new)).arg(&self.library).arg(&source);
        command::output(&mut cc).context("a board's clock takes a C compiler")?;
        std::fs::write(&self.offset, [0; 8]).context("a board's clock")
    }

    /// The board starts, and it is 1970.
    pub(crate) fn power_on(&self) -> Result<()> {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).context("this machine's clock")?;
        let back = i64::try_from((now - START).as_nanos()).context("this machine's clock")?;
        // In place: programs have it in their memory.
        let mut file = File::options().write(true).open(&self.offset).context("a board's clock")?;
        file.seek(SeekFrom::Start(0))
            .and_then(|_| file.write_all(&(-back).to_ne_bytes()))
            .context("its offset")
    }

    /// A program of this board; one that may set the clock.
    pub(crate) fn put_into(&self, program: &mut Command, may_set: bool) {
        program.env("LD_PRELOAD", &self.library).env("RELAYBOX_LAB_CLOCK", &self.offset);
        if may_set {
            program.env("RELAYBOX_LAB_CLOCK_SET", "1");
        }
    }

    /// How far the board's clock is from this machine's.
    pub(crate) fn apart(&self) -> Result<Duration> {
        let mut offset = [0; 8];
        let mut file = File::open(&self.offset).context("a board's clock")?;
        file.read_exact(&mut offset).context("its offset")?;
        Ok(Duration::from_nanos(i64::from_ne_bytes(offset).unsigned_abs()))
    }
}
