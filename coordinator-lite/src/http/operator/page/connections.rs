//! The page of one box: how it stands, and a row for each peer that it reaches or reached.

use std::time::Duration;

use trust::UnixSeconds;
use wire::heartbeat::{Heartbeat, PathKind, PeerPath};

use super::super::connections::{Connection, Connections};
use super::{Escaped, megabytes, percent, seen, shell, state};
use crate::span;

pub(in super::super) fn whole(connections: &Connections, now: UnixSeconds) -> String {
    let view = &connections.view;
    let (_, state) = state(view);
    let places = view.heartbeat.as_ref().map_or(String::new(), places);
    let rows: String = connections.connections.iter().map(row).collect();
    let table = if rows.is_empty() {
        "<p>It has told of no path yet.</p>".to_owned()
    } else {
        format!(
            "<div class=\"wide\"><table class=\"cards\"><thead><tr><th>Peer<th>Path<th>Round trip<th>Handshake<th>Sent\
             <th>Received<th>7 days<th>30 days<th>Over</tr></thead><tbody>{rows}</tbody></table></div>"
        )
    };
    shell(&format!(
        "<main><p><a href=\"/operator\">All boxes</a></p><h1>{}</h1><p class=\"sum\">{state}, seen {}. There for \
         <strong>{}</strong> of 7 days and <strong>{}</strong> of 30.</p><p>{} on {}. Address {}.{places}</p>\
         <h2>Connections</h2>{table}<footer>Paths, times and bytes since the box started, as it told them {}. Days \
         count while either of the two tells of a path, since both came in.</footer></main>",
        view.name,
        seen(view, now),
        percent(view.uptime.days_7_milli),
        percent(view.uptime.days_30_milli),
        Escaped(&view.version),
        Escaped(&view.board),
        view.address,
        seen(view, now),
    ))
}

/// Where the box says that it can be reached.
fn places(heartbeat: &Heartbeat) -> String {
    let places: Vec<String> = heartbeat.endpoints.iter().map(ToString::to_string).collect();
    if places.is_empty() { String::new() } else { format!(" Reached at {}.", places.join(", ")) }
}

fn row(connection: &Connection) -> String {
    let name = match &connection.name {
        Some(name) => format!("<a href=\"/operator/box?name={name}\">{name}</a>"),
        None => "unknown".to_owned(),
    };
    let (class, kind) = kind(connection.path.as_ref());
    let path = connection.path.as_ref();
    let over = path.and_then(|path| path.endpoint).map(|endpoint| endpoint.to_string()).unwrap_or_default();
    let trip = path.and_then(|path| path.round_trip_ms).map(|ms| format!("{ms} ms")).unwrap_or_default();
    let age = path.and_then(|path| path.handshake_age_s);
    let age = age.map(|age| format!("{} ago", span::words(Duration::from_secs(age.into()))));
    let cells = [
        ("Path", kind.to_owned()),
        ("Round trip", trip),
        ("Handshake", age.unwrap_or_default()),
        ("Sent", megabytes(path.map_or(0, |path| path.sent_bytes))),
        ("Received", megabytes(path.map_or(0, |path| path.received_bytes))),
        ("7 days", percent(connection.uptime.days_7_milli)),
        ("30 days", percent(connection.uptime.days_30_milli)),
        ("Over", over),
    ];
    // On a phone a row is a card, whose cells have no heads above them.
    let cells: String = cells.map(|(head, cell)| format!("<td data-head=\"{head}\">{cell}")).concat();
    format!("<tr class=\"{class}\"><th scope=\"row\">{name}{cells}</tr>")
}

/// Its class and its name in words.
fn kind(path: Option<&PeerPath>) -> (&'static str, &'static str) {
    match path.map(|path| path.kind) {
        Some(PathKind::Direct) => ("good", "direct"),
        Some(PathKind::External) => ("good", "external network"),
        Some(PathKind::RelayedUdp) => ("warn", "through another box"),
        Some(PathKind::RelayedTls) => ("warn", "through this service"),
        Some(PathKind::Other) => ("warn", "of another kind"),
        Some(PathKind::None) => ("bad", "not reached"),
        None => ("past", "no peer any more"),
    }
}
