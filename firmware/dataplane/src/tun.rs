//! The TUN device: whole IP packets to and from the kernel, large ones in one piece where it can.
//!
//! A device that was made beforehand for this user is taken without any privilege; making one needs `CAP_NET_ADMIN`.
//! What the kernel can't do is done without, and said once. A pair of sockets can take its place.

mod sys;

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::net::UnixDatagram;

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use crate::coalesce::Offload;
use crate::network::{self, NetworkError, Standing};
use crate::vnet::{self, VnetHeader};

/// The longest name of an interface, bytes (`IFNAMSIZ` less the closing zero).
pub(crate) const NAME_BYTES_MAX: usize = 15;

/// The largest frame that the kernel gives: its header, 64 KiB of payload, and headers of IPv6.
pub(crate) const FRAME_BYTES_MAX: usize = vnet::LEN + 65_536 + 40;

/// Why there is no device.
#[derive(Debug, thiserror::Error)]
pub enum TunError {
    #[error("{0:?} is no name for an interface: 1 to {NAME_BYTES_MAX} letters, digits, `-`, `_` or `.`")]
    Name(String),
    #[error("cannot open /dev/net/tun")]
    Open(#[source] io::Error),
    #[error(
        "not allowed to make the interface {0:?}: it needs CAP_NET_ADMIN, or one made beforehand for this user"
    )]
    NotAllowed(String),
    #[error("another process has the interface {0:?}")]
    Busy(String),
    #[error("cannot make the interface {name:?}")]
    Make { name: String, source: io::Error },
    #[error("the interface {0:?} is no TUN device: somebody else made it, and it is left alone")]
    Foreign(String),
    #[error("cannot look whether the interface is there")]
    Look(#[from] NetworkError),
}

/// An open device. When it is closed, an interface that was made by it goes.
#[derive(Debug)]
pub struct Tun {
    fd: OwnedFd,
    name: String,
    /// Whether each packet comes with a header.
    vnet: bool,
    offload: Offload,
}

impl Tun {
    /// Makes the interface, or takes one that is there.
    ///
    /// # Errors
    /// When it can't be had; the error says what is missing.
    pub fn open(name: &str) -> Result<Tun, TunError> {
        let is_letter = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
        let is_name = !name.is_empty() && name.len() <= NAME_BYTES_MAX && name.bytes().all(is_letter);
        if !is_name || name == "." || name == ".." {
            return Err(TunError::Name(name.to_owned()));
        }
        let flags = OFlags::RDWR | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let fd = rustix::fs::open("/dev/net/tun", flags, Mode::empty())
            .map_err(|error| TunError::Open(error.into()))?;
        let vnet = sys::has_vnet_header(fd.as_fd());
        sys::set_interface(fd.as_fd(), name, vnet).map_err(|error| match error {
            Errno::PERM | Errno::ACCESS => TunError::NotAllowed(name.to_owned()),
            Errno::BUSY => TunError::Busy(name.to_owned()),
            error => TunError::Make { name: name.to_owned(), source: error.into() },
        })?;
        if !vnet {
            tracing::warn!("this kernel's TUN has no virtio header: packets go one by one");
        }
        let offload = if vnet { set_offload(fd.as_fd()) } else { Offload::default() };
        Ok(Tun { fd, name: name.to_owned(), vnet, offload })
    }

    /// Makes the interface for this user, who may then open it without any right; it stays until it is removed. Says
    /// whether it was made: one that is there for this user is left as it is, since that user may have it open, or be
    /// about to. One for another user goes first.
    ///
    /// # Errors
    /// As [`Tun::open`], and when an interface of that name is no TUN device or can't be looked at.
    pub fn prepare(name: &str, owner: u32) -> Result<bool, TunError> {
        match network::standing(name)? {
            Standing::Tun { owner: Some(other) } if other == owner => return Ok(false),
            Standing::Tun { .. } => Tun::remove(name)?,
            Standing::Other => return Err(TunError::Foreign(name.to_owned())),
            Standing::Absent => {}
        }
        let tun = Tun::open(name)?;
        let made = sys::set_owner(tun.as_fd(), owner).and_then(|()| sys::set_persistent(tun.as_fd(), true));
        made.map_err(|error| TunError::Make { name: name.to_owned(), source: error.into() })?;
        Ok(true)
    }

    /// Takes an interface away that was prepared; there may be none.
    ///
    /// # Errors
    /// As [`Tun::open`]: `Busy` says that somebody has it.
    pub fn remove(name: &str) -> Result<(), TunError> {
        let tun = Tun::open(name)?;
        let done = sys::set_persistent(tun.as_fd(), false);
        done.map_err(|error| TunError::Make { name: name.to_owned(), source: error.into() })
    }

    /// One of a pair of sockets in place of an interface: each datagram is a packet. For a host that has no interfaces
    /// to give, and for tests.
    ///
    /// # Errors
    /// When the socket can't be made not to wait.
    pub fn of_socket(socket: UnixDatagram) -> io::Result<Tun> {
        socket.set_nonblocking(true)?;
        Ok(Tun { fd: socket.into(), name: String::new(), vnet: false, offload: Offload::default() })
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    /// What the kernel takes in one piece.
    pub fn offload(&self) -> Offload {
        self.offload
    }

    /// Reads a frame: the packet comes to lie behind [`vnet::LEN`] bytes, and its length is given.
    ///
    /// # Errors
    /// `WouldBlock` when there is none; others when the interface is gone or down.
    pub(crate) fn read(&self, frame: &mut [u8]) -> io::Result<(VnetHeader, usize)> {
        if !self.vnet {
            let len = rustix::io::read(&self.fd, &mut frame[vnet::LEN..])?;
            return Ok((VnetHeader::default(), len));
        }
        let len = rustix::io::read(&self.fd, &mut *frame)?;
        let head = frame.first_chunk().filter(|_| len > vnet::LEN).ok_or(io::ErrorKind::InvalidData)?;
        let header =
            VnetHeader::read(head).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
        Ok((header, len - vnet::LEN))
    }

    /// Writes a frame, which begins with its header.
    ///
    /// # Errors
    /// When the kernel doesn't take it.
    pub(crate) fn write(&self, frame: &[u8]) -> io::Result<()> {
        let bytes = if self.vnet { frame } else { &frame[vnet::LEN..] };
        rustix::io::write(&self.fd, bytes)?;
        Ok(())
    }
}

impl AsFd for Tun {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl AsRawFd for Tun {
    fn as_raw_fd(&self) -> RawFd {
        self.fd.as_raw_fd()
    }
}

/// Asks for everything, and takes less where the kernel knows less. UDP came with Linux 6.2.
fn set_offload(fd: BorrowedFd<'_>) -> Offload {
    for offload in [Offload { tcp: true, udp: true }, Offload { tcp: true, udp: false }] {
        match sys::set_offload(fd, offload) {
            Ok(()) => {
                if !offload.udp {
                    tracing::warn!("this kernel's TUN takes no large UDP packets: they go one by one");
                }
                return offload;
            }
            Err(error) => tracing::debug!(%error, ?offload, "TUN offload refused"),
        }
    }
    tracing::warn!("this kernel's TUN takes no large packets: they go one by one");
    Offload::default()
}
