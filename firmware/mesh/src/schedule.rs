//! How long to wait between tries: sooner at first, then at a pace that can go on for ever.

use core::time::Duration;

const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// Between one call and the next while there is no session.
const CALLS: [Duration; 8] = [ms(250), ms(250), ms(500), ms(1000), ms(2000), ms(3000), ms(5000), ms(5000)];
/// After that.
const CALL_SLOWLY: Duration = ms(15_000);

/// Between the probes of one burst over a path that was not answered yet.
const PROBES: [Duration; 6] = [ms(150), ms(200), ms(400), ms(800), ms(1600), ms(3000)];

/// STUN requests until the first answer.
const STUN: [Duration; 5] = [ms(200), ms(300), ms(600), ms(1200), ms(2400)];
/// After that, and while answers come: shorter than routers forget a mapping (RFC 4787, 4.3, and what is in use).
pub(crate) const STUN_SLOWLY: Duration = ms(20_000);

/// How many calls are made before they become rare.
pub(crate) const CALLS_SOON: u8 = CALLS.len() as u8;
/// Probes of one burst.
pub(crate) const PROBES_MAX: u8 = PROBES.len() as u8;
/// Requests after which a silent server means that UDP is blocked.
pub(crate) const STUN_SOON: u8 = STUN.len() as u8;

pub(crate) fn after_call(made: u8) -> Duration {
    CALLS.get(usize::from(made)).copied().unwrap_or(CALL_SLOWLY)
}

pub(crate) fn after_probe(sent: u8) -> Duration {
    PROBES.get(usize::from(sent)).copied().unwrap_or(PROBES[PROBES.len() - 1])
}

pub(crate) fn after_stun(sent: u8) -> Duration {
    STUN.get(usize::from(sent)).copied().unwrap_or(STUN_SLOWLY)
}
