//! A viewer with the ordinary WireGuard app, whose gateway is one box: it sees that box's pages and nothing else.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};

use super::{Report, Scene};
use crate::lab::house::BOX_PORT;
use crate::lab::kind::Kind;
use crate::lab::phone::Phone;
use crate::lab::plan::Wanted;
use crate::lab::stage::Stage;

const HTTP: u16 = 8080;
const RTMP: u16 = 1935;
/// How long it may take until a box has heard what the operator said, and until an app has noticed.
const LIMIT: Duration = Duration::from_secs(20);

pub(super) fn viewer(scene: &Scene<'_>, report: &mut Report) -> Result<()> {
    let sites = [Wanted::new("ana", Kind::Public), Wanted::new("phone", Kind::Easy)];
    let mut mesh = scene.mesh();
    mesh.boxless.insert("phone".to_owned());
    scene.stage_with(&mesh, &sites, report, |_| Ok(()), |stage, report| play(scene, stage, report))
}

fn play(scene: &Scene<'_>, stage: &mut Stage<'_>, report: &mut Report) -> Result<()> {
    let running = &stage.fleet.running;
    let mut conf = Err(anyhow::anyhow!("stopped"));
    // The box has to have said where it is.
    scene.stop.wait_until(LIMIT, || {
        conf = running.invite_viewer("phone", "ana");
        conf.is_ok()
    });
    let phone =
        Phone::start(stage.host("phone"), &conf.context("no configuration")?, stage.world.dir(), scene.stop)?;
    report.find(phone.gateways.len() == 2, format!("the gateway has {} addresses", phone.gateways.len()));
    let began = Instant::now();
    for gateway in &phone.gateways {
        let left = LIMIT.saturating_sub(began.elapsed());
        scene.stop.wait_until(left, || phone.status(*gateway, HTTP).is_ok());
        let (family, time) = (family(*gateway), began.elapsed().as_secs_f64());
        match phone.status(*gateway, HTTP) {
            Ok(status) => {
                report.find(status == 200, format!("the page over {family}: {status}, after {time:.1} s"));
            }
            Err(error) => report.find(false, format!("the page over {family} after {time:.1} s: {error:#}")),
        }
        for port in [RTMP, BOX_PORT] {
            let is_open = phone.is_open(*gateway, port);
            report.find(
                !is_open,
                format!("port {port} over {family} is {}", if is_open { "open" } else { "shut" }),
            );
        }
    }
    running.revoke("phone")?;
    let began = Instant::now();
    let is_out = || phone.gateways.iter().all(|gateway| phone.status(*gateway, HTTP).is_err());
    let out = scene.stop.wait_until(LIMIT, is_out);
    let time = began.elapsed().as_secs_f64();
    report.find(
        out,
        format!("taken out, and the page is {} after {time:.1} s", if out { "shut" } else { "open" }),
    );
    Ok(())
}

fn family(ip: std::net::IpAddr) -> &'static str {
    if ip.is_ipv4() { "IPv4" } else { "IPv6" }
}
