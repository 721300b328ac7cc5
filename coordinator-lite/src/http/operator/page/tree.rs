//! Who carries a stream, and from whom each box takes which stripe: a row for each box, farther in for each hop.

use super::super::streams::{StreamView, TakeView, TreeView};
use super::percent;

/// Rows farther in than this look alike.
const HOPS_SHOWN: u8 = 6;

pub(super) fn whole(stream: &StreamView) -> String {
    if stream.tree.is_empty() {
        return String::new();
    }
    let rows: String = stream.tree.iter().map(row).collect();
    let friends = stream.from_boxes_milli.map_or(String::new(), |milli| {
        format!(
            " <strong>{}</strong> of what boxes take comes from boxes other than {}.",
            percent(milli),
            stream.owner
        )
    });
    let gives = stream.tree.iter().find(|view| view.name == stream.owner).map_or(0, |view| view.gives_bps);
    format!(
        "<h3>{}</h3><p class=\"sum\">{} viewers watch {} in all, and {} gives other boxes about {}.{friends}</p>\
         <div class=\"wide\"><table class=\"cards tree\"><thead><tr><th>Box<th>Takes<th>Gives<th>Line<th>Viewers</tr></thead>\
         <tbody>{rows}</tbody></table></div>",
        stream.name.as_str(),
        stream.viewers,
        megabits(stream.bitrate_bps.saturating_mul(stream.viewers)),
        stream.owner,
        megabits(gives),
    )
}

fn row(view: &TreeView) -> String {
    let (class, hops) = match view.hops {
        Some(hops) => (format!("hop{}", hops.min(HOPS_SHOWN)), hops),
        None => ("hop1 broken".to_owned(), 0),
    };
    let hops = match hops {
        0 => String::new(),
        1 => " <small>1 hop</small>".to_owned(),
        hops => format!(" <small>{hops} hops</small>"),
    };
    let takes: Vec<_> = view.takes.iter().map(take).collect();
    let takes = match (view.hops, takes.is_empty()) {
        (Some(0), _) => "publishes it".to_owned(),
        (_, true) => "nothing yet".to_owned(),
        (None, false) => format!("{} <small>(not all)</small>", takes.join(" ")),
        (Some(_), false) => takes.join(" "),
    };
    let gives = match view.gives {
        0 => String::new(),
        gives => format!("{gives} × stripe, about {}", megabits(view.gives_bps)),
    };
    let line = match (view.uplink_bps, view.sending_bps) {
        (None, 0) => String::new(),
        (None, sending) => format!("sends {}", megabits(sending)),
        (Some(uplink), 0) => megabits(uplink),
        (Some(uplink), sending) => format!("sends {} of {}", megabits(sending), megabits(uplink)),
    };
    let viewers = if view.viewers == 0 { String::new() } else { view.viewers.to_string() };
    let cells = [("Takes", takes), ("Gives", gives), ("Line", line), ("Viewers", viewers)];
    let cells = cells.map(|(head, cell)| format!("<td data-head=\"{head}\">{cell}")).concat();
    format!(
        "<tr class=\"{class}\"><th scope=\"row\"><a href=\"/operator/box?name={}\">{}</a>{hops}{cells}</tr>",
        view.name, view.name
    )
}

fn take(take: &TakeView) -> String {
    let stripes: String = take
        .stripes
        .iter()
        .map(|stripe| format!("<b class=\"s{}\">{}</b>", stripe % 4, stripe + 1))
        .collect();
    format!("<span class=\"take\">{stripes} {}</span>", take.parent)
}

fn megabits(bps: u64) -> String {
    format!("{}.{} Mbit/s", bps / 1_000_000, bps % 1_000_000 / 100_000)
}
