//! Who is led where.

use trust::{Access, BoxSecret, List, MeshId, Revocations, RootSecret, UnixSeconds};

use super::*;

struct World {
    guide: Guide,
    start: Instant,
    mesh: MeshPrefix,
}

fn key(n: u8) -> BoxKey {
    BoxSecret::from_seed(&[n; 32]).public()
}

fn demo() -> StreamName {
    "demo".parse().unwrap()
}

/// Box `n` carries the stream of box 1.
struct Says<'a> {
    n: u8,
    from: &'a str,
    urls: &'a [&'a str],
    viewers: u32,
    load_milli: u32,
}

impl World {
    fn new() -> Self {
        let mesh = MeshPrefix::of(&MeshId::of(&RootSecret::from_seed(&[1; 32]).public()));
        Self { guide: Guide::default(), start: Instant::now(), mesh }
    }

    fn hears(&mut self, says: &Says<'_>) {
        self.hears_of(says, true);
    }

    fn hears_of(&mut self, says: &Says<'_>, carries: bool) {
        let report = StreamReport {
            name: demo(),
            owner: key(1),
            live_since: UnixSeconds::new(1_800_000_000),
            bitrate_bps: 6_000_000,
            viewers: says.viewers,
            access: Access::Mesh,
            key: None,
        };
        let urls: Vec<WatchUrl> = says.urls.iter().map(|url| url.parse().unwrap()).collect();
        let heartbeat = Heartbeat {
            version: "1".parse().unwrap(),
            board: "test".parse().unwrap(),
            uptime_s: 1,
            boot: 1,
            load_milli: says.load_milli,
            temperature_milli_c: None,
            map_epoch: None,
            revocations: Revocations::new().digest(),
            endpoints: List::new(),
            paths: List::new(),
            streams: if carries { vec![report] } else { Vec::new() }.try_into().unwrap(),
            watch: urls.try_into().unwrap(),
        };
        let name = format!("box-{}", says.n).parse().unwrap();
        self.guide.heard(key(says.n), &name, says.from.parse().unwrap(), &heartbeat, self.start);
    }

    fn ask(&self, from: Option<&str>, after_s: u64) -> Vec<Choice> {
        let everybody = |_: &BoxKey| true;
        let ask = Asker {
            from: from.map(|from| from.parse().unwrap()),
            now: self.start + Duration::from_secs(after_s),
            heartbeat_s: 15,
            mesh: self.mesh,
            is_member: &everybody,
        };
        self.guide.choose(&demo(), &key(1), &ask)
    }

    fn check(&self, from: Option<&str>, expected: &[(&str, &[&str])]) {
        let found = self.ask(from, 0);
        let found: Vec<(&str, Vec<&str>)> = found
            .iter()
            .map(|choice| (choice.name.as_str(), choice.urls.iter().map(WatchUrl::as_str).collect()))
            .collect();
        let expected: Vec<_> = expected.iter().map(|(name, urls)| (*name, urls.to_vec())).collect();
        assert_eq!(found, expected, "{from:?}");
    }
}

const CALM: Says<'static> = Says { n: 1, from: "198.51.100.1", urls: &[], viewers: 0, load_milli: 100 };

#[test]
fn a_household_is_led_to_its_own_box_and_nobody_else_hears_of_it() {
    let mut world = World::new();
    let inside = format!("http://[{}]:8080", world.mesh.nth(7));
    world.hears(&Says { urls: &["https://live.example.org", "http://192.168.1.7:8080", &inside], ..CALM });
    world.hears(&Says {
        n: 2,
        from: "203.0.113.9",
        urls: &["http://192.168.1.8:8080", "http://bob.local"],
        ..CALM
    });
    world.hears(&Says { n: 3, from: "2001:db8:0:7::5", urls: &["http://192.168.1.9:8080"], ..CALM });
    world.check(Some("192.0.2.55"), &[("box-1", &["https://live.example.org"])]);
    world.check(
        Some("203.0.113.9"),
        &[
            ("box-2", &["http://192.168.1.8:8080", "http://bob.local"]),
            ("box-1", &["https://live.example.org"]),
        ],
    );
    world.check(
        Some("2001:db8:0:7::99"),
        &[("box-3", &["http://192.168.1.9:8080"]), ("box-1", &["https://live.example.org"])],
    );
    // Behind a proxy everybody has its address: nobody is near.
    world.check(None, &[("box-1", &["https://live.example.org"])]);
    world.check(Some(&world.mesh.nth(9).to_string()), &[("box-1", &["https://live.example.org", &inside])]);
}

#[test]
fn a_box_at_home_is_asked_also_for_what_it_does_not_carry_yet() {
    let mut world = World::new();
    world.hears(&Says { urls: &["https://live.example.org"], ..CALM });
    let home = Says { n: 2, from: "203.0.113.9", urls: &["http://192.168.1.8"], ..CALM };
    world.hears_of(&home, false);
    let ana = ("box-1", ["https://live.example.org"].as_slice());
    world.check(Some("203.0.113.9"), &[("box-2", &["http://192.168.1.8"]), ana]);
    world.check(Some("192.0.2.55"), &[ana]);
    world.hears(&Says { n: 3, ..home });
    let urls: &[&str] = &["http://192.168.1.8"];
    world.check(Some("203.0.113.9"), &[("box-3", urls), ("box-2", urls), ana]);
}

#[test]
fn boxes_with_air_come_first_and_the_origin_last() {
    let mut world = World::new();
    let url: &[&str] = &["http://198.51.100.1"];
    world.hears(&Says { urls: url, ..CALM });
    world.hears(&Says { n: 2, urls: url, viewers: 9, ..CALM });
    world.hears(&Says { n: 3, urls: url, viewers: 2, ..CALM });
    world.hears(&Says { n: 4, urls: url, load_milli: 2500, ..CALM });
    world.check(Some("192.0.2.55"), &[("box-3", url), ("box-2", url), ("box-1", url), ("box-4", url)]);
}

#[test]
fn a_silent_box_is_left_out() {
    let mut world = World::new();
    world.hears(&Says { urls: &["http://198.51.100.1"], ..CALM });
    assert_eq!(world.ask(None, 44).len(), 1);
    assert_eq!(world.ask(None, 45).len(), 0);
}

#[test]
fn equals_are_spread_and_each_viewer_stays() {
    let mut world = World::new();
    for n in 2..6 {
        world.hears(&Says { n, urls: &["http://198.51.100.1"], ..CALM });
    }
    let first = |viewer: u8| world.ask(Some(&format!("192.0.2.{viewer}")), 0)[0].name.clone();
    let firsts: std::collections::BTreeSet<_> = (0..64).map(first).collect();
    assert_eq!(firsts.len(), 4, "{firsts:?}");
    assert!((0..64).all(|viewer| first(viewer) == first(viewer)));
}

#[test]
fn what_is_remembered_is_bounded() {
    let mut world = World::new();
    let (name, from) = ("box".parse().unwrap(), "198.51.100.1".parse().unwrap());
    world.hears(&Says { urls: &["http://198.51.100.1"], ..CALM });
    let heartbeat = Heartbeat {
        version: "1".parse().unwrap(),
        board: "test".parse().unwrap(),
        uptime_s: 1,
        boot: 1,
        load_milli: 0,
        temperature_milli_c: None,
        map_epoch: None,
        revocations: Revocations::new().digest(),
        endpoints: List::new(),
        paths: List::new(),
        streams: List::new(),
        watch: List::new(),
    };
    for n in 0..u16::try_from(KNOWN_MAX).unwrap() {
        let mut seed = [9; 32];
        seed[..2].copy_from_slice(&n.to_le_bytes());
        let later = world.start + Duration::from_millis(1);
        world.guide.heard(BoxSecret::from_seed(&seed).public(), &name, from, &heartbeat, later);
    }
    assert_eq!(world.guide.boxes.len(), KNOWN_MAX);
    assert!(!world.guide.boxes.contains_key(&key(1)), "the oldest went");
}
