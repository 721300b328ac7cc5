//! A way from this machine's loopback to a service inside a namespace, for a browser: bytes, unread.

use std::io;
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result};

use crate::lab::netns::{Handle, Namespace};
use crate::stop::Stop;

/// How many connections may be open at once; the next one is closed at once.
const CONNECTIONS_MAX: usize = 64;

pub(super) struct Door {
    address: SocketAddr,
    stop: Stop,
    thread: Option<thread::JoinHandle<()>>,
}

impl Door {
    /// Leads to this port of the namespace's loopback.
    pub(super) fn open(namespace: &Namespace, port: u16) -> Result<Door> {
        let listener =
            TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("a port for the operator's page")?;
        listener.set_nonblocking(true).context("a listener that does not block")?;
        let address = listener.local_addr().context("the port of the page")?;
        let (stop, inside) = (Stop::default(), namespace.handle()?);
        let wanted = stop.clone();
        let thread = thread::spawn(move || serve(&listener, &inside, port, &wanted));
        Ok(Door { address, stop, thread: Some(thread) })
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Door {
    fn drop(&mut self) {
        self.stop.set();
        if let Some(thread) = self.thread.take() {
            thread.join().ok();
        }
    }
}

fn serve(listener: &TcpListener, inside: &Handle, port: u16, stop: &Stop) {
    let open = Arc::new(AtomicUsize::new(0));
    while !stop.wanted() {
        let Ok((outer, _)) = listener.accept() else {
            stop.wait(Duration::from_millis(10));
            continue;
        };
        if open.load(Ordering::Relaxed) >= CONNECTIONS_MAX {
            continue;
        }
        let connect = || TcpStream::connect((Ipv4Addr::LOCALHOST, port)).context("the service");
        // The browser sees a connection that closes, which is what happened.
        let Ok(inner) = inside.inside(connect) else { continue };
        open.fetch_add(1, Ordering::Relaxed);
        let open = open.clone();
        thread::spawn(move || {
            join(&outer, &inner).ok();
            open.fetch_sub(1, Ordering::Relaxed);
        });
    }
}

/// Copies both ways until both sides are done.
fn join(outer: &TcpStream, inner: &TcpStream) -> io::Result<()> {
    outer.set_nonblocking(false)?;
    let copy = |mut from: &TcpStream, mut to: &TcpStream| {
        io::copy(&mut from, &mut to).ok();
        // The other side may be gone already.
        to.shutdown(Shutdown::Write).ok();
    };
    thread::scope(|scope| {
        scope.spawn(|| copy(outer, inner));
        copy(inner, outer);
    });
    Ok(())
}
