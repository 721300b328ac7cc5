//! The operator's page as HTML. Whatever comes from boxes is escaped; the script only fetches the page again.

pub(super) mod connections;
mod tree;

use std::fmt::{self, Write as _};
use std::time::Duration;

use trust::UnixSeconds;
use wire::heartbeat::PathKind;

use super::streams::StreamView;
use super::{BoxView, Overview, Stand};
use crate::span;

struct Escaped<'a>(&'a str);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for c in self.0.chars() {
            match c {
                '&' => f.write_str("&amp;")?,
                '<' => f.write_str("&lt;")?,
                '>' => f.write_str("&gt;")?,
                '"' => f.write_str("&quot;")?,
                '\'' => f.write_str("&#39;")?,
                c => f.write_char(c)?,
            }
        }
        Ok(())
    }
}

fn shell(main: &str) -> String {
    format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>Relaybox coordinator</title>\n\
         <meta name=\"viewport\" content=\"width=device-width\"><meta name=\"color-scheme\" content=\"light dark\">\n\
         <link rel=\"stylesheet\" href=\"/operator/page.css\">\n\
         <script src=\"/operator/page.js\" defer></script></head>\n<body>{main}</body></html>\n"
    )
}

/// For who is not known to be the operator.
pub(super) fn locked() -> String {
    shell(
        "<main data-locked><h1>Relaybox coordinator</h1>\
         <p>Open this page on the coordinator's own machine, or give the operator's token: it is in the file \
         <code>operator-token</code> in the data directory.</p>\
         <form><label>Token <input type=\"password\" name=\"token\" autocomplete=\"off\"></label> \
         <button>Open</button></form><p id=\"wrong\" role=\"alert\"></p></main>",
    )
}

pub(super) fn overview(overview: &Overview, streams: &[StreamView]) -> String {
    let mut main = String::new();
    // Writing into a string never fails.
    let mut write = |text: fmt::Arguments<'_>| main.push_str(&text.to_string());
    let there = overview.boxes.iter().filter(|view| view.connected).count();
    write(format_args!(
        "<main><h1>Relaybox coordinator</h1><p class=\"sum\"><strong>{there}</strong> of {} boxes are connected, \
         <strong>{}</strong> streams are live.</p>",
        overview.boxes.len(),
        streams.len()
    ));
    for name in &overview.evidence {
        write(format_args!(
            "<p class=\"bad\" role=\"alert\">The invite for {name} brought in more boxes than it is for. Talk to \
             {name}, and then: <code>coordinator-lite box revoke {name}</code></p>"
        ));
    }
    let left = overview.certificate_ends.since(overview.now);
    if left < Duration::from_secs(60 * 86_400) {
        write(format_args!(
            "<p class=\"bad\" role=\"alert\">The root's word for this service ends at {}: \
             <code>coordinator-lite certify</code></p>",
            overview.certificate_ends
        ));
    }
    let (boxes, viewers) = (boxes(overview), viewers(overview));
    write(format_args!("{boxes}{}{viewers}{}", live(streams), invites(overview)));
    write(format_args!(
        "<footer>Mesh {}. Root {}. As of {}.</footer></main>",
        overview.mesh, overview.root_fingerprint, overview.now
    ));
    shell(&main)
}

fn boxes(overview: &Overview) -> String {
    let mut rows = String::new();
    for view in &overview.boxes {
        rows.push_str(&row(view, overview.now));
    }
    if rows.is_empty() {
        rows.push_str(
            "<tr><td colspan=\"10\">None yet: <code>coordinator-lite invite --name NAME</code></td></tr>",
        );
    }
    format!(
        "<h2>Boxes</h2><div class=\"wide\"><table><thead><tr><th>Name<th>State<th>Seen<th>7 days<th>30 days\
         <th>Version<th>Board<th>Load<th>Paths<th>Relayed</tr></thead><tbody>{rows}</tbody></table></div>"
    )
}

/// Its class, and in words.
fn state(view: &BoxView) -> (&'static str, &'static str) {
    match (view.state, view.connected) {
        (Stand::Revoked, _) => ("off", "revoked"),
        (Stand::Lapsed, _) => ("bad", "membership ended"),
        (Stand::Grace, _) => ("warn", "in grace"),
        (Stand::Member, true) => ("good", "connected"),
        (Stand::Member, false) => ("warn", "away"),
    }
}

fn seen(view: &BoxView, now: UnixSeconds) -> String {
    view.seen.map_or("never".to_owned(), |seen| format!("{} ago", span::words(now.since(seen))))
}

fn row(view: &BoxView, now: UnixSeconds) -> String {
    let (class, state) = state(view);
    let seen = seen(view, now);
    let beat = view.heartbeat.as_ref();
    let load = beat.map_or(String::new(), |beat| {
        let load = format!("{}.{:02}", beat.load_milli / 1000, beat.load_milli % 1000 / 10);
        match beat.temperature_milli_c {
            Some(milli) => format!("{load}, {} °C", milli / 1000),
            None => load,
        }
    });
    let paths = beat.map_or(String::new(), |beat| {
        let direct = beat.paths.iter().filter(|path| path.kind == PathKind::Direct).count();
        match beat.paths.len() {
            0 => String::new(),
            all => format!("{direct} of {all} direct"),
        }
    });
    let relayed = megabytes(view.relayed.sent_bytes.saturating_add(view.relayed.received_bytes));
    format!(
        "<tr class=\"{class}\"><th scope=\"row\"><a href=\"/operator/box?name={}\" title=\"{}\">{}</a><td>{state}<td>{seen}\
         <td>{}<td>{}<td>{}<td>{}<td>{load}<td>{paths}<td>{relayed}</tr>",
        view.name,
        view.address,
        view.name,
        percent(view.uptime.days_7_milli),
        percent(view.uptime.days_30_milli),
        Escaped(&view.version),
        Escaped(&view.board),
    )
}

/// Nothing for nothing.
fn megabytes(bytes: u64) -> String {
    match bytes {
        0 => String::new(),
        _ => format!("{}.{} MB", bytes / 1_000_000, bytes % 1_000_000 / 100_000),
    }
}

fn percent(milli: u32) -> String {
    format!("{}.{} %", milli / 10, milli % 10)
}

fn live(streams: &[StreamView]) -> String {
    let mut rows = String::new();
    for stream in streams {
        let carried: Vec<&str> = stream.carried_by.iter().map(trust::Name::as_str).collect();
        rows.push_str(&format!(
            "<tr><th scope=\"row\">{}<td>{}<td>{}<td>{} kbit/s<td>{}<td>{}</tr>",
            stream.name.as_str(),
            stream.owner,
            stream.live_since,
            stream.bitrate_bps / 1000,
            stream.viewers,
            carried.join(", ")
        ));
    }
    if rows.is_empty() {
        return "<h2>Streams</h2><p>None is live.</p>".to_owned();
    }
    let trees: String = streams.iter().map(tree::whole).collect();
    format!(
        "<h2>Streams</h2><div class=\"wide\"><table><thead><tr><th>Name<th>Owner<th>Since<th>Bitrate<th>Viewers\
         <th>Carried by</tr></thead><tbody>{rows}</tbody></table></div>{trees}"
    )
}

fn viewers(overview: &Overview) -> String {
    let mut rows = String::new();
    for viewer in &overview.viewers {
        let (class, state) = if viewer.revoked { ("off", "revoked") } else { ("good", "may watch") };
        rows.push_str(&format!(
            "<tr class=\"{class}\"><th scope=\"row\">{}<td>{state}<td>{}<td>{} left<td>{}<td>{}</tr>",
            viewer.name,
            viewer.gateway.as_ref().map_or("unknown", trust::Name::as_str),
            span::words(viewer.expires.since(overview.now)),
            viewer.address_v4,
            viewer.address
        ));
    }
    if rows.is_empty() {
        return String::new();
    }
    format!(
        "<h2>Viewers</h2><div class=\"wide\"><table><thead><tr><th>Name<th>State<th>Through<th>Time<th>IPv4<th>IPv6\
         </tr></thead><tbody>{rows}</tbody></table></div>"
    )
}

fn invites(overview: &Overview) -> String {
    let mut rows = String::new();
    let open = overview.invites.iter().filter(|invite| invite.used.is_none() && !invite.revoked);
    for invite in open.filter(|invite| invite.expires > overview.now) {
        let left = span::words(invite.expires.since(overview.now));
        rows.push_str(&format!(
            "<li>{}: {} of {} used, {left} left</li>",
            invite.name, invite.uses, invite.boxes
        ));
    }
    if rows.is_empty() { String::new() } else { format!("<h2>Open invites</h2><ul>{rows}</ul>") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_boxes_say_is_never_markup() {
        assert_eq!(Escaped("<a href='x'>&\"").to_string(), "&lt;a href=&#39;x&#39;&gt;&amp;&quot;");
    }
}
