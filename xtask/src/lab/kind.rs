//! The eight ways in which a box of the lab hangs on the internet, and what a cell of two of them is.
//!
//! Names only: how a kind is built is `plan`'s and `rules`', what it has to look like from outside is `proof`'s.

use std::fmt;
use std::str::FromStr;

/// What stands between a box and the internet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Kind {
    /// No NAT, inbound allowed.
    Public,
    /// One mapping for all destinations (RFC 4787: endpoint-independent), replies only.
    Easy,
    /// The same with a server for PCP, NAT-PMP and UPnP.
    Mapper,
    /// One mapping for all destinations, and whoever knows it may use it.
    Cone,
    /// A mapping of its own, at a random port, for each destination.
    Hard,
    /// An easy NAT at home behind an easy NAT of the carrier.
    Carrier,
    /// UDP is dropped both ways, TCP goes out.
    Blocked,
    /// No IPv4 at all; a stateful firewall for IPv6, as home routers have.
    V6,
}

pub(crate) const KINDS: [Kind; 8] =
    [Kind::Public, Kind::Easy, Kind::Mapper, Kind::Cone, Kind::Hard, Kind::Carrier, Kind::Blocked, Kind::V6];

impl Kind {
    /// As it stands in docs/nat.md and on the command line.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Kind::Public => "public",
            Kind::Easy => "easy",
            Kind::Mapper => "pmp",
            Kind::Cone => "cone",
            Kind::Hard => "hard",
            Kind::Carrier => "cgnat",
            Kind::Blocked => "blocked",
            Kind::V6 => "v6",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Kind {
    type Err = String;

    fn from_str(text: &str) -> Result<Kind, String> {
        KINDS.into_iter().find(|kind| kind.name() == text).ok_or_else(|| {
            let names = KINDS.map(Kind::name).join(", ");
            format!("`{text}` is no kind of router: {names}")
        })
    }
}

/// Two boxes, each behind a router of its own. The first one joins first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Cell(pub(crate) Kind, pub(crate) Kind);

impl Cell {
    /// All 64, row by row.
    pub(crate) fn all() -> impl Iterator<Item = Cell> {
        KINDS.into_iter().flat_map(|a| KINDS.into_iter().map(move |b| Cell(a, b)))
    }
}

impl fmt::Display for Cell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!("{}:{}", self.0, self.1))
    }
}

impl FromStr for Cell {
    type Err = String;

    fn from_str(text: &str) -> Result<Cell, String> {
        let (a, b) = text.split_once(':').ok_or_else(|| format!("`{text}` is no cell, such as easy:hard"))?;
        Ok(Cell(a.parse()?, b.parse()?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cell_is_written_as_it_is_read() {
        assert_eq!("easy:hard".parse(), Ok(Cell(Kind::Easy, Kind::Hard)));
        assert!(Cell::all().all(|cell| cell.to_string().parse() == Ok(cell)));
        assert_eq!(Cell::all().count(), 64);
        let error = "easy:soft".parse::<Cell>().unwrap_err();
        assert!(error.contains("`soft`") && error.contains("cgnat"), "{error}");
    }
}
