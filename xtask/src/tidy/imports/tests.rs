//! One planted breach per rule of the import table.

use super::*;

const TABLE_TEXT: &str = r#"
[cores]
packages = ["bytes"]
[rooms.stream]
path = "firmware/stream"
kind = "core"
imports = []
[rooms.media]
path = "firmware/media"
kind = "shell"
imports = ["stream"]
[rooms.serve]
path = "firmware/serve"
kind = "shell"
imports = ["stream"]
[[alone]]
packages = ["gstreamer*"]
rooms = ["media"]
reach = "any"
[[alone]]
packages = ["mio"]
rooms = ["dataplane"]
reach = "direct"
"#;

fn room(name: &str) -> Room {
    Room { name: name.into(), path: format!("firmware/{name}"), dependencies: Vec::new(), reaches: [].into() }
}

impl Room {
    fn with(mut self, package: &str) -> Room {
        self.dependencies.push(Dependency {
            package: package.into(),
            is_ours: ["stream", "media", "serve"].contains(&package),
            is_for_tests: false,
            default_features: false,
            features: Vec::new(),
        });
        self
    }

    fn reaching(mut self, package: &str) -> Room {
        self.reaches.insert(package.into());
        self
    }
}

fn table() -> Table {
    Table::parse(TABLE_TEXT).unwrap()
}

#[track_caller]
fn check(rooms: Vec<Room>, expected: &[&str]) {
    let found = super::check(&table(), &Graph { rooms });
    assert_eq!(found.iter().map(ToString::to_string).collect::<Vec<_>>(), expected);
}

#[test]
fn edges_of_the_table_are_fine() {
    check(vec![room("serve").with("serve")], &[]);
    check(vec![room("stream").with("bytes"), room("media").with("stream").with("gstreamer-app")], &[]);
}

#[test]
fn a_new_edge_is_found() {
    check(
        vec![room("stream").with("serve"), room("serve").with("media")],
        &[
            "firmware/stream/Cargo.toml: `stream` may not import `serve`",
            "firmware/serve/Cargo.toml: `serve` may not import `media`",
        ],
    );
}

#[test]
fn a_new_room_is_found_and_so_is_a_moved_one() {
    let moved = Room { path: "media".into(), ..room("media") };
    check(
        vec![room("attic"), moved],
        &[
            "firmware/attic/Cargo.toml: the room `attic` is not in imports.toml",
            "media/Cargo.toml: imports.toml has `media` at firmware/media",
        ],
    );
}

#[test]
fn a_package_outside_its_room_is_found_also_behind_another() {
    check(
        vec![room("serve").with("gstreamer-app"), room("stream").reaching("gstreamer-sys")],
        &[
            "firmware/serve/Cargo.toml: `gstreamer-app` is for media alone",
            "firmware/stream/Cargo.toml: reaches `gstreamer-sys` through another package; it is for media alone",
        ],
    );
}

#[test]
fn what_others_bring_along_may_not_be_named() {
    check(
        vec![room("serve").reaching("mio"), room("media").with("mio").reaching("mio")],
        &["firmware/media/Cargo.toml: `mio` is for dataplane alone"],
    );
}

#[track_caller]
fn check_core(core: Room, files: &[(&str, &str)], expected: &[&str]) {
    let found =
        check_cores(&table(), &Graph { rooms: vec![core, room("serve").with("tokio")] }, &Tree::of(files));
    assert_eq!(found.iter().map(ToString::to_string).collect::<Vec<_>>(), expected);
}

const CORE: [(&str, &str); 2] = [
    ("firmware/stream/src/lib.rs", "//! A core.\n#![no_std]\n"),
    ("firmware/stream/clippy.toml", "disallowed-methods = []\n"),
];

#[test]
fn a_core_takes_only_what_is_listed_and_without_std() {
    check_core(room("stream").with("bytes"), &CORE, &[]);
    check_core(
        room("stream").with("tokio"),
        &CORE,
        &["firmware/stream/Cargo.toml: `tokio` is not among the packages of cores"],
    );
    let mut with_std = room("stream").with("bytes");
    with_std.dependencies[0].features.push("std".into());
    check_core(with_std, &CORE, &["firmware/stream/Cargo.toml: a core takes `bytes` without std"]);
    let mut for_tests = room("stream").with("proptest");
    for_tests.dependencies[0].is_for_tests = true;
    check_core(for_tests, &CORE, &[]);
}

#[test]
fn a_core_with_std_is_found() {
    check_core(
        room("stream"),
        &[("firmware/stream/src/lib.rs", "//! A core.\n// #![no_std]\n")],
        &[
            "firmware/stream/src/lib.rs: a core is `#![no_std]`",
            "firmware/stream/clippy.toml: a core has a list of what clippy forbids: clocks, randomness, I/O",
        ],
    );
}

#[test]
fn the_table_of_this_tree_is_well_formed() {
    let table = Table::read(&crate::command::root().join(TABLE)).unwrap();
    for (name, rule) in &table.rooms {
        for import in &rule.imports {
            assert!(table.rooms.contains_key(import), "{name} imports {import}, which is no room");
        }
    }
    for alone in &table.alone {
        assert!(alone.rooms.iter().all(|room| table.rooms.contains_key(room)), "{alone:?}");
    }
}
