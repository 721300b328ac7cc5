//! What a box does with a datagram that reaches it.

use std::net::SocketAddr;
use std::rc::Rc;

use mesh::Path;

use super::Fleet;
use crate::datagram::{Datagram, Handshake, Inner, Name};

impl Fleet {
    pub(super) fn receive_outer(&mut self, name: Name, port: u16, from: SocketAddr, datagram: Datagram) {
        if !self.members[name].on {
            return;
        }
        let Some(socket) = self.members[name].sockets.get(&port).copied() else { return };
        let path = Path::Direct { socket, to: from };
        match datagram {
            Datagram::Punch => {}
            Datagram::Stun(bytes) => self.members[name].agent.handle_stun(from, &bytes, self.now),
            Datagram::Initiation { from, .. }
            | Datagram::Response { from, .. }
            | Datagram::Sealed { from, .. } => {
                self.receive(name, from, path, datagram);
            }
        }
        self.settle(name);
    }

    pub(super) fn receive(&mut self, name: Name, from: Name, path: Path, datagram: Datagram) {
        if !self.members[name].on || self.members[name].id(from).is_none() {
            return;
        }
        match datagram {
            Datagram::Initiation { to, number, .. } if to == name => {
                let session = self.members[name].sessions.entry(from).or_default();
                if number <= session.heard {
                    return;
                }
                session.heard = number;
                session.taken.push(number);
                self.send(name, from, path, Datagram::Response { from: name, to: from, number });
            }
            Datagram::Response { to, number, .. } if to == name => self.answered(name, from, path, number),
            Datagram::Sealed { to, session, inner, .. } if to == name => {
                self.open(name, from, path, session, inner);
            }
            Datagram::Initiation { .. }
            | Datagram::Response { .. }
            | Datagram::Sealed { .. }
            | Datagram::Stun(_)
            | Datagram::Punch => {}
        }
    }

    fn answered(&mut self, name: Name, from: Name, path: Path, number: Handshake) {
        let Some(session) = self.members[name].sessions.get_mut(&from) else { return };
        let Some((called, _, answered @ false)) = &mut session.call else { return };
        if *called != number {
            return;
        }
        *answered = true;
        session.sealed = Some(number);
        session.taken.push(number);
        self.seal(name, from, path, Inner::Keepalive);
        self.session(name, from, path);
    }

    fn session(&mut self, name: Name, with: Name, path: Path) {
        let now = self.now;
        if let Some(id) = self.members[name].id(with) {
            self.members[name].agent.handle_session(id, path, now);
        }
    }

    fn open(&mut self, name: Name, from: Name, path: Path, number: Handshake, inner: Inner) {
        let Some(session) = self.members[name].sessions.get_mut(&from) else { return };
        if !session.taken.contains(&number) {
            return;
        }
        if session.sealed.is_none_or(|sealed| sealed < number) {
            session.sealed = Some(number);
            self.session(name, from, path);
        }
        let Some(id) = self.members[name].id(from) else { return };
        let is_data = matches!(inner, Inner::Data(..));
        self.members[name].agent.handle_authentic(id, path, is_data, self.now);
        match inner {
            Inner::Keepalive => {}
            Inner::Control(payload) => self.members[name].agent.handle_message(id, path, &payload, self.now),
            Inner::Forward { to, datagram } => {
                let straight = self.members[name].uses.get(&to).copied().filter(Path::is_direct);
                if let Some(path) = straight {
                    self.seal(name, to, path, Inner::Forwarded { from, datagram });
                }
            }
            Inner::Forwarded { from, datagram } => {
                let datagram = Rc::unwrap_or_clone(datagram);
                self.receive(name, from, Path::Box(id), datagram);
            }
            Inner::Data(number, _) => drop(self.members[name].received.insert(number, path)),
        }
    }
}
