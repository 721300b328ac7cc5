//! Five hundred viewers ask a box for the same live part that it does not have: what goes over its line is one fetch, by
//! the packets that it sends and gets, and everybody has the same bytes.

use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};

use super::broadcast::{self, Broadcast, Place};
use super::{Report, Scene};
use crate::command;
use crate::lab::carry::circle::HTTP_PORT;
use crate::lab::crowd::{self, Got};
use crate::lab::house::BOX_PORT;
use crate::lab::kind::Kind;
use crate::lab::meter;
use crate::lab::plan::Wanted;
use crate::lab::world::World;
use crate::viewer::playlist;

const BOXES: [Wanted; 2] = [Wanted::new("ana", Kind::Public), Wanted::new("bob", Kind::Easy)];
const VIEWERS: usize = 500;
/// What the bench publishes.
const STREAM_KBPS: u32 = 2500;
/// How long a stream may take until its origin has a playlist, and a part until it is at the other box.
const PICTURE_LIMIT: Duration = Duration::from_secs(40);
const ANSWER_LIMIT: Duration = Duration::from_secs(15);
/// Parts of which the origin's playlist is waited for one after the other: from then on it cuts each at its time.
const WARM_PARTS: usize = 10;
/// The newest part is this one of its segment: a box begins with the newest segment of which there are some parts, and the
/// part must not be before that when it is asked for a moment later.
const ASKED_PART: u32 = 3;
/// Parts that are waited for until it is that one.
const PARTS_MAX: usize = 100;
/// What may be around the bytes of media: heads of frames, of TCP and IP, items with their signatures.
const AROUND_PERCENT: u64 = 25;

pub(super) fn cold_crowd(scene: &Scene<'_>, report: &mut Report) -> Result<()> {
    let world = World::new(&BOXES, scene.keep).context("the world")?;
    let mut broadcast = Broadcast::open(scene, &world, None, None).context("the boxes")?;
    let before = report.failures();
    let stream = broadcast::stream("ana");
    broadcast.publish("ana", STREAM_KBPS)?;
    let from = Place { world: &world, name: "ana", stream: &stream };
    let to = Place { world: &world, name: "bob", stream: &stream };
    let line = Line::watch(&world)?;
    warm(&from, scene).context("the origin")?;
    // Connected before the part is chosen: to let five hundred in takes longer than a part is new.
    let [early, late] = [gather(&to)?, gather(&to)?];
    let newest = newest(&from).context("the origin")?;
    let part = newest.parts.last().context("a playlist without parts")?.uri.clone();
    let got = ask(&to, &early, &part)?;
    judge("a box that has never heard of the stream", &got, Some(&from.fetch(&part)?), report);
    let hinted = hinted(&to.playlist("")?.1)?;
    let got = ask(&to, &late, &hinted)?;
    judge("a part that is yet to be made", &got, Some(&from.fetch(&hinted)?), report);
    let (opened, came) = line.read()?;
    let held = held(&to)?;
    report.find(opened == 1, format!("bob opened {opened} connection to other boxes for all of it"));
    let fits = held > 0 && came <= held * (100 + AROUND_PERCENT) / 100;
    let text =
        format!("{} kB came to bob from there, which then had {} kB of media", came / 1000, held / 1000);
    report.find(fits, text);
    if report.failures() > before {
        report.remark.push_str(&broadcast.logs());
    }
    Ok(())
}

/// Five hundred viewers in a house.
fn gather(place: &Place<'_>) -> Result<Vec<TcpStream>> {
    let host = place.world.namespace(&place.world.site(place.name).host);
    host.inside(|| crowd::gather(SocketAddr::from(([127, 0, 0, 1], HTTP_PORT)), VIEWERS))
}

/// All of them ask for the same.
fn ask(place: &Place<'_>, crowd: &[TcpStream], file: &str) -> Result<Vec<Got>> {
    crowd::ask(crowd, &format!("/live/{}/{file}", place.stream), ANSWER_LIMIT)
}

/// Bytes of all parts that the box lists, as they can be had there.
fn held(place: &Place<'_>) -> Result<u64> {
    let parts = playlist::media(&place.playlist("")?.1).parts;
    parts.iter().map(|part| Ok(place.fetch(&part.uri)?.len() as u64)).sum()
}

/// Waits until the origin cuts each part at its time, as it does once somebody wants that.
fn warm(origin: &Place<'_>, scene: &Scene<'_>) -> Result<()> {
    let begun = || origin.playlist("").is_ok_and(|(_, text)| !playlist::media(&text).parts.is_empty());
    ensure!(scene.stop.wait_until(PICTURE_LIMIT, begun), "no playlist at {}", origin.name);
    let first = playlist::media(&origin.playlist("")?.1);
    (0..WARM_PARTS).try_fold(first, |media, _| next(origin, &media)).map(drop)
}

/// The origin's playlist, once its newest part is the one that is asked for.
fn newest(origin: &Place<'_>) -> Result<playlist::Media> {
    let mut media = playlist::media(&origin.playlist("")?.1);
    for _ in 0..PARTS_MAX {
        media = next(origin, &media)?;
        if media.next.part == ASKED_PART + 1 {
            return Ok(media);
        }
    }
    anyhow::bail!("no segment of more than {ASKED_PART} parts")
}

/// What the playlist says when it has one more part.
fn next(origin: &Place<'_>, media: &playlist::Media) -> Result<playlist::Media> {
    let query = format!("?_HLS_msn={}&_HLS_part={}", media.next.msn, media.next.part);
    Ok(playlist::media(&origin.playlist(&query)?.1))
}

/// The part that comes next, as the playlist says.
fn hinted(text: &str) -> Result<String> {
    let line = text.lines().find_map(|line| line.strip_prefix("#EXT-X-PRELOAD-HINT:"));
    let uri = line.and_then(|line| line.split_once("URI=\"")?.1.split('"').next());
    Ok(uri.with_context(|| format!("no part is hinted in: {text}"))?.to_owned())
}

fn judge(what: &str, got: &[Got], expected: Option<&Vec<u8>>, report: &mut Report) {
    let right = got.iter().filter(|got| got.status == 200 && Some(&got.body) == expected).count();
    let odd = got.iter().find(|got| got.status != 200);
    let odd = odd.map(|got| format!(": {} {}", got.status, String::from_utf8_lossy(&got.body)));
    let bytes = expected.map_or(0, Vec::len);
    report.find(
        right == VIEWERS,
        format!(
            "{what}: {right} of {VIEWERS} viewers have its {bytes} bytes as the origin has them{}",
            odd.unwrap_or_default()
        ),
    );
    let ms = |time: Duration| time.as_secs_f64() * 1000.0;
    let fetch = got.iter().map(|got| got.first_byte).min().unwrap_or_default();
    let wait = got.iter().map(|got| got.first_byte).max().unwrap_or_default();
    let whole = got.iter().map(|got| got.whole).max().unwrap_or_default();
    let asked = got.iter().map(|got| got.asked).max().unwrap_or_default();
    println!(
        "    {what}: all asked within {:.0} ms; the fetch took {:.0} ms; the last one had the first byte {:.1} ms after \
         it, and the last byte {:.1} ms after it",
        ms(asked),
        ms(fetch),
        ms(wait - fetch),
        ms(whole - fetch),
    );
}

/// What goes between a box and others, by its own kernel's count of packets inside of the mesh.
struct Line<'a>(&'a World);

const TABLE: &str = "asked";

impl<'a> Line<'a> {
    fn watch(world: &'a World) -> Result<Line<'a>> {
        // A connection is counted by the other's answer: what was not answered was no fetch.
        world.namespace(&world.site("bob").host).nft(&format!(
            "table inet {TABLE} {{
  counter opened {{ }}
  counter came {{ }}
  chain input {{
    type filter hook input priority filter - 10; policy accept;
    tcp sport {BOX_PORT} tcp flags & (syn | ack) == syn | ack counter name opened
    tcp sport {BOX_PORT} counter name came
  }}
}}
"
        ))?;
        Ok(Line(world))
    }

    /// Connections that were opened to other boxes, and bytes of packets that came by them.
    fn read(&self) -> Result<(u64, u64)> {
        let host = self.0.namespace(&self.0.site("bob").host);
        let text = command::output(host.tool("nft").args(["-j", "list", "table", "inet", TABLE]))?;
        let (opened, _) = meter::counter(&text, "opened")?;
        Ok((opened, meter::counter(&text, "came")?.1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_part_stands_in_its_hint() {
        let text = "#EXTM3U\n#EXT-X-PRELOAD-HINT:TYPE=PART,URI=\"00ab.7.3.m4s\"\n";
        assert_eq!(hinted(text).unwrap(), "00ab.7.3.m4s");
        assert!(hinted("#EXTM3U\n").is_err());
    }
}
