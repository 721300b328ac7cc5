//! A box of the mesh that does others wrong, in one way after the other: what boxes keep is the origin's, byte for byte, and
//! whoever is asked for stripes by nobody is out of the tree.
//!
//! The box itself is an honest one that joined; at its port for other boxes there is a program that is not
//! (`firmware/relay/examples/hostile`). When its feeds open and end is taken from its own lines, as it is part of the lab.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{Duration, Instant, UNIX_EPOCH};

use anyhow::{Context as _, Result, ensure};

use super::broadcast::{self, Broadcast, Place};
use super::{Report, Scene};
use crate::child::Child;
use crate::lab::house::BOX_PORT;
use crate::lab::kind::Kind;
use crate::lab::plan::Wanted;
use crate::lab::world::World;
use crate::viewer::playlist;

const ORIGIN: &str = "ana";
const HOSTILE: &str = "mal";
const FRIENDS: [&str; 2] = ["bob", "eve"];
const BOXES: [Wanted; 4] = [
    Wanted::new(ORIGIN, Kind::Public),
    Wanted::new(HOSTILE, Kind::Public),
    Wanted::new(FRIENDS[0], Kind::Easy),
    Wanted::new(FRIENDS[1], Kind::Easy),
];
/// As the program calls them.
const DEEDS: [&str; 7] =
    ["forges-blocks", "forges-items", "replays", "withholds", "slows", "is-stale", "lies"];
const STREAM_KBPS: u32 = 2500;
/// Four times the stream with what is around it, since what does wrong takes it twice.
const ORIGIN_KBPS_MAX: u64 = 12_000;
/// Where the program listens.
const PORT: u16 = 7470;
const PICTURE_LIMIT: Duration = Duration::from_secs(40);
/// How long it may take until somebody takes stripes from there, and for how long somebody has to before it begins.
const CHILD_LIMIT: Duration = Duration::from_secs(60);
const CHILD_FOR: Duration = Duration::from_secs(3);
/// Within this nobody takes anything from there any more.
const OUT_LIMIT: Duration = Duration::from_secs(5);
/// How long it is looked at beyond.
const LOOK_ON: Duration = Duration::from_secs(10);
/// Parts that have to be compared at each box at least.
const COMPARED_MIN: usize = 10;

pub(super) fn hostile(scene: &Scene<'_>, report: &mut Report) -> Result<()> {
    for deed in DEEDS {
        let before = report.failures();
        play(scene, deed, report).with_context(|| deed)?;
        ensure!(!scene.stop.wanted(), "stopped");
        if report.failures() > before && scene.keep {
            return Ok(());
        }
    }
    Ok(())
}

fn play(scene: &Scene<'_>, deed: &str, report: &mut Report) -> Result<()> {
    let world = World::new(&BOXES, scene.keep).context("the world")?;
    let mut broadcast =
        Broadcast::open_with_poor(scene, &world, ORIGIN, ORIGIN_KBPS_MAX).context("the boxes")?;
    broadcast.publish(ORIGIN, STREAM_KBPS)?;
    broadcast.watch(ORIGIN, HOSTILE)?;
    broadcast.picture(PICTURE_LIMIT, scene.stop).context("at the box that will do wrong")?;
    let villain = Villain::start(scene, &world, &broadcast, deed)?;
    if deed == "replays" {
        // What it replays has to be over.
        scene.stop.wait(CHILD_FOR);
        broadcast.publish(ORIGIN, STREAM_KBPS)?;
        scene.stop.wait(CHILD_FOR);
    }
    FRIENDS.iter().try_for_each(|name| broadcast.watch(ORIGIN, name))?;
    let before = report.failures();
    if !villain.has_children(scene) {
        report.find(false, format!("{deed}: nobody takes anything from {HOSTILE}"));
        report.remark.push_str(&villain.lines());
        report.remark.push_str(&broadcast.logs());
        return Ok(());
    }
    let seen = broadcast.look();
    villain.begin()?;
    let out = scene.stop.wait_until(2 * OUT_LIMIT, || villain.is_out());
    scene.stop.wait(LOOK_ON);
    let told = villain.told()?;
    let longest = told.longest_ms(UNIX_EPOCH.elapsed().unwrap_or_default().as_millis());
    report.find(
        out && !told.wronged.is_empty() && longest <= OUT_LIMIT.as_millis(),
        format!(
            "{deed}: {} feeds were done wrong, {} of them opened later, and ended within {:.1} s",
            told.wronged.len(),
            told.later,
            longest as f64 / 1000.0,
        ),
    );
    for name in [HOSTILE, FRIENDS[0], FRIENDS[1]] {
        let (same, other) = compare(&world, name)?;
        let text = format!("{deed}: {same} parts at {name} are the origin's, {other} are not");
        report.find(same >= COMPARED_MIN && other == 0, text);
    }
    println!("    {deed}: {}", broadcast.trouble_since(&seen));
    if report.failures() > before {
        report.remark.push_str(&villain.lines());
        report.remark.push_str(&broadcast.logs());
    }
    Ok(())
}

/// How many parts that a box lists have the bytes that they have at the origin, and how many have others.
fn compare(world: &World, name: &str) -> Result<(usize, usize)> {
    let stream = broadcast::stream(ORIGIN);
    let [ours, theirs] = [name, ORIGIN].map(|name| Place { world, name, stream: &stream });
    let (mut same, mut other) = (0, 0);
    for part in playlist::media(&ours.playlist("")?.1).parts.iter().filter(|part| !part.gap) {
        // One that has just left either window says nothing.
        if let (Ok(here), Ok(there)) = (ours.fetch(&part.uri), theirs.fetch(&part.uri)) {
            if here == there { same += 1 } else { other += 1 }
        }
    }
    Ok((same, other))
}

/// The program in the place of a box's port.
struct Villain {
    _program: Child,
    log: PathBuf,
    file: PathBuf,
}

impl Villain {
    fn start(scene: &Scene<'_>, world: &World, broadcast: &Broadcast<'_>, deed: &str) -> Result<Villain> {
        let host = world.namespace(&world.site(HOSTILE).host);
        host.nft(&format!(
            "table ip6 villain {{
  chain prerouting {{
    type nat hook prerouting priority dstnat; policy accept;
    tcp dport {BOX_PORT} redirect to :{PORT}
  }}
}}
"
        ))?;
        let file = world.dir().join("begin");
        let log = world.dir().join("villain.log");
        let program = scene.binaries.hostile.as_deref().context("the hostile relay was not built")?;
        let mut run = host.command(program, &world.hosts());
        let origin = format!("[{}]:{BOX_PORT}", broadcast.address(ORIGIN)?);
        run.args([deed, &origin, &broadcast::stream(ORIGIN), &PORT.to_string()]).arg(&file);
        let _program = Child::start("the hostile relay", &run, &log)?;
        Ok(Villain { _program, log, file })
    }

    fn lines(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    fn begin(&self) -> Result<()> {
        std::fs::write(&self.file, "").context("telling the hostile relay to begin")
    }

    /// Waits until somebody has taken stripes from it for a while.
    fn has_children(&self, scene: &Scene<'_>) -> bool {
        let mut since: Option<Instant> = None;
        scene.stop.wait_until(CHILD_LIMIT, || {
            let open = Told::of(&self.lines()).open > 0;
            since = since.filter(|_| open).or_else(|| open.then(Instant::now));
            since.is_some_and(|since| since.elapsed() >= CHILD_FOR)
        })
    }

    /// It did wrong, and nobody takes stripes from it.
    fn is_out(&self) -> bool {
        let told = Told::of(&self.lines());
        !told.wronged.is_empty() && told.open == 0
    }

    fn told(&self) -> Result<Told> {
        let text = std::fs::read_to_string(&self.log).context("what the hostile relay said")?;
        Ok(Told::of(&text))
    }
}

/// What the program said.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Told {
    /// Feeds with stripes that are open.
    open: usize,
    /// For each feed with stripes that was done wrong, since when and until when; no end: it still goes on.
    wronged: BTreeMap<u64, (u128, Option<u128>)>,
    /// Of these so many were opened after it had begun.
    later: usize,
}

impl Told {
    fn of(text: &str) -> Told {
        let mut told = Told::default();
        let mut open: BTreeMap<u64, bool> = BTreeMap::new();
        let mut begun = false;
        for line in text.lines() {
            let mut words = line.split(' ');
            let (at, what) = (words.next().and_then(|at| at.parse::<u128>().ok()), words.next());
            let id = words.next().and_then(|id| id.parse::<u64>().ok());
            let stripes = words.next().and_then(|stripes| stripes.parse::<u32>().ok()).unwrap_or(0);
            match (at, what, id) {
                (_, Some("begins"), _) => begun = true,
                (Some(_), Some("opened"), Some(id)) if stripes > 0 => drop(open.insert(id, begun)),
                (Some(at), Some("misdeed"), Some(id)) if stripes > 0 => {
                    told.wronged.insert(id, (at, None));
                    told.later += usize::from(open.get(&id) == Some(&true));
                }
                (Some(at), Some("closed"), Some(id)) => {
                    open.remove(&id);
                    if let Some((_, until)) = told.wronged.get_mut(&id) {
                        *until = Some(at);
                    }
                }
                _ => {}
            }
        }
        told.open = open.len();
        told
    }

    /// The longest that one that was done wrong went on by then, in milliseconds.
    fn longest_ms(&self, now_ms: u128) -> u128 {
        let lasted =
            self.wronged.values().map(|(since, until)| until.unwrap_or(now_ms).saturating_sub(*since));
        lasted.max().unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_ended_before_and_what_never_had_stripes_does_not_count() {
        let text = "1000 opened 1 4\n1000 opened 2 0\n1100 closed 1 4\n1200 opened 3 8\n1500 begins \n\
            1510 misdeed 3 8\n1600 opened 4 2\n1610 misdeed 4 2\n1700 closed 4 2\n";
        let told = Told::of(text);
        let wronged = BTreeMap::from([(3, (1510, None)), (4, (1610, Some(1700)))]);
        assert_eq!(told, Told { open: 1, wronged, later: 1 });
        assert_eq!(told.longest_ms(2500), 990);
        let told = Told::of(&format!("{text}2010 closed 3 8\n"));
        assert_eq!((told.open, told.longest_ms(9000)), (0, 500));
    }
}
