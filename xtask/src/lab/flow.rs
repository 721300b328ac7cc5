//! Traffic that goes on for a while: a steady exchange that shows gaps, a stream at a given rate, as much as fits.
//!
//! Every byte is checked. Nothing here decides whether what it saw was good enough.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{Shutdown, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};

use super::traffic::{self, SINK};
use crate::stop::Stop;

/// What a steady exchange sends before it waits for the echo, and how long it pauses then: 6.4 Mbit/s at most.
const STEP: usize = 8 * 1024;
const STEP_PAUSE: Duration = Duration::from_millis(10);
/// How long a reader may not see that it should stop.
const GLANCE: Duration = Duration::from_millis(50);
/// Between writes of a paced stream.
const SLICE: Duration = Duration::from_millis(20);
/// How long the last bytes may be under way.
const DRAIN_LIMIT: Duration = Duration::from_secs(5);

/// A connection on which bytes go there and back, all the time.
#[derive(Debug)]
pub(crate) struct Steady {
    bytes: Arc<AtomicUsize>,
    stop: Stop,
    thread: Option<JoinHandle<Result<()>>>,
}

impl Steady {
    pub(crate) fn start(stream: TcpStream) -> Steady {
        let (bytes, stop) = (Arc::new(AtomicUsize::new(0)), Stop::default());
        let (count, wanted) = (bytes.clone(), stop.clone());
        let thread = std::thread::spawn(move || exchange_steadily(stream, &count, &wanted));
        Steady { bytes, stop, thread: Some(thread) }
    }

    /// How many went there and back.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes.load(Ordering::Relaxed)
    }

    /// How long it takes from now until bytes come back again.
    pub(crate) fn next_byte(&self, limit: Duration, stop: &Stop) -> Option<Duration> {
        let (began, mark) = (Instant::now(), self.bytes());
        stop.wait_until(limit, || self.bytes() > mark).then(|| began.elapsed())
    }

    /// Ends it, and says whether the connection lived until then.
    pub(crate) fn finish(mut self) -> Result<usize> {
        self.stop.set();
        if let Some(thread) = self.thread.take() {
            thread.join().expect("the exchange does not panic")?;
        }
        Ok(self.bytes())
    }
}

impl Drop for Steady {
    fn drop(&mut self) {
        self.stop.set();
        if let Some(thread) = self.thread.take() {
            thread.join().ok();
        }
    }
}

fn exchange_steadily(mut stream: TcpStream, count: &AtomicUsize, stop: &Stop) -> Result<()> {
    stream.set_read_timeout(Some(GLANCE)).context("a limit of time")?;
    while !stop.wanted() {
        let done = count.load(Ordering::Relaxed);
        let step = traffic::pattern(done, STEP);
        stream.write_all(&step).context("sending steadily")?;
        let mut answer = Vec::with_capacity(STEP);
        while answer.len() < STEP && !stop.wanted() {
            let mut piece = [0; STEP];
            let room = STEP - answer.len();
            match stream.read(&mut piece[..room]) {
                Ok(0) => anyhow::bail!("the connection ended after {done} bytes"),
                Ok(len) => answer.extend(&piece[..len]),
                Err(error) if traffic::is_pause(&error) => {}
                Err(error) => return Err(error).with_context(|| format!("after {done} bytes")),
            }
            ensure!(step.starts_with(&answer), "another echo than what was sent, after {done} bytes");
            count.store(done + answer.len(), Ordering::Relaxed);
        }
        stop.wait(STEP_PAUSE);
    }
    Ok(())
}

/// What came of a stream at a given rate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Delivery {
    /// What should have gone in that time.
    pub(crate) due: usize,
    /// What was there right after it.
    pub(crate) delivered: usize,
    /// From the last byte sent until all were known to be there.
    pub(crate) late: Duration,
}

/// Sends so many bytes a second for that long. A connection that can't keep up falls behind and never catches up by
/// sending faster later than it may.
pub(crate) fn paced(mut stream: TcpStream, bytes_per_s: usize, time: Duration) -> Result<Delivery> {
    stream.write_all(SINK).context("asking for a sink")?;
    // So that it goes alone.
    std::thread::sleep(SLICE);
    stream.set_write_timeout(Some(DRAIN_LIMIT)).context("a limit of time")?;
    let due = |elapsed: Duration| (elapsed.as_secs_f64() * bytes_per_s as f64) as usize;
    let (began, mut sent) = (Instant::now(), 0);
    while began.elapsed() < time {
        let slice = due(began.elapsed().min(time)).saturating_sub(sent).min(due(2 * SLICE));
        stream.write_all(&traffic::pattern(sent, slice)).with_context(|| format!("after {sent} bytes"))?;
        sent += slice;
        std::thread::sleep(SLICE);
    }
    let ended = Instant::now();
    stream.shutdown(Shutdown::Write).context("ending a stream")?;
    stream.set_read_timeout(Some(DRAIN_LIMIT)).context("a limit of time")?;
    let mut counted = [0; 8];
    stream.read_exact(&mut counted).with_context(|| format!("{sent} bytes were sent, and no count came"))?;
    let delivered = usize::try_from(u64::from_be_bytes(counted)).context("an odd count")?;
    Ok(Delivery { due: due(time), delivered, late: ended.elapsed() })
}

/// Sends as much as fits and reads it back; gives how much came back in that time.
pub(crate) fn pour(stream: &TcpStream, time: Duration) -> Result<usize> {
    let end = Instant::now() + time;
    stream.set_read_timeout(Some(GLANCE)).context("a limit of time")?;
    stream.set_write_timeout(Some(GLANCE)).context("a limit of time")?;
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| write_until(stream, end));
        let read = read_until(stream, end);
        let written = writer.join().expect("the writer does not panic");
        read.and_then(|bytes| written.map(|()| bytes))
    })
}

fn write_until(mut stream: &TcpStream, end: Instant) -> Result<()> {
    const PERIOD: usize = 2048;
    let block = traffic::pattern(0, 64 * PERIOD);
    let mut sent = 0;
    while Instant::now() < end {
        // The pattern repeats itself, so that none has to be made while time counts.
        let from = sent % PERIOD;
        match stream.write(&block[from..]) {
            Ok(len) => sent += len,
            Err(error) if traffic::is_pause(&error) => {}
            Err(error) => return Err(error).with_context(|| format!("pouring, after {sent} bytes")),
        }
    }
    Ok(())
}

fn read_until(mut stream: &TcpStream, end: Instant) -> Result<usize> {
    const PERIOD: usize = 2048;
    let expected = traffic::pattern(0, 64 * PERIOD);
    let mut buffer = vec![0; 32 * PERIOD];
    let mut heard = 0;
    while Instant::now() < end {
        match stream.read(&mut buffer) {
            Ok(0) => anyhow::bail!("the connection ended after {heard} bytes"),
            Ok(len) => {
                let from = heard % PERIOD;
                ensure!(buffer[..len] == expected[from..from + len], "wrong bytes after {heard}");
                heard += len;
            }
            Err(error) if traffic::is_pause(&error) => {}
            Err(error) if error.kind() == ErrorKind::ConnectionReset => {
                anyhow::bail!("reset after {heard} bytes")
            }
            Err(error) => return Err(error).with_context(|| format!("after {heard} bytes")),
        }
    }
    Ok(heard)
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use super::*;
    use crate::lab::netns::Namespace;
    use crate::lab::privilege;
    use crate::lab::traffic::Echo;

    /// An echo on the loopback of a namespace of its own, and a connection to it.
    fn echo(number: u32) -> Option<(Namespace, Echo, TcpStream)> {
        if !privilege::can_make_worlds() {
            return None;
        }
        let namespace = Namespace::new(number, "flow").unwrap();
        namespace.ip("link set dev lo up\n").unwrap();
        let echo = Echo::start(&namespace, 7).unwrap();
        let to: SocketAddr = "127.0.0.1:7".parse().unwrap();
        let stream = traffic::first_byte(&namespace, to, Duration::from_secs(5), &Stop::default()).unwrap();
        Some((namespace, echo, stream))
    }

    #[test]
    fn a_stream_at_a_rate_is_counted_at_its_end() {
        let Some((_namespace, _echo, stream)) = echo(9001) else { return };
        let delivery = paced(stream, 100_000, Duration::from_millis(500)).unwrap();
        assert_eq!(delivery.due, 50_000);
        assert!((45_000..=50_000).contains(&delivery.delivered), "{delivery:?}");
    }

    #[test]
    fn a_steady_exchange_tells_when_bytes_flow() {
        let Some((_namespace, _echo, stream)) = echo(9002) else { return };
        let steady = Steady::start(stream);
        assert!(steady.next_byte(Duration::from_secs(10), &Stop::default()).is_some());
        assert!(steady.finish().unwrap() > 0);
    }

    #[test]
    fn what_is_poured_comes_back() {
        let Some((_namespace, _echo, stream)) = echo(9003) else { return };
        assert!(pour(&stream, Duration::from_millis(200)).unwrap() > 0);
    }
}
