//! `cargo xtask tidy`: holds the tree against the rules that no compiler knows.
//!
//! Each rule is a function from what is in the tree to breaches, with a test that plants one. All rules run, and all
//! breaches are shown at once, as `path:line: what is wrong`.

mod boards;
mod code;
mod exceptions;
mod imports;
mod manifests;
mod sources;
mod strangers;
mod tree;

use std::fmt;

use anyhow::{Result, bail};

use crate::command;
use exceptions::Exceptions;
use imports::{Graph, Table};
use tree::Tree;

/// One place where a rule is broken.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Breach {
    path: String,
    /// 0 when it is the file as a whole.
    line: usize,
    what: String,
}

impl Breach {
    fn in_file(path: &str, what: impl Into<String>) -> Breach {
        Breach { path: path.to_owned(), line: 0, what: what.into() }
    }

    fn on_line(path: &str, line: usize, what: impl Into<String>) -> Breach {
        Breach { path: path.to_owned(), line, what: what.into() }
    }
}

impl fmt::Display for Breach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => write!(f, "{}: {}", self.path, self.what),
            line => write!(f, "{}:{line}: {}", self.path, self.what),
        }
    }
}

pub(crate) fn run() -> Result<()> {
    let root = command::root();
    let tree = Tree::read(root)?;
    let table = Table::read(&root.join("imports.toml"))?;
    let exceptions = Exceptions::read(&root.join("xtask/tidy.toml"))?;
    let graph = Graph::read(root)?;
    let mut breaches = Vec::new();
    breaches.extend(imports::check(&table, &graph));
    breaches.extend(imports::check_cores(&table, &graph, &tree));
    breaches.extend(manifests::check(&table, &graph, &tree)?);
    breaches.extend(sources::check(&table, &exceptions, &tree));
    breaches.extend(strangers::check(&tree));
    breaches.extend(boards::check(&tree));
    breaches.sort();
    for breach in &breaches {
        println!("{breach}");
    }
    match breaches.len() {
        0 => {
            println!("tidy: {} files, {} rooms, nothing to say", tree.len(), graph.rooms.len());
            Ok(())
        }
        1 => bail!("tidy: 1 breach"),
        count => bail!("tidy: {count} breaches"),
    }
}
