//! Whole starts of a box, with folders for its card and its disk.

use std::os::unix::fs::PermissionsExt as _;

use super::*;

struct Bench(PathBuf);

impl Bench {
    fn new(name: &str) -> Bench {
        let dir = std::env::temp_dir().join(format!("relayd-card-{name}-{}", std::process::id()));
        for folder in ["card", "kept", "data", "loader", "orders"] {
            fs::create_dir_all(dir.join(folder)).unwrap();
        }
        fs::write(dir.join("base.toml"), "standalone = true\n[relay]\nguard_line = true\n").unwrap();
        Bench(dir)
    }

    fn args(&self) -> Args {
        let at = |name: &str| self.0.join(name);
        Args {
            card: Some(at("card")),
            kept: at("kept"),
            base: at("base.toml"),
            settings: at("relayd.toml"),
            data_dir: at("data"),
            imager: Some(at("loader")),
            wifi: Some(at("wifi.conf")),
            lost: None,
            orders: None,
        }
    }

    /// At which what the box keeps can't be used.
    fn start_lost(&self) {
        run(&Args { lost: Some(self.0.join("lost")), ..self.args() }).unwrap();
    }

    fn start(&self) {
        run(&self.args()).unwrap();
    }

    fn order(&self) -> Result<()> {
        let orders = Some(self.0.join("orders"));
        run(&Args { card: None, imager: None, orders, ..self.args() })
    }

    fn put(&self, name: &str, text: &str) {
        fs::write(self.0.join("card").join(name), text).unwrap();
    }

    fn read(&self, name: &str) -> Option<String> {
        fs::read_to_string(self.0.join(name)).ok()
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).unwrap();
    }
}

#[test]
fn what_is_on_the_card_moves_to_the_box() {
    let bench = Bench::new("moves");
    bench.put("relaybox.toml", "name = \"attic\"\npin = \"4711\"\nupload_kbps_max = 3000\n");
    bench.start();
    assert_eq!(bench.read("card/relaybox.toml"), None);
    assert_eq!(bench.read("data/pin").as_deref(), Some("4711\n"));
    let mode = fs::metadata(bench.0.join("kept/relaybox.toml")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let settings = bench.read("relayd.toml").unwrap();
    assert!(
        settings.contains("name = \"attic\"") && settings.contains("upload_kbps_max = 3000"),
        "{settings}"
    );
    assert!(settings.contains("guard_line = true"), "{settings}");

    // The next start, with nothing on the card, and a later wish.
    bench.start();
    assert_eq!(bench.read("relayd.toml").as_deref(), Some(settings.as_str()));
    bench.put("relaybox.toml.txt", "name = \"cellar\"\n");
    bench.start();
    let settings = bench.read("relayd.toml").unwrap();
    assert!(
        settings.contains("name = \"cellar\"") && settings.contains("upload_kbps_max = 3000"),
        "{settings}"
    );
}

#[test]
fn a_mistake_is_written_beside_the_file_and_changes_nothing() {
    let bench = Bench::new("mistake");
    bench.put("relaybox.toml", "pin = \"4711\"\nname = \"my box\"\n");
    bench.start();
    let error = bench.read("card/RELAYBOX-ERROR.txt").unwrap();
    assert!(error.contains("line 2: \"my box\" is no name for a box\r\n"), "{error}");
    assert!(error.contains("What to do: Take 1 to 63 letters"), "{error}");
    assert!(bench.read("card/relaybox.toml").is_some() && bench.read("data/pin").is_none());
    bench.put("relaybox.toml", "name = \"my-box\"\n");
    bench.start();
    assert_eq!(bench.read("card/RELAYBOX-ERROR.txt"), None);
}

#[test]
fn a_box_forgets_everything_by_its_name_on_the_card() {
    let bench = Bench::new("reset");
    bench.put("relaybox.toml", "name = \"attic\"\npin = \"4711\"\n[wifi]\ncountry = \"DE\"\nssid = \"x\"\n");
    bench.start();
    fs::create_dir_all(bench.0.join("data/mesh")).unwrap();
    fs::write(bench.0.join("data/mesh/mesh.json"), "{}").unwrap();
    assert!(bench.read("wifi.conf").is_some());

    bench.put("relaybox-reset.txt", "");
    bench.start();
    let error = bench.read("card/RELAYBOX-ERROR.txt").unwrap();
    assert!(
        error.contains("could not use relaybox-reset.txt") && error.contains("write attic into the file"),
        "{error}"
    );
    assert!(bench.read("data/mesh/mesh.json").is_some());

    bench.put("relaybox-reset.txt", "\u{feff}Attic\r\n");
    bench.put("relaybox.toml", "name = \"cellar\"\n");
    bench.start();
    for gone in [
        "data/mesh/mesh.json",
        "data/pin",
        "card/relaybox-reset.txt",
        "card/RELAYBOX-ERROR.txt",
        "kept/reset",
    ] {
        assert_eq!(bench.read(gone), None, "{gone}");
    }
    assert!(bench.0.join("data").is_dir(), "it is a mount");
    assert_eq!(bench.read("wifi.conf"), None);
    assert!(bench.read("relayd.toml").unwrap().contains("cellar"), "a new wish beside it counts");
}

#[test]
fn a_reset_that_was_cut_off_goes_on() {
    let bench = Bench::new("cut");
    bench.put("relaybox.toml", "name = \"attic\"\npin = \"4711\"\n");
    bench.start();
    // Power went after the mark, and after half of it: the file is on the card, the name is gone already.
    reset::mark(&bench.0.join("kept")).unwrap();
    fs::remove_file(bench.0.join("kept/relaybox.toml")).unwrap();
    bench.put("relaybox-reset.txt", "attic");
    bench.start();
    for gone in ["data/pin", "card/relaybox-reset.txt", "card/RELAYBOX-ERROR.txt", "kept/reset"] {
        assert_eq!(bench.read(gone), None, "{gone}");
    }
    // A card that can't be read holds nothing up.
    fs::write(bench.0.join("data/pin"), "4711\n").unwrap();
    reset::mark(&bench.0.join("kept")).unwrap();
    run(&Args { card: None, imager: None, ..bench.args() }).unwrap();
    assert_eq!((bench.read("data/pin"), bench.read("kept/reset")), (None, None));
}

#[test]
fn the_page_orders_wifi_and_a_reset() {
    let bench = Bench::new("orders");
    bench.put("relaybox.toml", "name = \"attic\"\n");
    bench.start();
    let order = |name: &str, text: &str| fs::write(bench.0.join("orders").join(name), text).unwrap();
    order(orders::WIFI, &wifi_order("DE", "home", Some("correct horse")).unwrap());
    bench.order().unwrap();
    assert!(bench.read("wifi.conf").unwrap().contains("psk=\"correct horse\""));
    assert_eq!(bench.read("orders/wifi.toml"), None);
    assert!(bench.read("kept/relaybox.toml").unwrap().contains("attic"), "what was not ordered stays");

    // Nothing else can be ordered, and nobody leads root astray.
    order(orders::WIFI, "pin = \"1111\"\nname = \"mine\"\n");
    bench.order().unwrap();
    assert!(bench.read("data/pin").is_none() && !bench.read("relayd.toml").unwrap().contains("mine"));
    std::os::unix::fs::symlink(bench.0.join("kept/relaybox.toml"), bench.0.join("orders/wifi.toml")).unwrap();
    assert!(bench.order().is_err());
    fs::remove_file(bench.0.join("orders/wifi.toml")).unwrap();
    order(orders::RESET, "cellar\n");
    assert!(bench.order().is_err() && bench.read("kept/reset").is_none());

    order(orders::RESET, "attic\n");
    bench.order().unwrap();
    assert!(bench.read("kept/reset").is_some(), "it is carried out at the next start");
    assert!(bench.read("kept/relaybox.toml").is_some());
    bench.start();
    assert!(bench.read("kept/relaybox.toml").is_none() && bench.read("kept/reset").is_none());
}

#[test]
fn orders_are_judged_before_they_are_made() {
    assert!(
        wifi_order("de", "home", None).unwrap_err().contains("\"de\" is no country. Take your country's two")
    );
    assert!(wifi_order("DE", "home", Some("short")).unwrap_err().contains("the Wi-Fi password can't be"));
    assert_eq!(good_pin("0042"), Ok("0042".into()));
    assert!(good_pin("12").unwrap_err().contains("Take 4 to 12 digits"));
}

#[test]
fn what_imager_wrote_is_taken_and_removed() {
    let bench = Bench::new("imager");
    let loader = |name: &str, text: &str| fs::write(bench.0.join("loader").join(name), text).unwrap();
    loader("user-data", "#cloud-config\nhostname: attic\ntimezone: Europe/Berlin\n");
    loader("meta-data", "instance-id: rpi-imager-1\n");
    bench.start();
    assert!(bench.read("relayd.toml").unwrap().contains("attic"));
    assert_eq!(fs::read_dir(bench.0.join("loader")).unwrap().count(), 0);
    // Our own file counts more.
    loader("user-data", "hostname: from-imager\n");
    bench.put("relaybox.toml", "name = \"ours\"\n");
    bench.start();
    assert!(bench.read("relayd.toml").unwrap().contains("ours"));
    loader("user-data", "hostname: my box\n");
    bench.start();
    let error = bench.read("card/RELAYBOX-ERROR.txt").unwrap();
    assert!(
        error.contains("could not use what Raspberry Pi Imager wrote")
            && error.contains("\"my box\" is no name"),
        "{error}"
    );
    assert_eq!(fs::read_dir(bench.0.join("loader")).unwrap().count(), 0);
}

const LOST: &str = "What the box keeps can't be used: its partition is damaged beyond repair.";

#[test]
fn a_box_without_what_it_keeps_takes_nothing_from_the_card() {
    let bench = Bench::new("lost");
    let base =
        "name = 'relaybox'\nstandalone = true\n[image]\norders = '/run/x/orders'\nwifi = '/run/x/wifi'\n";
    fs::write(bench.0.join("base.toml"), base).unwrap();
    fs::write(bench.0.join("lost"), format!("{LOST}\n")).unwrap();
    let slip = "name = \"attic\"\npin = \"4711\"\n";
    bench.put("relaybox.toml", slip);
    bench.start_lost();
    assert_eq!(bench.read("card/relaybox.toml").as_deref(), Some(slip), "it would be used up");
    assert_eq!((bench.read("kept/relaybox.toml"), bench.read("data/pin")), (None, None));
    let said = bench.read("card/RELAYBOX-ERROR.txt").unwrap();
    assert!(said.starts_with(LOST), "{said}");
    assert!(said.lines().count() > 1 && !said.replace("\r\n", "").contains('\n'), "{said:?}");
    let settings = bench.read("relayd.toml").unwrap();
    let read = Settings::read(Some(&bench.0.join("relayd.toml")), Fragment::default()).unwrap();
    assert_eq!(read.image.unwrap().lost.as_deref(), Some(LOST), "{settings}");

    // With what it keeps the box takes it over, and takes its word back.
    bench.start();
    assert_eq!(bench.read("card/relaybox.toml"), None);
    assert_eq!(bench.read("card/RELAYBOX-ERROR.txt"), None);
    assert!(!bench.read("relayd.toml").unwrap().contains("lost"));
}

#[test]
fn a_word_of_another_kind_stays_on_the_card() {
    let bench = Bench::new("lost-other");
    bench.put("RELAYBOX-ERROR.txt", "The box could not join by the invite in relaybox.toml.\r\n");
    bench.start();
    assert!(bench.read("card/RELAYBOX-ERROR.txt").is_some());
}

#[test]
fn a_reset_of_what_is_lost_is_the_callers() {
    let bench = Bench::new("lost-reset");
    fs::write(bench.0.join("lost"), LOST).unwrap();
    bench.put("relaybox-reset.txt", "cellar\n");
    bench.start_lost();
    let said = bench.read("card/RELAYBOX-ERROR.txt").unwrap();
    assert!(said.starts_with(LOST) && said.contains("it does not hold this box's name, relaybox"), "{said}");
    bench.put("relaybox-reset.txt", "relaybox\n");
    bench.start_lost();
    assert!(bench.read("card/relaybox-reset.txt").is_some(), "it is gone once the partition is made");
    assert_eq!(bench.read("kept/reset"), None, "no mark where nothing is kept");
}

#[test]
fn an_empty_file_is_no_file_that_was_read() {
    let bench = Bench::new("empty");
    for text in ["", "\n", "# name = \"attic\"\n"] {
        bench.put("relaybox.toml", text);
        bench.start();
        let error = bench.read("card/RELAYBOX-ERROR.txt").unwrap();
        assert!(error.contains("nothing stands in it") && error.contains("eject the drive"), "{error}");
        assert_eq!(bench.read("card/relaybox.toml").as_deref(), Some(text));
    }
}
