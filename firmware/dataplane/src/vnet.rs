//! The virtio header, which stands before each packet of a TUN device with `IFF_VNET_HDR`.
//!
//! Ten bytes in the machine's byte order (virtio 1.2, 5.1.6; linux/virtio_net.h). It says that a packet is larger
//! than the MTU and how to cut it, and where a checksum is still to be put.

/// Bytes of the header.
pub const LEN: usize = 10;

const NEEDS_CHECKSUM: u8 = 1;
const GSO_NONE: u8 = 0;
const GSO_TCPV4: u8 = 1;
const GSO_TCPV6: u8 = 4;
const GSO_UDP_L4: u8 = 5;
const GSO_ECN: u8 = 0x80;

/// What is to be cut into several packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gso {
    TcpV4,
    TcpV6,
    /// UDP, each piece a datagram of its own.
    Udp,
}

/// Where a checksum is to be put: the sum from `start` to the end, written at `start + offset`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Checksum {
    pub start: u16,
    pub offset: u16,
}

/// The header, understood.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct VnetHeader {
    pub checksum: Option<Checksum>,
    /// What it is and how many bytes of payload go into each piece.
    pub gso: Option<(Gso, u16)>,
    /// Bytes of all headers. From the kernel only a hint.
    pub header_len: u16,
}

/// The device says something that was never asked of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown kind of large packet: {0:#x}")]
pub struct UnknownGso(pub u8);

impl VnetHeader {
    /// # Errors
    /// A kind of large packet other than TCP or UDP.
    pub fn read(bytes: &[u8; LEN]) -> Result<VnetHeader, UnknownGso> {
        let number = |at: usize| u16::from_ne_bytes([bytes[at], bytes[at + 1]]);
        let gso = match bytes[1] & !GSO_ECN {
            GSO_NONE => None,
            GSO_TCPV4 => Some((Gso::TcpV4, number(4))),
            GSO_TCPV6 => Some((Gso::TcpV6, number(4))),
            GSO_UDP_L4 => Some((Gso::Udp, number(4))),
            _ => return Err(UnknownGso(bytes[1])),
        };
        let checksum =
            (bytes[0] & NEEDS_CHECKSUM != 0).then(|| Checksum { start: number(6), offset: number(8) });
        Ok(VnetHeader { checksum, gso, header_len: number(2) })
    }

    /// The header as bytes.
    pub fn write(&self) -> [u8; LEN] {
        let mut bytes = [0; LEN];
        let mut number = |at: usize, value: u16| bytes[at..at + 2].copy_from_slice(&value.to_ne_bytes());
        if let Some((_, size)) = self.gso {
            number(4, size);
            number(2, self.header_len);
        }
        if let Some(checksum) = self.checksum {
            number(6, checksum.start);
            number(8, checksum.offset);
            bytes[0] = NEEDS_CHECKSUM;
        }
        bytes[1] = match self.gso {
            None => GSO_NONE,
            Some((Gso::TcpV4, _)) => GSO_TCPV4,
            Some((Gso::TcpV6, _)) => GSO_TCPV6,
            Some((Gso::Udp, _)) => GSO_UDP_L4,
        };
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_reads_back() {
        let checksum = Some(Checksum { start: 20, offset: 16 });
        for header in [
            VnetHeader::default(),
            VnetHeader { checksum, ..VnetHeader::default() },
            VnetHeader { checksum, gso: Some((Gso::TcpV4, 1360)), header_len: 52 },
            VnetHeader { checksum, gso: Some((Gso::Udp, 1200)), header_len: 28 },
        ] {
            assert_eq!(VnetHeader::read(&header.write()), Ok(header));
        }
        assert_eq!(VnetHeader::read(&[0, 3, 0, 0, 0, 0, 0, 0, 0, 0]), Err(UnknownGso(3)));
    }
}
