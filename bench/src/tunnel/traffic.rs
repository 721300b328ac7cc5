//! What goes through a tunnel: one TCP stream as fast as it goes, or datagrams at a rate. Threads of the bench, which
//! count nowhere.

use std::fs::File;
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::AsFd as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::sync_channel;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow};
use rustix::thread::{CpuSet, LinkNameSpaceType, move_into_link_name_space, sched_setaffinity};

use super::{Cores, Lab, Side};

const TCP_PORT: u16 = 7_001;
const UDP_PORT: u16 = 7_002;

/// Bytes in a datagram: what fits any path, and what video over UDP is usually cut to.
const DATAGRAM_BYTES: usize = 1_200;

/// How long datagrams wait for the sender's next turn: a live stream's packets come in small bursts too.
const TURN: Duration = Duration::from_millis(1);

/// What the kernel may hold for the receiver, bytes, so that it is no bottleneck.
const RECEIVE_BUFFER_BYTES: usize = 8 << 20;

const PIECE_BYTES: usize = 256 << 10;

/// How often the receiver of datagrams looks whether it is wanted.
const GLANCE: Duration = Duration::from_millis(100);

/// Datagrams at a rate, payload bits.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Udp {
    pub(crate) mbit_per_s: u32,
}

/// Traffic from A to B that goes on until it is stopped.
#[derive(Debug)]
pub(crate) struct Flow {
    counts: Arc<Counts>,
    threads: [JoinHandle<std::io::Result<()>>; 2],
}

#[derive(Debug, Default)]
struct Counts {
    stop: AtomicBool,
    sent_bytes: AtomicU64,
    received_bytes: AtomicU64,
}

impl Counts {
    fn goes_on(&self) -> bool {
        !self.stop.load(Ordering::Relaxed)
    }
}

impl Flow {
    /// One TCP stream.
    pub(crate) fn tcp(lab: &Lab, cores: Cores) -> Result<Flow> {
        let address = SocketAddr::from((Side::B.inside(), TCP_PORT));
        Flow::start(
            lab,
            cores,
            move || TcpListener::bind(address),
            |listener, counts| {
                let (mut stream, _) = listener.accept()?;
                let mut buffer = vec![0; 4 * PIECE_BYTES];
                loop {
                    match stream.read(&mut buffer)? {
                        0 => return Ok(()),
                        len => counts.received_bytes.fetch_add(len as u64, Ordering::Relaxed),
                    };
                }
            },
            move |counts| {
                let mut stream = TcpStream::connect(address)?;
                let piece = vec![0; PIECE_BYTES];
                while counts.goes_on() {
                    stream.write_all(&piece)?;
                    counts.sent_bytes.fetch_add(PIECE_BYTES as u64, Ordering::Relaxed);
                }
                Ok(())
            },
        )
    }

    pub(crate) fn udp(lab: &Lab, cores: Cores, udp: Udp) -> Result<Flow> {
        let address = SocketAddr::from((Side::B.inside(), UDP_PORT));
        let bytes_per_s = f64::from(udp.mbit_per_s) * 1e6 / 8.0;
        Flow::start(
            lab,
            cores,
            move || {
                let socket = UdpSocket::bind(address)?;
                rustix::net::sockopt::set_socket_recv_buffer_size_force(&socket, RECEIVE_BUFFER_BYTES)?;
                socket.set_read_timeout(Some(GLANCE))?;
                Ok(socket)
            },
            |socket, counts| {
                let mut datagram = [0; 2 * DATAGRAM_BYTES];
                while counts.goes_on() {
                    match socket.recv(&mut datagram) {
                        Ok(len) => {
                            counts.received_bytes.fetch_add(len as u64, Ordering::Relaxed);
                        }
                        Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                        }
                        Err(error) => return Err(error),
                    }
                }
                Ok(())
            },
            move |counts| {
                let socket = UdpSocket::bind("0.0.0.0:0")?;
                socket.connect(address)?;
                let (begun, datagram, mut sent) = (Instant::now(), [0; DATAGRAM_BYTES], 0);
                while counts.goes_on() {
                    while (sent as f64) < begun.elapsed().as_secs_f64() * bytes_per_s {
                        socket.send(&datagram)?;
                        sent += DATAGRAM_BYTES as u64;
                    }
                    counts.sent_bytes.store(sent, Ordering::Relaxed);
                    std::thread::sleep(TURN);
                }
                Ok(())
            },
        )
    }

    fn start<S: Send + 'static>(
        lab: &Lab,
        cores: Cores,
        open: impl FnOnce() -> std::io::Result<S> + Send + 'static,
        receive: impl FnOnce(S, &Counts) -> std::io::Result<()> + Send + 'static,
        send: impl FnOnce(&Counts) -> std::io::Result<()> + Send + 'static,
    ) -> Result<Flow> {
        let counts = Arc::new(Counts::default());
        let (ready, is_ready) = sync_channel(1);
        let shared = Arc::clone(&counts);
        let core = (cores == Cores::Apart).then_some(0);
        let receiver = inside(lab, Side::B, core, move || {
            let socket = open();
            // Whoever started this waits for it.
            let _ = ready.send(());
            receive(socket?, &shared)
        })?;
        is_ready.recv().context("the receiver's thread died")?;
        let shared = Arc::clone(&counts);
        let sender = inside(lab, Side::A, core, move || send(&shared))?;
        Ok(Flow { counts, threads: [sender, receiver] })
    }

    /// Payload bytes sent and received so far.
    pub(crate) fn bytes(&self) -> (u64, u64) {
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        (read(&self.counts.sent_bytes), read(&self.counts.received_bytes))
    }

    pub(crate) fn stop(self) -> Result<()> {
        self.counts.stop.store(true, Ordering::Relaxed);
        for thread in self.threads {
            thread
                .join()
                .map_err(|_| anyhow!("a thread of the traffic died"))?
                .context("the traffic broke off")?;
        }
        Ok(())
    }
}

/// Runs something in a namespace, on a thread of its own, and on one core if it is given.
pub(crate) fn inside<T: Send + 'static>(
    lab: &Lab,
    side: Side,
    core: Option<usize>,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<JoinHandle<T>> {
    let namespace = File::open(format!("/run/netns/{}", lab.namespace(side))).context("no namespace")?;
    Ok(std::thread::spawn(move || {
        let kind = Some(LinkNameSpaceType::Network);
        move_into_link_name_space(namespace.as_fd(), kind).expect("root may enter what it made");
        if let Some(core) = core {
            let mut set = CpuSet::new();
            set.set(core);
            sched_setaffinity(None, &set).expect("the core is there");
        }
        work()
    }))
}
