//! The birthday punch: one side's router takes another port for each destination, the other side's keeps one.
//!
//! The hard side opens many sockets and sends from each to the other one's address, so that its router has as many
//! ports open for it. The other side guesses ports; by the birthday paradox 1,024 guesses among 64,512 ports hit one of
//! 256 with a chance of 1 - (1 - 256/64512)^1024, about 98 %.
//!
//! Refuses to do this for more than one peer at a time, or often: to a router in between it looks like a scan.

use core::net::{IpAddr, SocketAddr};
use core::time::Duration;

use crate::Command;
use crate::dice::Dice;
use crate::message::{Message, ProbeId};
use crate::path::{Path, PeerId, SocketId};
use crate::peer::Commands;

/// Sockets of the hard side.
pub(crate) const SOCKETS: u16 = 256;
/// Guesses of the other side.
const GUESSES: u16 = 1024;
/// What is sent at once, and how often.
const AT_ONCE: u16 = 16;
const STEP: Duration = Duration::from_millis(50);
/// How long the sockets wait after the last one has sent: less than routers keep a mapping that was never answered
/// (RFC 4787, REQ-5 asks for two minutes, and many keep 30 s).
const WAIT: Duration = Duration::from_secs(14);
/// After the first punch that missed, and after later ones.
const REST_FIRST: Duration = Duration::from_secs(20);
const REST: Duration = Duration::from_secs(300);
/// Ports that are guessed: those that routers give.
const PORTS: core::ops::Range<u16> = 1024..u16::MAX;

/// How long to wait before another punch for the same peer.
pub(crate) const fn rest(tries: u8) -> Duration {
    if tries <= 1 { REST_FIRST } else { REST }
}

/// What this side does in a punch.
#[derive(Debug)]
enum Side {
    /// Sockets send, one after the other, then wait.
    Hard {
        first: SocketId,
        to: SocketAddr,
        sent: u16,
    },
    Easy {
        ip: IpAddr,
        left: u16,
    },
}

#[derive(Debug)]
pub(crate) struct Punch {
    pub(crate) peer: PeerId,
    side: Side,
    next: Duration,
    ends: Duration,
}

/// How a punch goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    Running,
    /// All sockets have sent: the peer is to be told.
    Opened,
    /// The sockets from this one on have to be closed, if any were opened.
    Ended(Option<SocketId>),
}

impl Punch {
    pub(crate) fn hard(peer: PeerId, to: SocketAddr, first: SocketId, now: Duration) -> Self {
        Self { peer, side: Side::Hard { first, to, sent: 0 }, next: now, ends: now + WAIT }
    }

    pub(crate) fn easy(peer: PeerId, ip: IpAddr, now: Duration) -> Self {
        Self { peer, side: Side::Easy { ip, left: GUESSES }, next: now, ends: now + WAIT }
    }

    /// Whether all sockets of this side stand open.
    pub(crate) const fn is_open(&self) -> bool {
        matches!(self.side, Side::Hard { sent: SOCKETS, .. })
    }

    pub(crate) const fn next(&self) -> Duration {
        self.next
    }

    /// `done` when the peer is reached straight.
    pub(crate) fn handle_timeout(
        &mut self,
        done: bool,
        dice: &mut Dice,
        now: Duration,
        commands: &mut Commands,
    ) -> Step {
        let peer = self.peer;
        if done || now >= self.ends {
            return Step::Ended(match self.side {
                Side::Hard { first, .. } => Some(first),
                Side::Easy { .. } => None,
            });
        }
        if now < self.next {
            return Step::Running;
        }
        self.next = now + STEP;
        let mut send = |path: Path, dice: &mut Dice| {
            let probe = Message::Probe { id: ProbeId(dice.number()), news: None };
            commands.push_back(Command::Message { peer, path, payload: probe.encode(), whole: false });
        };
        match &mut self.side {
            Side::Hard { first, to, sent } => {
                for _ in 0..AT_ONCE.min(SOCKETS - *sent) {
                    send(Path::Direct { socket: SocketId(first.0 + *sent), to: *to }, dice);
                    *sent += 1;
                }
                if *sent == SOCKETS {
                    self.next = self.ends;
                    return Step::Opened;
                }
            }
            Side::Easy { ip, left } => {
                for _ in 0..AT_ONCE.min(*left) {
                    let port = dice.within(PORTS);
                    send(Path::direct(SocketAddr::new(*ip, port)), dice);
                    *left -= 1;
                }
                if *left == 0 {
                    self.next = self.ends;
                }
            }
        }
        Step::Running
    }
}
