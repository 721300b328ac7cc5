//! What nftables does in each router: one table that is the router, one that only counts.
//!
//! Pure text. The interface towards the internet is `wan`, the one towards the box is `lan`.

use super::kind::Kind;

/// Where miniupnpd writes its rules, and we jump to them.
pub(crate) const MAPPER_TABLE: &str = "router";
pub(crate) const MAPPER_FORWARD: &str = "mapped";
pub(crate) const MAPPER_IN: &str = "mapped_in";
pub(crate) const MAPPER_OUT: &str = "mapped_out";

/// A router's place: the one that has the public address, or the one at home behind a carrier.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    Edge,
    Home,
}

/// The whole ruleset of a router.
pub(crate) fn of(kind: Kind, place: Place) -> String {
    let router = match kind {
        Kind::Public => PUBLIC.to_owned(),
        Kind::Easy | Kind::Carrier => easy("", ""),
        Kind::Mapper => mapper(),
        Kind::Cone => cone(),
        Kind::Hard => easy("", "").replace("masquerade persistent", "masquerade fully-random"),
        Kind::Blocked => easy("", "meta l4proto udp drop\n"),
        Kind::V6 => V6.to_owned(),
    };
    match place {
        Place::Edge => format!("{router}{METER}"),
        Place::Home => router,
    }
}

const PUBLIC: &str = "table inet router {
  chain forward {
    type filter hook forward priority filter; policy accept;
  }
}
";

/// RFC 4787: endpoint-independent mapping, address- and port-dependent filtering. Without the drop of what nobody asked
/// for, a probe that comes too early would take the port in the kernel's table and move the mapping.
fn easy(before: &str, first: &str) -> String {
    format!(
        "table inet router {{
{before}  chain input {{
    type filter hook input priority filter; policy accept;
    iifname \"wan\" ct state new drop
  }}
  chain forward {{
    type filter hook forward priority filter; policy drop;
    {first}ct state established,related accept
    iifname \"lan\" accept
    ct status dnat accept
  }}
  chain postrouting {{
    type nat hook postrouting priority srcnat;
    oifname \"wan\" masquerade persistent
  }}
}}
"
    )
}

/// Each UDP mapping that goes out is remembered, and anyone may come in by it. Ports are kept on the way out, since only
/// one box stands behind each router.
fn cone() -> String {
    let before = "  map mapping {
    type inet_service : ipv4_addr . inet_service
    size 4096
    flags dynamic,timeout
    timeout 2m
  }
  chain prerouting {
    type nat hook prerouting priority dstnat;
    iifname \"wan\" meta l4proto udp dnat ip to udp dport map @mapping
  }
";
    let remember = "oifname \"wan\" meta l4proto udp update @mapping { udp sport : ip saddr . udp sport }
    oifname \"wan\" masquerade persistent";
    easy(before, "").replace("oifname \"wan\" masquerade persistent", remember)
}

fn mapper() -> String {
    let before = format!(
        "  chain {MAPPER_FORWARD} {{ }}
  chain {MAPPER_IN} {{ }}
  chain {MAPPER_OUT} {{ }}
  chain prerouting {{
    type nat hook prerouting priority dstnat;
    iifname \"wan\" jump {MAPPER_IN}
  }}
"
    );
    let out = format!("oifname \"wan\" jump {MAPPER_OUT}\n    oifname \"wan\" masquerade persistent");
    easy(&before, &format!("jump {MAPPER_FORWARD}\n    "))
        .replace("oifname \"wan\" masquerade persistent", &out)
}

/// RFC 6092 with the filter that home routers really have: what nobody asked for stays outside.
const V6: &str = "table inet router {
  chain input {
    type filter hook input priority filter; policy accept;
    icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert } accept
    iifname \"wan\" ct state new drop
  }
  chain forward {
    type filter hook forward priority filter; policy drop;
    meta protocol ip drop
    ct state established,related accept
    iifname \"lan\" accept
  }
}
";

/// Counts what is really forwarded, by the address at the far end: after the router's own filter, so that what it drops
/// does not count. NAT has not yet been done on the way out and has been undone on the way in, so the far end's address
/// is the public one.
const METER: &str = "table inet tally {
  set out4 { type ipv4_addr . inet_proto; size 4096; flags dynamic; counter; }
  set in4 { type ipv4_addr . inet_proto; size 4096; flags dynamic; counter; }
  set out6 { type ipv6_addr . inet_proto; size 4096; flags dynamic; counter; }
  set in6 { type ipv6_addr . inet_proto; size 4096; flags dynamic; counter; }
  chain forward {
    type filter hook forward priority filter + 10; policy accept;
    oifname \"wan\" meta protocol ip update @out4 { ip daddr . meta l4proto }
    iifname \"wan\" meta protocol ip update @in4 { ip saddr . meta l4proto }
    oifname \"wan\" meta protocol ip6 update @out6 { ip6 daddr . meta l4proto }
    iifname \"wan\" meta protocol ip6 update @in6 { ip6 saddr . meta l4proto }
  }
}
";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lab::kind::KINDS;

    #[test]
    fn every_edge_counts_and_no_home_router_does() {
        for kind in KINDS {
            assert_eq!(of(kind, Place::Edge).matches("table inet tally").count(), 1, "{kind}");
            assert_eq!(of(kind, Place::Home).matches("table inet tally").count(), 0, "{kind}");
        }
    }

    #[test]
    fn kinds_differ_where_they_should() {
        let has = |kind, text: &str| of(kind, Place::Edge).contains(text);
        assert!(has(Kind::Easy, "masquerade persistent") && !has(Kind::Easy, "fully-random"));
        assert!(has(Kind::Hard, "fully-random") && !has(Kind::Hard, "persistent"));
        assert!(has(Kind::Blocked, "meta l4proto udp drop") && !has(Kind::Easy, "udp"));
        assert!(has(Kind::Cone, "update @mapping") && has(Kind::Cone, "masquerade persistent"));
        assert!(has(Kind::Mapper, "jump mapped_out") && has(Kind::Mapper, "jump mapped\n"));
        assert!(!has(Kind::Public, "masquerade") && !has(Kind::V6, "masquerade"));
    }
}
