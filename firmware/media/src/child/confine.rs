//! Takes the network away from the child: no socket can be made once the filter stands.
//!
//! A seccomp filter needs no privilege, unlike a network namespace, and holds for all threads that start later.

use anyhow::{Context, Result};
use seccompiler::{BpfProgram, SeccompAction, SeccompFilter};

/// System calls a packager has no use for; each answers EPERM.
fn refused() -> [i64; 4] {
    #[cfg(target_arch = "x86_64")]
    const CALLS: [i64; 4] = [41, 42, 49, 50]; // socket, connect, bind, listen
    #[cfg(target_arch = "aarch64")]
    const CALLS: [i64; 4] = [198, 203, 200, 201];
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
