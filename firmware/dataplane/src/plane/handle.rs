//! How others talk to the thread: commands in a bounded queue, and answers to wait for without holding a thread up.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{SyncSender, TrySendError};
use std::time::Duration;

use mio::Waker;
use tokio::sync::oneshot;
use tokio::time::timeout;

use super::Traffic;
use crate::exchange::{Drops, PeerConfig, PeerError, PeerStats};
use crate::key::{PrivateKey, PublicKey};

/// How long an answer may take; the thread never waits for anything itself.
const PATIENCE: Duration = Duration::from_secs(5);

/// Where the answer to a change goes.
type Reply = oneshot::Sender<Result<(), PeerError>>;

/// What can be asked of the thread.
#[derive(Debug)]
pub enum Command {
    Add(Box<PeerConfig>, Reply),
    Update(Box<PeerConfig>, Reply),
    Remove(PublicKey, Reply),
    SetKey(PrivateKey, Reply),
    ReplaceKey { old: PublicKey, new: PublicKey, reply: Reply },
    Surroundings(Surroundings, Reply),
    Look(oneshot::Sender<Snapshot>),
}

/// What a box of the mesh hears of the network around it.
#[derive(Clone, Debug)]
pub enum Surroundings {
    /// The host's addresses.
    Locals(Vec<IpAddr>),
    /// What the router mapped to our port.
    Router(Option<SocketAddr>),
    /// The coordinator's STUN servers.
    Servers(Vec<SocketAddr>),
    /// Whether the coordinator's line is there.
    Tls(bool),
}

/// The state of all peers at one moment.
#[derive(Clone, Debug)]
pub struct Snapshot {
    pub peers: Vec<PeerStats>,
    pub drops: Drops,
    pub traffic: Traffic,
}

/// Why a command was not done.
#[derive(Debug, thiserror::Error)]
pub enum HandleError {
    #[error("the data plane has stopped")]
    Stopped,
    #[error("the data plane is busy with other commands")]
    Busy,
    #[error("the data plane refused")]
    Refused(#[from] PeerError),
}

/// The way to the thread; its answers need a runtime with a clock. When the last one is dropped, the thread goes on;
/// [`Handle::stop`] ends it.
#[derive(Clone, Debug)]
pub struct Handle {
    commands: SyncSender<Command>,
    waker: Arc<Waker>,
    /// The thread's, too.
    stop: Arc<AtomicBool>,
    port: u16,
}

impl Handle {
    pub(super) fn new(
        commands: SyncSender<Command>,
        waker: Arc<Waker>,
        stop: Arc<AtomicBool>,
        port: u16,
    ) -> Handle {
        Handle { commands, waker, stop, port }
    }

    /// The UDP port of both sockets.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// # Errors
    /// As all of these: when the thread has stopped, its queue is full, or it refuses.
    pub async fn add_peer(&self, peer: PeerConfig) -> Result<(), HandleError> {
        self.change(|reply| Command::Add(Box::new(peer), reply)).await
    }

    /// Changes prefixes, keepalive and endpoint of a peer.
    ///
    /// # Errors
    /// See [`Handle::add_peer`].
    pub async fn update_peer(&self, peer: PeerConfig) -> Result<(), HandleError> {
        self.change(|reply| Command::Update(Box::new(peer), reply)).await
    }

    /// # Errors
    /// See [`Handle::add_peer`].
    pub async fn remove_peer(&self, key: PublicKey) -> Result<(), HandleError> {
        self.change(|reply| Command::Remove(key, reply)).await
    }

    /// Changes our own key, with overlap.
    ///
    /// # Errors
    /// See [`Handle::add_peer`].
    pub async fn set_key(&self, key: PrivateKey) -> Result<(), HandleError> {
        self.change(|reply| Command::SetKey(key, reply)).await
    }

    /// A peer has a new key; the old one goes on until the new one works.
    ///
    /// # Errors
    /// See [`Handle::add_peer`].
    pub async fn replace_key(&self, old: PublicKey, new: PublicKey) -> Result<(), HandleError> {
        self.change(|reply| Command::ReplaceKey { old, new, reply }).await
    }

    /// Tells the mesh's agent, if there is one.
    ///
    /// # Errors
    /// See [`Handle::add_peer`].
    pub async fn tell(&self, surroundings: Surroundings) -> Result<(), HandleError> {
        self.change(|reply| Command::Surroundings(surroundings, reply)).await
    }

    /// How peers are just now.
    ///
    /// # Errors
    /// See [`Handle::add_peer`].
    pub async fn look(&self) -> Result<Snapshot, HandleError> {
        self.ask(Command::Look).await
    }

    /// Ends the thread soon, if it still runs.
    pub fn stop(&self) {
        self.stop.store(true, Ordering::Release);
        // What can't be woken has ended.
        let _ = self.waker.wake();
    }

    async fn change(&self, command: impl FnOnce(Reply) -> Command) -> Result<(), HandleError> {
        Ok(self.ask(command).await??)
    }

    async fn ask<T>(&self, command: impl FnOnce(oneshot::Sender<T>) -> Command) -> Result<T, HandleError> {
        let (reply, answer) = oneshot::channel();
        self.commands.try_send(command(reply)).map_err(|error| match error {
            TrySendError::Full(_) => HandleError::Busy,
            TrySendError::Disconnected(_) => HandleError::Stopped,
        })?;
        self.waker.wake().map_err(|_| HandleError::Stopped)?;
        match timeout(PATIENCE, answer).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(_)) => Err(HandleError::Stopped),
            Err(_) => Err(HandleError::Busy),
        }
    }
}
