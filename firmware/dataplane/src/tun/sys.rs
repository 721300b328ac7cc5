//! The calls that set a TUN device up.
//!
//! They are `ioctl`s, for which no safe wrapper of rustix exists; tun-rs has some, but hides which offloads were
//! accepted and copies each packet once more when it cuts them. Layouts and numbers are those of linux/if.h and
//! linux/if_tun.h, which are the kernel's promise to user space and the same on x86-64 and aarch64.
#![allow(unsafe_code)]

use std::os::fd::BorrowedFd;

use rustix::io::Errno;
use rustix::ioctl::{Getter, IntegerSetter, Opcode, Setter, ioctl, opcode};

use super::NAME_BYTES_MAX;
use crate::coalesce::Offload;

const TUNSETIFF: Opcode = opcode::write::<i32>(b'T', 202);
const TUNSETPERSIST: Opcode = opcode::write::<i32>(b'T', 203);
const TUNSETOWNER: Opcode = opcode::write::<i32>(b'T', 204);
const TUNGETFEATURES: Opcode = opcode::read::<u32>(b'T', 207);
const TUNSETOFFLOAD: Opcode = opcode::write::<u32>(b'T', 208);

const IFF_TUN: u16 = 0x0001;
const IFF_NO_PI: u16 = 0x1000;
const IFF_VNET_HDR: u16 = 0x4000;

const TUN_F_CSUM: usize = 0x01;
const TUN_F_TSO4: usize = 0x02;
const TUN_F_TSO6: usize = 0x04;
const TUN_F_USO4: usize = 0x20;
const TUN_F_USO6: usize = 0x40;

/// `struct ifreq`: a name, and a union of 24 bytes that begins with the flags here.
#[repr(C)]
struct InterfaceRequest {
    name: [u8; NAME_BYTES_MAX + 1],
    flags: u16,
    rest: [u8; 22],
}

/// Whether the kernel can put a virtio header before each packet.
pub(super) fn has_vnet_header(fd: BorrowedFd<'_>) -> bool {
    // SAFETY: TUNGETFEATURES writes one 32-bit number behind the pointer, which `Getter` has room for.
    let features = unsafe { ioctl(fd, Getter::<TUNGETFEATURES, u32>::new()) };
    features.is_ok_and(|features| features & u32::from(IFF_VNET_HDR) != 0)
}

/// Ties the open device to the interface of that name, and makes it if there is none.
pub(super) fn set_interface(fd: BorrowedFd<'_>, name: &str, vnet: bool) -> Result<(), Errno> {
    let mut request =
        InterfaceRequest { name: [0; NAME_BYTES_MAX + 1], flags: IFF_TUN | IFF_NO_PI, rest: [0; 22] };
    let name = name.as_bytes();
    request.name.get_mut(..name.len()).filter(|_| name.len() <= NAME_BYTES_MAX).ok_or(Errno::NAMETOOLONG)?;
    request.name[..name.len()].copy_from_slice(name);
    if vnet {
        request.flags |= IFF_VNET_HDR;
    }
    // SAFETY: TUNSETIFF reads and writes one `struct ifreq`, 40 bytes, behind the pointer. `Setter` owns them for the
    // time of the call, and what the kernel writes back (the same name) is plain bytes and dropped.
    unsafe { ioctl(fd, Setter::<TUNSETIFF, InterfaceRequest>::new(request)) }
}

/// Says which large packets this side understands; checksums may be left out then, too.
pub(super) fn set_offload(fd: BorrowedFd<'_>, offload: Offload) -> Result<(), Errno> {
    let mut flags = TUN_F_CSUM;
    if offload.tcp {
        flags |= TUN_F_TSO4 | TUN_F_TSO6;
    }
    if offload.udp {
        flags |= TUN_F_USO4 | TUN_F_USO6;
    }
    // SAFETY: TUNSETOFFLOAD takes its argument as a number and touches no memory of ours.
    unsafe { ioctl(fd, IntegerSetter::<TUNSETOFFLOAD>::new_usize(flags)) }
}

/// Whether the interface stays when nobody has it open.
pub(super) fn set_persistent(fd: BorrowedFd<'_>, stays: bool) -> Result<(), Errno> {
    // SAFETY: TUNSETPERSIST takes its argument as a number and touches no memory of ours.
    unsafe { ioctl(fd, IntegerSetter::<TUNSETPERSIST>::new_usize(stays.into())) }
}

/// The user who may open the interface without any right.
pub(super) fn set_owner(fd: BorrowedFd<'_>, uid: u32) -> Result<(), Errno> {
    let uid = usize::try_from(uid).map_err(|_| Errno::INVAL)?;
    // SAFETY: TUNSETOWNER takes its argument as a number and touches no memory of ours.
    unsafe { ioctl(fd, IntegerSetter::<TUNSETOWNER>::new_usize(uid)) }
}

const _: () = assert!(size_of::<InterfaceRequest>() == 40);
