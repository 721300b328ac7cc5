//! Requests that must be refused (RFC 8216bis 6.2.5.2), and what the next one to wait for is.

use std::time::Duration;

use crate::lint::fetch::{Client, with_query};
use crate::lint::m3u8::{Breach, MediaPlaylist};
use crate::lint::rule::Rule;

/// A refusal comes at once.
const PATIENCE: Duration = Duration::from_secs(3);
/// Far enough ahead that a playlist which grows meanwhile does not reach it.
const FAR: u64 = 50;

/// What a client asks for next: media sequence number, and part index if there are parts.
pub(crate) fn next(playlist: &MediaPlaylist) -> (u64, Option<u64>) {
    let part = playlist.part_target.map(|_| playlist.open_parts.len() as u64);
    (playlist.next_msn(), part)
}

pub(crate) fn query((msn, part): (u64, Option<u64>)) -> String {
    let part = part.map_or(String::new(), |part| format!("&_HLS_part={part}"));
    format!("_HLS_msn={msn}{part}")
}

/// Whether a playlist has what was asked for.
pub(crate) fn answers(playlist: &MediaPlaylist, (msn, part): (u64, Option<u64>)) -> bool {
    let next = playlist.next_msn();
    let in_open = part.is_some_and(|part| next == msn && playlist.open_parts.len() as u64 > part);
    playlist.ended || next > msn || in_open
}

/// Asks for what can't be given soon, and expects 400 each time.
pub(crate) fn check_refusals(client: &Client, url: &str, playlist: &MediaPlaylist) -> Vec<Breach> {
    let next = playlist.next_msn();
    let mut cases = vec![
        (Rule::PartWithoutMsn, "_HLS_part=0".to_owned()),
        (Rule::FarMsn, format!("_HLS_msn={}", next.saturating_add(FAR))),
    ];
    if let Some(part_target) = playlist.part_target.filter(|target| *target > 0.0) {
        let limit = if part_target < 1.0 { (3.0 / part_target) as u64 } else { 3 };
        let part = playlist.open_parts.len() as u64 + limit + FAR;
        cases.push((Rule::FarPart, format!("_HLS_msn={}&_HLS_part={part}", next.saturating_add(1))));
    }
    let mut out = Vec::new();
    for (rule, query) in cases {
        match client.get(&with_query(url, &query), PATIENCE) {
            Ok(response) if response.status == 400 => {}
            Ok(response) => out.push(Breach::new(rule, format!("?{query} got {}", response.status))),
            Err(_) => {
                out.push(Breach::new(rule, format!("?{query} got no answer in {} s", PATIENCE.as_secs())));
            }
        }
    }
    out
}
