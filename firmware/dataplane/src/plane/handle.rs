//! How others talk to the thread: commands in a bounded queue, and answers.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::time::Duration;

use mio::Waker;

use super::Traffic;
use crate::exchange::{Drops, PeerConfig, PeerError, PeerStats};
use crate::key::{PrivateKey, PublicKey};

/// How long an answer may take; the thread never waits for anything itself.
const PATIENCE: Duration = Duration::from_secs(5);

/// What can be asked of the thread.
#[derive(Debug)]
pub enum Command {
    Add(Box<PeerConfig>, SyncSender<Result<(), PeerError>>),
    Update(Box<PeerConfig>, SyncSender<Result<(), PeerError>>),
    Remove(PublicKey, SyncSender<Result<(), PeerError>>),
    SetKey(PrivateKey, SyncSender<Result<(), PeerError>>),
    ReplaceKey { old: PublicKey, new: PublicKey, reply: SyncSender<Result<(), PeerError>> },
    Surroundings(Surroundings, SyncSender<Result<(), PeerError>>),
    Look(SyncSender<Snapshot>),
    Stop,
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

/// The way to the thread. When the last one is dropped, the thread goes on; [`Handle::stop`] ends it.
#[derive(Clone, Debug)]
pub struct Handle {
    commands: SyncSender<Command>,
    waker: Arc<Waker>,
    port: u16,
}

impl Handle {
    pub(super) fn new(commands: SyncSender<Command>, waker: Arc<Waker>, port: u16) -> Handle {
        Handle { commands, waker, port }
    }

    /// The UDP port of both sockets.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// # Errors
    /// As all of these: when the thread has stopped, its queue is full, or it refuses.
    pub fn add_peer(&self, peer: PeerConfig) -> Result<(), HandleError> {
        self.change(|reply| Command::Add(Box::new(peer), reply))
    }

    /// Changes prefixes, keepalive and endpoint of a peer.
    ///
    /// # Errors
    /// See [`Handle::add_peer`].
    pub fn update_peer(&self, peer: PeerConfig) -> Result<(), HandleError> {
        self.change(|reply| Command::Update(Box::new(peer), reply))
    }

    /// # Errors
    /// See [`Handle::add_peer`].
    pub fn remove_peer(&self, key: PublicKey) -> Result<(), HandleError> {
        self.change(|reply| Command::Remove(key, reply))
    }

    /// Changes our own key, with overlap.
    ///
    /// # Errors
    /// See [`Handle::add_peer`].
    pub fn set_key(&self, key: PrivateKey) -> Result<(), HandleError> {
        self.change(|reply| Command::SetKey(key, reply))
    }

    /// A peer has a new key; the old one goes on until the new one works.
    ///
    /// # Errors
    /// See [`Handle::add_peer`].
    pub fn replace_key(&self, old: PublicKey, new: PublicKey) -> Result<(), HandleError> {
        self.change(|reply| Command::ReplaceKey { old, new, reply })
    }

    /// Tells the mesh's agent, if there is one.
    ///
    /// # Errors
    /// See [`Handle::add_peer`].
    pub fn tell(&self, surroundings: Surroundings) -> Result<(), HandleError> {
        self.change(|reply| Command::Surroundings(surroundings, reply))
    }

    /// How peers are just now.
    ///
    /// # Errors
    /// See [`Handle::add_peer`].
    pub fn look(&self) -> Result<Snapshot, HandleError> {
        self.ask(Command::Look)
    }

    /// Ends the thread, if it still runs.
    pub fn stop(&self) {
        // A full queue is emptied soon; whoever stops can wait for that.
        let _ = self.commands.send(Command::Stop);
        let _ = self.waker.wake();
    }

    fn change(
        &self,
        command: impl FnOnce(SyncSender<Result<(), PeerError>>) -> Command,
    ) -> Result<(), HandleError> {
        Ok(self.ask(command)??)
    }

    fn ask<T>(&self, command: impl FnOnce(SyncSender<T>) -> Command) -> Result<T, HandleError> {
        let (reply, answer) = sync_channel(1);
        self.commands.try_send(command(reply)).map_err(|error| match error {
            TrySendError::Full(_) => HandleError::Busy,
            TrySendError::Disconnected(_) => HandleError::Stopped,
        })?;
        self.waker.wake().map_err(|_| HandleError::Stopped)?;
        answer.recv_timeout(PATIENCE).map_err(|error| match error {
            RecvTimeoutError::Timeout => HandleError::Busy,
            RecvTimeoutError::Disconnected => HandleError::Stopped,
        })
    }
}
