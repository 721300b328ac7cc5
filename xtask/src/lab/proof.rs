//! The proof of the world itself: each kind of router, built, looked at with real packets, and held against what it
//! claims to be. A lab whose hard NAT is not hard would prove nothing about boxes.

use anyhow::{Result, ensure};

use super::kind::{KINDS, Kind};
use super::observe::{self, Behaviour, Udp};
use super::plan::Wanted;
use super::world::World;

/// What a kind has to look like.
pub(crate) fn expected(kind: Kind) -> Behaviour {
    let replies_only = |same_port| Udp::Passes {
        own_address: false,
        same_port,
        steady: true,
        open: false,
        open_to_known: false,
    };
    let open = |own_address| Udp::Passes {
        own_address,
        same_port: true,
        steady: true,
        open: true,
        open_to_known: true,
    };
    let plain =
        Behaviour { v4: Udp::None, v6: Udp::None, tcp_out: true, pcp: false, nat_pmp: false, upnp: false };
    match kind {
        Kind::Public => Behaviour { v4: open(true), ..plain },
        Kind::Easy | Kind::Carrier => Behaviour { v4: replies_only(true), ..plain },
        Kind::Mapper => Behaviour { v4: replies_only(true), pcp: true, nat_pmp: true, upnp: true, ..plain },
        Kind::Cone => Behaviour { v4: open(false), ..plain },
        Kind::Hard => Behaviour { v4: replies_only(false), ..plain },
        Kind::Blocked => Behaviour { v4: Udp::Blocked, ..plain },
        Kind::V6 => {
            let firewall = Udp::Passes {
                own_address: true,
                same_port: true,
                steady: true,
                open: false,
                open_to_known: false,
            };
            Behaviour { v6: firewall, ..plain }
        }
    }
}

/// Builds a site of each kind and looks at it. Prints a line for each; fails when any is not what it claims to be.
pub(crate) fn run() -> Result<()> {
    const NAMES: [&str; 8] = ["s0", "s1", "s2", "s3", "s4", "s5", "s6", "s7"];
    let wanted: Vec<Wanted> =
        NAMES.into_iter().zip(KINDS).map(|(name, kind)| Wanted::new(name, kind)).collect();
    let world = World::new(&wanted, false)?;
    let mut wrong = 0;
    for site in world.sites() {
        let (seen, claimed) = (observe::site(&world, site)?, expected(site.kind));
        let verdict = if seen == claimed { "ok" } else { "NOT WHAT IT CLAIMS TO BE" };
        println!("{:<8} {verdict}: {seen}", site.kind);
        if seen != claimed {
            println!("{:<8} should be: {claimed}", "");
            wrong += 1;
        }
    }
    ensure!(wrong == 0, "{wrong} of {} kinds of router are not what they claim to be", KINDS.len());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lab::plan::Plan;
    use crate::lab::privilege;
    use crate::lab::rules::{self, Place};

    #[test]
    fn no_two_kinds_but_the_two_easy_ones_look_the_same() {
        for a in KINDS {
            for b in KINDS.into_iter().filter(|b| *b != a) {
                let alike = expected(a) == expected(b);
                assert_eq!(
                    alike,
                    [a, b].iter().all(|kind| matches!(kind, Kind::Easy | Kind::Carrier)),
                    "{a} {b}"
                );
            }
        }
    }

    /// Looks at a site that has the rules of another kind, and says what it looks like.
    fn disguised(kind: Kind, rules: &str) -> Behaviour {
        let mut plan = Plan::new(&[Wanted::new("a", kind)]);
        let edge = plan.nodes.iter_mut().find(|node| node.name == "a-nat").unwrap();
        edge.rules = rules.to_owned();
        let world = World::build(plan, false).unwrap();
        observe::site(&world, world.site("a")).unwrap()
    }

    #[test]
    fn a_router_that_is_not_what_it_claims_is_found_out() {
        if !privilege::can_make_worlds() {
            return;
        }
        for (claimed, real) in [
            (Kind::Hard, Kind::Easy),
            (Kind::Easy, Kind::Hard),
            (Kind::Cone, Kind::Easy),
            (Kind::Easy, Kind::Cone),
            (Kind::Blocked, Kind::Easy),
            (Kind::V6, Kind::Public),
        ] {
            let seen = disguised(claimed, &rules::of(real, Place::Edge));
            assert_ne!(seen, expected(claimed), "{real} passes for {claimed}");
        }
    }

    #[test]
    fn a_nasty_router_is_told_from_an_easy_one() {
        if !privilege::can_make_worlds() {
            return;
        }
        let nasty = rules::of(Kind::Easy, Place::Edge).replace("iifname \"wan\" ct state new drop", "");
        match disguised(Kind::Easy, &nasty).v4 {
            Udp::Passes { same_port: true, steady: false, open: false, .. } => {}
            other => panic!("an early probe should move its mapping: {other}"),
        }
    }

    #[test]
    fn every_router_is_what_it_claims_to_be() {
        if privilege::can_make_worlds() {
            run().unwrap();
        }
    }
}
