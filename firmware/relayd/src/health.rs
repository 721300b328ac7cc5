//! What is wrong with the box, for `/healthz` and its page.

use serve::{Health, HealthProblem};

use crate::publish::Roster;
use crate::pull::Pulls;

pub(crate) fn check(roster: &Roster, pulls: &Pulls) -> Health {
    let mut problems = Vec::new();
    let mut say = |code: &str, text: String| problems.push(HealthProblem { code: code.to_owned(), text });
    let publishing = roster.store().names().iter().any(|name| roster.slot(name).status.facts().publishing);
    if publishing && roster.packager().child().is_none() {
        say(
            "packager",
            "The packager is not running. It is started again by itself; if this stays, look at the log."
                .to_owned(),
        );
    }
    for live in roster.store().lives() {
        if live.trouble().is_some() && roster.slot(live.name()).status.facts().publishing {
            say(
                "stream",
                format!("The stream {} can't be served in full: see the streamer's page.", live.name()),
            );
        }
    }
    problems.extend(pulls.problems());
    Health { ok: problems.is_empty(), problems }
}
