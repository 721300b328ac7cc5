//! What `relayd doctor` says: each point with what to do about it, in plain words. Plain functions.

use std::fmt;

use mesh::Nat;
use trust::{MembershipState, UnixSeconds};
use wire::heartbeat::PathKind;

use crate::control::kept::Kept;
use crate::network::standing::Standing;

/// One point.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Finding {
    Good(String),
    /// What is wrong, and what to do.
    Wrong(String, &'static str),
}

impl Finding {
    pub(super) fn is_wrong(&self) -> bool {
        matches!(self, Self::Wrong(..))
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Good(what) => write!(f, "ok     {what}"),
            Self::Wrong(what, todo) => write!(f, "wrong  {what}\n       {todo}"),
        }
    }
}

pub(super) fn findings(kept: Option<&Kept>, standing: Option<&Standing>, now: UnixSeconds) -> Vec<Finding> {
    let Some(kept) = kept else {
        let todo = "Ask the operator for an invite, then: relayd join INVITE";
        return vec![Finding::Wrong("this box belongs to no mesh".to_owned(), todo)];
    };
    let mut findings = vec![membership(kept, now)];
    let Some(standing) = standing else {
        let todo = "Start it: systemctl start relayd, or relayd run";
        findings.push(Finding::Wrong(
            "the daemon does not run, or has no network to its friends".to_owned(),
            todo,
        ));
        return findings;
    };
    if standing.external {
        findings.push(network(standing));
    } else {
        findings.push(router(standing.router));
        findings.push(match standing.relay {
            true => Finding::Good("the coordinator's relay is connected".to_owned()),
            false => Finding::Wrong(
                format!("the coordinator's relay at {} is not connected", kept.url),
                "Peers that are reached straight go on. Is the internet there, and the coordinator on?",
            ),
        });
    }
    findings.extend(standing.peers.iter().map(|peer| match (peer.kind, &peer.why_not) {
        (PathKind::None, _) => Finding::Wrong(
            format!("{} is not reached", peer.name),
            "Is that box on, and in the mesh? Its own relayd doctor says more.",
        ),
        (_, Some(why)) => Finding::Good(format!("{} is reached {}: {why}", peer.name, peer.path)),
        (_, None) => Finding::Good(format!("{} is reached {}", peer.name, peer.path)),
    }));
    findings
}

fn membership(kept: &Kept, now: UnixSeconds) -> Finding {
    let membership = kept.membership.claims();
    match membership.state(now) {
        _ if kept.is_revoked() => Finding::Wrong(
            "the mesh's root took this box out".to_owned(),
            "Ask the operator for another invite.",
        ),
        MembershipState::Early => Finding::Wrong(
            format!("the membership begins only at {}", membership.issued),
            "This board's clock is behind: it is put right when the coordinator answers.",
        ),
        MembershipState::Fresh | MembershipState::Renew => {
            Finding::Good(format!("a member until {}", membership.expires()))
        }
        MembershipState::Grace => Finding::Wrong(
            format!("the membership expired; peers take it until {}", membership.lapses()),
            "The coordinator has not answered for weeks. Ask its operator.",
        ),
        MembershipState::Lapsed => Finding::Wrong(
            format!("the membership ended at {}", membership.lapses()),
            "Ask the operator for another invite.",
        ),
    }
}

/// One that is not ours to mend.
fn network(standing: &Standing) -> Finding {
    let interface = &standing.interface;
    if standing.endpoints.is_empty() {
        let todo = "Bring that network up (Tailscale, Headscale, wg-quick), or name its interface in the settings: mesh.interface";
        Finding::Wrong(format!("there is no interface {interface}, or it has no address"), todo)
    } else {
        Finding::Good(format!("the network on {interface} is there"))
    }
}

fn router(nat: Nat) -> Finding {
    match nat {
        Nat::Unknown => Finding::Wrong(
            "what the router does is not known yet".to_owned(),
            "Wait a minute; if it stays so, the coordinator does not answer STUN (UDP 3478, 3479).",
        ),
        Nat::Blocked => Finding::Wrong(
            "no UDP comes through: everything goes through the coordinator".to_owned(),
            "Allow outgoing UDP in the router or firewall.",
        ),
        Nat::Hard => Finding::Wrong(
            "the router takes another port for each destination".to_owned(),
            "Turn on UPnP or NAT-PMP, or forward UDP port 7466 to this box; without it some friends need a relay.",
        ),
        Nat::Easy | Nat::Open => Finding::Good(format!("the router here: {nat}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hard_router_is_named_with_what_to_change() {
        let finding = router(Nat::Hard);
        assert!(finding.is_wrong());
        assert!(finding.to_string().contains("Turn on UPnP or NAT-PMP"));
        assert!(!router(Nat::Easy).is_wrong());
    }

    #[test]
    fn without_a_mesh_the_first_step_is_said() {
        let findings = findings(None, None, UnixSeconds::new(0));
        assert_eq!(findings.len(), 1);
        assert!(findings[0].to_string().contains("relayd join INVITE"));
    }
}
