//! Where other boxes come in: listens wherever this box is, follows it when it moves, and knows each visitor before it
//! lets it in. Refuses strangers, and a box that has too many connections already.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::sleep;
use trust::{BoxKey, Name};

use super::stream::{PER_BOX_MAX, Seats, Stream, settle};
use super::{Neighbour, Neighbourhood};

/// Visitors that were let in and that nobody has greeted yet; more wait with the kernel.
const WAITING_MAX: usize = 16;
/// Connections that the kernel takes before they are looked at.
const BACKLOG: u32 = 64;
/// After an address that can't be used yet.
const AGAIN_AFTER: Duration = Duration::from_secs(2);
/// After a visitor that could not be taken, since there are no more files perhaps.
const BREATH: Duration = Duration::from_millis(100);

/// A box that came in.
#[derive(Debug)]
pub(crate) struct Accepted {
    pub(crate) key: BoxKey,
    pub(crate) name: Name,
    pub(crate) stream: Stream,
}

/// Lets boxes in until it is dropped. Those that are in stay.
#[derive(Debug)]
pub(crate) struct Door {
    visitors: mpsc::Receiver<Accepted>,
    _keeper: JoinSet<()>,
}

impl Door {
    pub(super) fn open(neighbourhood: watch::Receiver<Neighbourhood>) -> Self {
        let (waiting, visitors) = mpsc::channel(WAITING_MAX);
        let keeper = Keeper { neighbourhood, waiting, seats: Seats::default() };
        let mut tasks = JoinSet::new();
        tasks.spawn(keeper.keep());
        Self { visitors, _keeper: tasks }
    }

    /// The next box that comes in; none when the network is gone for good. May be given up and called again.
    pub(crate) async fn accept(&mut self) -> Option<Accepted> {
        self.visitors.recv().await
    }
}

#[derive(Clone)]
struct Keeper {
    neighbourhood: watch::Receiver<Neighbourhood>,
    waiting: mpsc::Sender<Accepted>,
    seats: Seats,
}

impl Keeper {
    /// Listens where the box is, until there is nobody left to say where that is.
    async fn keep(mut self) {
        loop {
            let own = self.neighbourhood.borrow_and_update().own.clone();
            let mut doors = JoinSet::new();
            for at in &own {
                doors.spawn(self.clone().attend(*at));
            }
            if self.neighbourhood.wait_for(|now| now.own != own).await.is_err() {
                return;
            }
        }
    }

    async fn attend(self, at: SocketAddr) {
        let listener = self.listen(at).await;
        tracing::info!(port = at.port(), "open to other boxes");
        loop {
            match listener.accept().await {
                Ok((tcp, from)) => self.receive(tcp, from.ip()).await,
                Err(error) => {
                    tracing::debug!(%error, "a visitor could not be taken");
                    sleep(BREATH).await;
                }
            }
        }
    }

    /// An address may be this box's a moment before the kernel knows it.
    async fn listen(&self, at: SocketAddr) -> TcpListener {
        let mut said = false;
        loop {
            match listen(at) {
                Ok(listener) => return listener,
                Err(error) if said => tracing::debug!(%error, "not open to other boxes"),
                Err(error) => {
                    said = true;
                    tracing::warn!(%error, port = at.port(), "not open to other boxes, tried again");
                }
            }
            sleep(AGAIN_AFTER).await;
        }
    }

    /// Hands on whoever is known; the others are closed without a word.
    async fn receive(&self, tcp: TcpStream, from: IpAddr) {
        let Some((key, neighbour)) = self.who(from) else {
            tracing::debug!("a stranger was refused");
            return;
        };
        let Some(seat) = self.seats.take(key) else {
            tracing::debug!(box.id = %neighbour.name, most = PER_BOX_MAX, "has too many connections");
            return;
        };
        if let Err(error) = settle(&tcp) {
            tracing::debug!(%error, box.id = %neighbour.name, "gone before it was in");
            return;
        }
        let stream = Stream::plain(tcp, key, from, self.neighbourhood.clone(), Some(seat));
        // Nobody greets any more: the door is being closed.
        let _ = self.waiting.send(Accepted { key, name: neighbour.name, stream }).await;
    }

    fn who(&self, from: IpAddr) -> Option<(BoxKey, Neighbour)> {
        let neighbourhood = self.neighbourhood.borrow();
        let is_it = |there: &Neighbour| there.places.iter().any(|place| place.ip() == from);
        let (key, neighbour) = neighbourhood.boxes.iter().find(|(_, there)| is_it(there))?;
        Some((*key, neighbour.clone()))
    }
}

fn listen(at: SocketAddr) -> io::Result<TcpListener> {
    let socket = if at.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    // What a daemon that ended left in TIME-WAIT holds nothing up (RFC 9293, 3.6.1).
    socket.set_reuseaddr(true)?;
    socket.bind(at)?;
    socket.listen(BACKLOG)
}
