//! Where other boxes come in: listens wherever this box is, follows it when it moves, and knows each visitor before it
//! lets it in. Refuses strangers, and a box that has too many connections already.

use std::collections::BTreeSet;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use trust::{BoxKey, Name};

use super::certificate::Certificate;
use super::meter::Meters;
use super::stream::{PER_BOX_MAX, Seat, Seats, Stream, settle};
use super::{Neighbour, Neighbourhood, Proof};

/// Visitors that were let in and that nobody has greeted yet; more wait with the kernel.
const WAITING_MAX: usize = 16;
/// Connections that the kernel takes before they are looked at.
const BACKLOG: u32 = 64;
/// Visitors that are still showing their certificates, at one address of this box.
const HANDSHAKES_MAX: usize = 32;
/// How long that may take.
const HANDSHAKE_MAX: Duration = Duration::from_secs(5);
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
    pub(super) fn open(neighbourhood: watch::Receiver<Neighbourhood>, meters: Meters) -> Self {
        let (waiting, visitors) = mpsc::channel(WAITING_MAX);
        let keeper = Keeper { neighbourhood, waiting, meters, seats: Seats::default() };
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
    meters: Meters,
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
        let mut shaking = JoinSet::new();
        loop {
            match listener.accept().await {
                Ok((tcp, from)) => {
                    let proof = self.neighbourhood.borrow().proof.clone();
                    match proof {
                        Proof::Address => self.receive(tcp, from.ip()).await,
                        Proof::Certificate(own) => {
                            while shaking.try_join_next().is_some() {}
                            if shaking.len() >= HANDSHAKES_MAX {
                                shaking.join_next().await;
                            }
                            shaking.spawn(self.clone().shake_hands(tcp, own));
                        }
                    }
                }
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
        if let Err(error) = settle(&tcp) {
            tracing::debug!(%error, box.id = %neighbour.name, "gone before it was in");
            return;
        }
        let there = self.neighbourhood.clone();
        let meter = self.meters.of(&key);
        let stream = |seat| Stream::plain(tcp, key, from, there, meter, Some(seat));
        self.seat(key, neighbour.name, stream).await;
    }

    /// The same for whoever has to show a certificate first.
    async fn shake_hands(self, tcp: TcpStream, own: Arc<Certificate>) {
        let accepted: BTreeSet<_> = self.neighbourhood.borrow().boxes.keys().copied().collect();
        let shaken = async {
            settle(&tcp)?;
            own.accept(tcp, accepted).await
        };
        let (key, tls) = match timeout(HANDSHAKE_MAX, shaken).await {
            Ok(Ok(shaken)) => shaken,
            Ok(Err(error)) => return tracing::debug!(%error, "a stranger was refused"),
            Err(_) => return tracing::debug!("somebody came and said nothing"),
        };
        let name = self.neighbourhood.borrow().boxes.get(&key).map(|neighbour| neighbour.name.clone());
        // It was taken out meanwhile.
        let Some(name) = name else { return };
        let there = self.neighbourhood.clone();
        let meter = self.meters.of(&key);
        self.seat(key, name, |seat| Stream::sealed(tls, key, there, meter, Some(seat))).await;
    }

    /// Hands a box on, if it has not too many connections already.
    async fn seat(&self, key: BoxKey, name: Name, stream: impl FnOnce(Seat) -> Stream) {
        let Some(seat) = self.seats.take(key) else {
            tracing::debug!(box.id = %name, most = PER_BOX_MAX, "has too many connections");
            return;
        };
        // Nobody greets any more: the door is being closed.
        let _ = self.waiting.send(Accepted { key, name, stream: stream(seat) }).await;
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
