//! What docs/nat.md promises: the type of path in each cell, and how common each kind of router is.
//!
//! The page is the only place where this stands. A table with a hole, a wrong word or two halves that disagree is an
//! error, so that the page stays readable by both.

use std::collections::BTreeMap;
use std::fmt;

use anyhow::{Context as _, Result, anyhow, ensure};

use super::kind::{Cell, KINDS, Kind};
use super::meter::PathType;
use crate::command;

/// Who else is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, clap::ValueEnum)]
pub(crate) enum Company {
    /// The two boxes have only the coordinator.
    Alone,
    /// A third box has public addresses of both families.
    Carol,
}

impl Company {
    fn heading(self) -> &'static str {
        match self {
            Company::Alone => "## Two boxes alone",
            Company::Carol => "## With a third box that anybody can reach",
        }
    }
}

impl fmt::Display for Company {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Company::Alone => "alone",
            Company::Carol => "with carol",
        })
    }
}

const WEIGHTS: &str = "## How common they are";

/// Shares of kinds in percent, under the name of their column.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Weights {
    pub(crate) name: String,
    pub(crate) percent: BTreeMap<Kind, u32>,
}

#[derive(Clone, Debug)]
pub(crate) struct Expectation {
    paths: BTreeMap<(Company, Cell), PathType>,
    pub(crate) weights: Vec<Weights>,
}

impl Expectation {
    pub(crate) fn read() -> Result<Expectation> {
        let path = command::root().join("docs/nat.md");
        let text = std::fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
        Expectation::parse(&text).context("docs/nat.md")
    }

    pub(crate) fn path(&self, company: Company, cell: Cell) -> PathType {
        // Parsing leaves no cell out.
        self.paths[&(company, cell)]
    }

    fn parse(page: &str) -> Result<Expectation> {
        let mut paths = BTreeMap::new();
        for company in [Company::Alone, Company::Carol] {
            let table = Table::under(page, company.heading())?;
            for cell in Cell::all() {
                let word = table.at(cell.0.name(), cell.1.name())?;
                let path = word.parse().map_err(|error: String| anyhow!("{cell} {company}: {error}"))?;
                paths.insert((company, cell), path);
            }
            for cell in Cell::all() {
                let mirrored = Cell(cell.1, cell.0);
                let same = paths[&(company, cell)] == paths[&(company, mirrored)];
                ensure!(same, "{company}, {cell} and {mirrored} disagree");
            }
        }
        let weights = weights(&Table::under(page, WEIGHTS)?)?;
        Ok(Expectation { paths, weights })
    }
}

fn weights(table: &Table<'_>) -> Result<Vec<Weights>> {
    let columns = table.head.iter().skip(1).filter(|name| name.ends_with('%'));
    let weights = columns.map(|column| {
        let share = |kind: Kind| {
            let word = table.at(kind.name(), column)?;
            let percent = word.parse::<u32>().with_context(|| format!("{kind}, {column}: `{word}`"))?;
            Ok((kind, percent))
        };
        let percent = KINDS.into_iter().map(share).collect::<Result<BTreeMap<_, _>>>()?;
        let sum: u32 = percent.values().sum();
        ensure!(sum == 100, "the shares of {column} add up to {sum}");
        Ok(Weights { name: column.trim_end_matches(", %").to_owned(), percent })
    });
    let weights = weights.collect::<Result<Vec<_>>>()?;
    ensure!(!weights.is_empty(), "no column of shares");
    Ok(weights)
}

/// A table of Markdown, with names in its first row and column.
struct Table<'a> {
    head: Vec<&'a str>,
    rows: Vec<Vec<&'a str>>,
}

impl<'a> Table<'a> {
    fn under(page: &'a str, heading: &str) -> Result<Table<'a>> {
        let lines = page.lines().skip_while(|line| *line != heading).skip(1);
        let section = lines.take_while(|line| !line.starts_with("## "));
        let table =
            section.skip_while(|line| !line.starts_with('|')).take_while(|line| line.starts_with('|'));
        let cells = |line: &'a str| line.trim_matches('|').split('|').map(str::trim).collect::<Vec<_>>();
        let mut rows = table.map(cells);
        let head = rows.next().with_context(|| format!("no table under `{heading}`"))?;
        Ok(Table { head, rows: rows.skip(1).collect() })
    }

    fn at(&self, row: &str, column: &str) -> Result<&'a str> {
        let index = self.head.iter().position(|name| *name == column);
        let index = index.with_context(|| format!("no column {column}"))?;
        let found = self.rows.iter().find(|cells| cells.first() == Some(&row));
        let found = found.with_context(|| format!("no row {row}"))?;
        found.get(index).copied().with_context(|| format!("row {row} is too short for {column}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page() -> String {
        std::fs::read_to_string(command::root().join("docs/nat.md")).unwrap()
    }

    #[test]
    fn the_page_is_whole() {
        let expectation = Expectation::read().unwrap();
        let path = |company, cell: &str| expectation.path(company, cell.parse().unwrap());
        assert_eq!(path(Company::Alone, "easy:hard"), PathType::Direct);
        assert_eq!(path(Company::Alone, "hard:hard"), PathType::RelayedTls);
        assert_eq!(path(Company::Carol, "hard:hard"), PathType::RelayedUdp);
        assert_eq!(path(Company::Carol, "v6:easy"), PathType::RelayedUdp);
        assert_eq!(path(Company::Carol, "blocked:public"), PathType::RelayedTls);
    }

    #[test]
    fn a_page_with_a_slip_is_refused() {
        let page = page();
        let slip = |from: &str, to: &str| Expectation::parse(&page.replacen(from, to, 1)).unwrap_err();
        let error = format!("{:#}", slip("| public | direct |", "| public | dirct |"));
        assert!(error.contains("`dirct` is no type of path"), "{error}");
        let error = format!("{:#}", slip("| easy | direct |", "| easy | relayed-udp |"));
        assert!(error.contains("disagree"), "{error}");
        let error = format!("{:#}", slip(WEIGHTS, "## Something else"));
        assert!(error.contains("no table under"), "{error}");
    }
}
