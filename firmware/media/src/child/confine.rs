//! Takes the network away from the child: no socket can be made once the filter stands.
//!
//! A seccomp filter needs no privilege, unlike a network namespace, and holds for all threads that start later.

use anyhow::{Context, Result};
use seccompiler::{BpfProgram, SeccompAction, SeccompFilter};

/// System calls a packager has no use for; each answers EPERM.
fn refused() -> [i64; 5] {
    // socket, connect, bind, listen; io_uring_setup, since a ring makes sockets too.
    #[cfg(target_arch = "x86_64")]
    const CALLS: [i64; 5] = [41, 42, 49, 50, 425];
    #[cfg(target_arch = "aarch64")]
    const CALLS: [i64; 5] = [198, 203, 200, 201, 425];
    CALLS
}

/// # Errors
/// The kernel has no seccomp (an emulator, for one): the child then runs unconfined and says so.
pub(crate) fn refuse_network() -> Result<()> {
    let rules = refused().into_iter().map(|call| (call, Vec::new())).collect();
    let arch = std::env::consts::ARCH.try_into().context("no seccomp filter for this architecture")?;
    let eperm = 1;
    let filter = SeccompFilter::new(rules, SeccompAction::Allow, SeccompAction::Errno(eperm), arch)
        .context("the filter's rules")?;
    let program: BpfProgram = filter.try_into().context("the filter's program")?;
    seccompiler::apply_filter(&program).context("the kernel refused the filter")
}

#[cfg(test)]
mod tests {
    use std::io::ErrorKind;
    use std::net::{TcpListener, TcpStream, UdpSocket};
    use std::os::unix::net::UnixStream;

    use super::*;

    /// The filter holds for the thread that asks for it and those it starts: other tests keep their sockets.
    #[test]
    fn no_socket_can_be_made_behind_the_filter() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let confined = std::thread::spawn(move || {
            refuse_network().unwrap();
            std::thread::spawn(move || {
                [
                    TcpStream::connect(address).err(),
                    TcpListener::bind("127.0.0.1:0").err(),
                    UdpSocket::bind("127.0.0.1:0").err(),
                    UnixStream::connect("/run/anything").err(),
                ]
            })
            .join()
            .unwrap()
        });
        for error in confined.join().unwrap() {
            assert_eq!(error.map(|error| error.kind()), Some(ErrorKind::PermissionDenied));
        }
        TcpStream::connect(address).unwrap();
    }
}
