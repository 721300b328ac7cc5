//! Kernels that lack something: a tunnel between two namespaces, of which one end is refused what it asks the kernel for.
//!
//! The refusals are those of a filter of system calls on that end's thread alone, so the code that finds them out is the
//! one that runs on such a kernel. Each end has a real TUN device; every byte of TCP and each datagram is checked.
//! As anybody but root this test has nothing to stand on, and says so.

mod end;
mod kernel;
mod traffic;

use end::{Ends, Place};
use kernel::{Lacks, Receive, Send, Tun};

const TCP_BYTES: u64 = 1 << 20;

fn exchange(place: &Place, a: Lacks, b: Lacks) {
    let ends = Ends::start(place, a, b);
    for (lacks, said) in [(a, &ends.a), (b, &ends.b)] {
        for (words, due) in lacks.words() {
            assert_eq!(said.contains(words), due, "{lacks:?} says: {}", said.text());
        }
    }
    traffic::tcp(place, TCP_BYTES);
    traffic::datagrams(place);
    // Only what an end met when it first received.
    for (lacks, said) in [(a, &ends.a), (b, &ends.b)] {
        assert_eq!(said.contains("no recvmmsg"), lacks.receive == Receive::OneByOne, "{lacks:?}");
    }
    ends.stop();
}

#[test]
fn every_byte_arrives_whatever_one_kernel_lacks() {
    let Some(place) = Place::new("one") else { return };
    for tun in [Tun::Whole, Tun::NoLargeUdp, Tun::NothingLarge, Tun::NoHeader] {
        for send in [Send::Many, Send::OneByOne] {
            for receive in [Receive::Together, Receive::Many, Receive::OneByOne] {
                exchange(&place, Lacks { tun, send, receive }, Lacks::NOTHING);
            }
        }
    }
}

#[test]
fn every_byte_arrives_where_both_kernels_lack_everything() {
    let Some(place) = Place::new("both") else { return };
    exchange(&place, Lacks::EVERYTHING, Lacks::EVERYTHING);
}

/// The kernel refuses to send many datagrams at once that are longer than its own link.
#[test]
fn every_byte_arrives_over_a_link_that_is_too_narrow() {
    let Some(place) = Place::new("link") else { return };
    place.narrow(1300);
    exchange(&place, Lacks::NOTHING, Lacks::NOTHING);
}
