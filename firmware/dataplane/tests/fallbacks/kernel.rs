//! What a kernel may lack, as a filter of system calls on the thread that asks.

use std::collections::BTreeMap;

use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen as Len, SeccompCmpOp as Op, SeccompCondition as Is,
    SeccompFilter, SeccompRule as Rule,
};

#[cfg(target_arch = "x86_64")]
mod number {
    pub(super) const IOCTL: i64 = 16;
    pub(super) const SETSOCKOPT: i64 = 54;
    pub(super) const RECVMMSG: i64 = 299;
}
#[cfg(target_arch = "aarch64")]
mod number {
    pub(super) const IOCTL: i64 = 29;
    pub(super) const SETSOCKOPT: i64 = 208;
    pub(super) const RECVMMSG: i64 = 243;
}

/// As an older kernel answers (errno(3)).
const EINVAL: u32 = 22;
const ENOSYS: u32 = 38;
const ENOPROTOOPT: u32 = 92;

/// linux/if_tun.h: `_IOR('T', 207, unsigned int)` and `_IOW('T', 208, unsigned int)`.
const TUNGETFEATURES: u64 = 0x8004_54cf;
const TUNSETOFFLOAD: u64 = 0x4004_54d0;
/// TUN_F_USO4 and TUN_F_USO6.
const LARGE_UDP: u64 = 0x60;
/// linux/udp.h.
const SOL_UDP: u64 = 17;
const UDP_SEGMENT: u64 = 103;
const UDP_GRO: u64 = 104;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tun {
    Whole,
    NoLargeUdp,
    NothingLarge,
    NoHeader,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Send {
    Many,
    OneByOne,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Receive {
    /// Many, and those of one sender in one piece.
    Together,
    Many,
    OneByOne,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Lacks {
    pub(crate) tun: Tun,
    pub(crate) send: Send,
    pub(crate) receive: Receive,
}

impl Lacks {
    pub(crate) const NOTHING: Lacks = Lacks { tun: Tun::Whole, send: Send::Many, receive: Receive::Together };
    pub(crate) const EVERYTHING: Lacks =
        Lacks { tun: Tun::NoHeader, send: Send::OneByOne, receive: Receive::OneByOne };

    /// What an end has to say of it when it starts, and must not say otherwise.
    pub(crate) fn words(&self) -> [(&'static str, bool); 5] {
        [
            ("has no virtio header", self.tun == Tun::NoHeader),
            ("takes no large packets", self.tun == Tun::NothingLarge),
            ("takes no large UDP packets", self.tun == Tun::NoLargeUdp),
            ("no UDP_SEGMENT", self.send == Send::OneByOne),
            ("no UDP_GRO", self.receive != Receive::Together),
        ]
    }

    /// From now on this thread's kernel lacks it.
    pub(crate) fn enforce(&self) {
        let ioctl = |request, more: Option<Is>| {
            let is = Is::new(1, Len::Dword, Op::Eq, request).expect("a condition");
            (number::IOCTL, rule([is].into_iter().chain(more).collect()))
        };
        let option = |name| {
            let level = Is::new(1, Len::Dword, Op::Eq, SOL_UDP).expect("a condition");
            let name = Is::new(2, Len::Dword, Op::Eq, name).expect("a condition");
            (number::SETSOCKOPT, rule(vec![level, name]))
        };
        let tun = match self.tun {
            Tun::Whole => None,
            Tun::NoLargeUdp => {
                let large = Is::new(2, Len::Qword, Op::MaskedEq(LARGE_UDP), LARGE_UDP).expect("a condition");
                Some(ioctl(TUNSETOFFLOAD, Some(large)))
            }
            Tun::NothingLarge => Some(ioctl(TUNSETOFFLOAD, None)),
            Tun::NoHeader => Some(ioctl(TUNGETFEATURES, None)),
        };
        refuse(tun, EINVAL);
        let send = (self.send == Send::OneByOne).then(|| option(UDP_SEGMENT));
        let together = (self.receive != Receive::Together).then(|| option(UDP_GRO));
        refuse(send.into_iter().chain(together), ENOPROTOOPT);
        if self.receive == Receive::OneByOne {
            refuse([(number::RECVMMSG, Vec::new())], ENOSYS);
        }
    }
}

fn rule(conditions: Vec<Is>) -> Vec<Rule> {
    vec![Rule::new(conditions).expect("a rule")]
}

fn refuse(calls: impl IntoIterator<Item = (i64, Vec<Rule>)>, errno: u32) {
    let mut rules: BTreeMap<i64, Vec<Rule>> = BTreeMap::new();
    for (call, more) in calls {
        rules.entry(call).or_default().extend(more);
    }
    if rules.is_empty() {
        return;
    }
    let architecture = std::env::consts::ARCH.try_into().expect("a known machine");
    let filter = SeccompFilter::new(rules, SeccompAction::Allow, SeccompAction::Errno(errno), architecture);
    let program: BpfProgram = filter.expect("a filter").try_into().expect("a program");
    seccompiler::apply_filter(&program).expect("the kernel takes filters");
}
