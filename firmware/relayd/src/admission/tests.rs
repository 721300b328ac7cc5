//! What is kept over a restart, and what ends a link.

use std::os::unix::fs::PermissionsExt as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use trust::RootSecret;

use super::*;
use crate::settings::Fragment;

const NOW: u64 = 1_800_000_000;

struct Case {
    dir: PathBuf,
    now: Arc<AtomicU64>,
}

impl Drop for Case {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.dir);
    }
}

impl Case {
    fn new(name: &str) -> Self {
        let dir = std::env::temp_dir().join(format!("relayd-admission-{name}-{}", std::process::id()));
        fs::create_dir_all(&dir).unwrap();
        Self { dir, now: Arc::new(AtomicU64::new(NOW)) }
    }

    fn open(&self, watch: &str, mesh: Option<MeshId>) -> Admission {
        let file = self.dir.join("relayd.toml");
        fs::write(&file, format!("data_dir = {:?}\n{watch}", self.dir)).unwrap();
        let settings = Settings::read(Some(&file), Fragment::default()).unwrap();
        let now = Arc::clone(&self.now);
        Admission::open(&settings, mesh, Box::new(move || UnixSeconds::new(now.load(Ordering::Relaxed))))
            .unwrap()
    }
}

fn name(text: &str) -> StreamName {
    text.parse().unwrap()
}

fn link(admission: &Admission, stream: &str, valid_s: u64) -> String {
    let view = admission.make_link(&name(stream), &LinkWish { valid_s, label: None }).unwrap();
    let token = view.path.strip_prefix("/t/").unwrap().strip_suffix(&format!("/live/{stream}")).unwrap();
    token.to_owned()
}

#[test]
fn the_settings_file_goes_before_the_studio() {
    let case = Case::new("fixed");
    let admission = case.open("[watch]\naccess = 'mesh'\n[watch.streams]\nfixed = 'link'", None);
    let (fixed, free) = (name("fixed"), name("free"));
    assert_eq!((admission.access(&fixed), admission.access(&free)), (Access::Link, Access::Mesh));
    assert!(matches!(admission.set_access(&fixed, Access::Open), Err(BackstageError::Fixed)));
    admission.set_access(&free, Access::Open).unwrap();
    let again = case.open("[watch.streams]\nfixed = 'link'", None);
    assert_eq!((again.access(&fixed), again.access(&free)), (Access::Link, Access::Open));
    assert_eq!(again.access(&name("other")), Access::Open);
}

#[test]
fn a_link_outlives_a_restart_and_ends_with_its_time() {
    let case = Case::new("restart");
    let mesh = MeshId::of(&RootSecret::from_seed(&[1; 32]).public());
    for mesh in [None, Some(mesh)] {
        case.now.store(NOW, Ordering::Relaxed);
        let token = link(&case.open("", mesh), "demo", 60);
        let again = case.open("", mesh);
        for second in [0, 59] {
            case.now.store(NOW + second, Ordering::Relaxed);
            assert_eq!(again.open_link(&name("demo"), &token), Ok(Duration::from_secs(60 - second)));
        }
        case.now.store(NOW + 60, Ordering::Relaxed);
        assert_eq!(again.open_link(&name("demo"), &token), Err(AccessError::Expired));
        assert_eq!(again.open_link(&name("other"), &token), Err(AccessError::Foreign));
    }
    let mode = fs::metadata(case.dir.join("signing.toml")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn a_link_is_for_one_stream_and_ends_with_it() {
    let case = Case::new("removed");
    let admission = case.open("", None);
    let token = link(&admission, "demo", 3600);
    let _other = link(&admission, "other", 3600);
    assert!(admission.open_link(&name("demo"), &token).is_ok());
    assert_eq!(admission.open_link(&name("other"), &token), Err(AccessError::Foreign));
    assert_eq!(admission.open_link(&name("nobody"), &token), Err(AccessError::Foreign));
    admission.set_access(&name("demo"), Access::Link).unwrap();
    admission.forget(&name("demo")).unwrap();
    assert_eq!(admission.open_link(&name("demo"), &token), Err(AccessError::Foreign));
    assert_eq!(admission.access(&name("demo")), Access::Open);
    let _new = link(&admission, "demo", 3600);
    assert_eq!(admission.open_link(&name("demo"), &token), Err(AccessError::Foreign));
}

#[test]
fn links_have_bounds() {
    let case = Case::new("bounds");
    let admission = case.open("", None);
    for valid_s in [0, 59, 366 * 86_400 + 1, u64::MAX] {
        let made = admission.make_link(&name("demo"), &LinkWish { valid_s, label: None });
        assert!(matches!(made, Err(BackstageError::LinkTime)), "{valid_s}");
    }
    for _ in 0..OPENED_MAX + 2 {
        let token = link(&admission, "demo", 60);
        admission.open_link(&name("demo"), &token).unwrap();
        assert!(lock(&admission.opened).len() <= OPENED_MAX);
    }
}
