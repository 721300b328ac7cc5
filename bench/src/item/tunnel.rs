//! `relayd tunnel` beside wireguard-go, gotatun and boringtun: one TCP stream, and datagrams at the rates of live
//! streams. Processor time is that of both ends together.

use std::time::Duration;

use anyhow::{Result, ensure};

use crate::plan::Plan;
use crate::process::{self, Usage};
use crate::rounds::{self, Accept, Round, Rounds, Row};
use crate::tunnel::{Cores, Flow, KINDS, Kind, Lab, Programs, Udp};

const RATES_MBIT_PER_S: [u32; 3] = [20, 100, 300];

/// What of TCP is measured first: its window has to open.
const OPENING: Duration = Duration::from_secs(1);

/// Each value is less the better.
#[derive(Clone, Copy, Debug)]
struct Measured {
    tcp_s_per_gbit: f64,
    tcp_cpu_s_per_gbit: f64,
    udp: [Datagrams; RATES_MBIT_PER_S.len()],
    others_cores: f64,
}

#[derive(Clone, Copy, Debug)]
struct Datagrams {
    cpu_s_per_gbit: f64,
    lost_percent: f64,
}

pub(super) fn anywhere(plan: &Plan) -> Result<Vec<Row>> {
    run(plan, "tunnel", Cores::All)
}

pub(super) fn one_core(plan: &Plan) -> Result<Vec<Row>> {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    ensure!(cores > 1, "tunnels on one core, traffic on another: this machine has but one");
    run(plan, "tunnel-core", Cores::Apart)
}

fn run(plan: &Plan, name: &str, cores: Cores) -> Result<Vec<Row>> {
    let programs = Programs::get(plan)?;
    let lab = Lab::new()?;
    let mut turn = 0;
    let rounds = rounds::run(name, plan.rounds, || {
        let mut measured = Vec::new();
        // Whoever is first in one round is last in the next.
        for number in 0..KINDS.len() {
            let kind = KINDS[(number + turn) % KINDS.len()];
            measured.push((kind, measure(plan, &lab, &programs, kind, cores)?));
        }
        turn += 1;
        Ok(round(&measured))
    })?;
    rows(&rounds, cores)
}

fn measure(plan: &Plan, lab: &Lab, programs: &Programs, kind: Kind, cores: Cores) -> Result<Measured> {
    let tunnel = lab.tunnel(programs, kind, cores, plan)?;
    let during = |flow: &Flow, window: Duration| -> Result<(f64, f64, Usage)> {
        let before = flow.bytes();
        let ((), usage) = process::window(&[&tunnel.a, &tunnel.b], || {
            std::thread::sleep(window);
            Ok(())
        })?;
        let after = flow.bytes();
        let gbit = |from: u64, to: u64| (to - from) as f64 * 8.0 / 1e9;
        Ok((gbit(before.0, after.0), gbit(before.1, after.1), usage))
    };
    let flow = Flow::tcp(lab, cores)?;
    std::thread::sleep(OPENING);
    let (_, gbit, tcp) = during(&flow, plan.window(10))?;
    flow.stop()?;
    ensure!(gbit > 0.0, "nothing comes through {}", kind.name());
    let mut others_cores = tcp.others_cores;
    let mut udp = Vec::new();
    for mbit_per_s in RATES_MBIT_PER_S {
        let flow = Flow::udp(lab, cores, Udp { mbit_per_s })?;
        std::thread::sleep(OPENING);
        let (sent, received, usage) = during(&flow, plan.window(20))?;
        flow.stop()?;
        ensure!(received > 0.0, "no datagram comes through {}", kind.name());
        others_cores = others_cores.max(usage.others_cores);
        let lost_percent = (1.0 - received / sent).max(0.0) * 100.0;
        udp.push(Datagrams { cpu_s_per_gbit: usage.cpu_s / received, lost_percent });
    }
    Ok(Measured {
        tcp_s_per_gbit: tcp.wall_s / gbit,
        tcp_cpu_s_per_gbit: tcp.cpu_s / gbit,
        udp: [udp[0], udp[1], udp[2]],
        others_cores,
    })
}

fn round(measured: &[(Kind, Measured)]) -> Round {
    let mut round = Round::default();
    let of = |kind| measured.iter().find(|(of, _)| *of == kind).map(|(_, measured)| *measured);
    let Some(ours) = of(Kind::Ours) else { return round };
    let peers = KINDS.into_iter().filter(|kind| *kind != Kind::Ours);
    let peers: Vec<(Kind, Measured)> = peers.filter_map(|kind| Some((kind, of(kind)?))).collect();
    for (kind, peer) in &peers {
        let name = kind.name();
        round.note(format!("tcp_s_{name}"), ours.tcp_s_per_gbit, peer.tcp_s_per_gbit);
        round.note(format!("tcp_mbit_{name}"), 1e3 / ours.tcp_s_per_gbit, 1e3 / peer.tcp_s_per_gbit);
        round.note(format!("tcp_cpu_{name}"), ours.tcp_cpu_s_per_gbit, peer.tcp_cpu_s_per_gbit);
    }
    for (number, rate) in RATES_MBIT_PER_S.into_iter().enumerate() {
        let (ours, least) = (ours.udp[number], |value: fn(&Datagrams) -> f64| {
            peers.iter().map(|(_, peer)| value(&peer.udp[number])).fold(f64::INFINITY, f64::min)
        });
        round.note(format!("udp{rate}"), ours.cpu_s_per_gbit, least(|peer| peer.cpu_s_per_gbit));
        round.note(format!("lost{rate}"), ours.lost_percent, least(|peer| peer.lost_percent));
        for (kind, peer) in &peers {
            let key = format!("udp{rate}_{}", kind.name());
            round.note(key, ours.cpu_s_per_gbit, peer.udp[number].cpu_s_per_gbit);
        }
    }
    measured.iter().for_each(|(_, measured)| round.disturbed(measured.others_cores, 0.0));
    round
}

fn rows(rounds: &Rounds, cores: Cores) -> Result<Vec<Row>> {
    let accept = |ratio| match cores {
        Cores::All => Accept::Ratio(ratio),
        Cores::Apart => Accept::Anything,
    };
    let mut rows = Vec::new();
    let mut row = |key: &str, what: String, unit: &str, accept: Accept| -> Result<()> {
        rows.push(rounds.row(key, &what, unit, accept)?);
        Ok(())
    };
    for (name, most_s, most_cpu) in [
        (Kind::WireguardGo.name(), accept(1.0), accept(1.0)),
        (Kind::Gotatun.name(), accept(0.5), Accept::Anything),
        (Kind::Boringtun.name(), Accept::Anything, Accept::Anything),
    ] {
        let stream = format!("one TCP stream, against {name}");
        row(&format!("tcp_s_{name}"), stream.clone(), "s/Gbit", most_s)?;
        row(&format!("tcp_mbit_{name}"), format!("{stream}, more is better"), "Mbit/s", Accept::Anything)?;
        row(&format!("tcp_cpu_{name}"), stream, "CPU-s/Gbit", most_cpu)?;
    }
    for rate in RATES_MBIT_PER_S {
        let datagrams = format!("datagrams at {rate} Mbit/s");
        let best = format!("{datagrams}, against the best of the three");
        row(&format!("udp{rate}"), best, "CPU-s/Gbit", accept(1.0))?;
        row(&format!("lost{rate}"), format!("{datagrams}, lost"), "%", Accept::Anything)?;
        for kind in KINDS.into_iter().filter(|kind| *kind != Kind::Ours) {
            let name = kind.name();
            let against = format!("{datagrams}, against {name}");
            row(&format!("udp{rate}_{name}"), against, "CPU-s/Gbit", Accept::Anything)?;
        }
    }
    Ok(rows)
}
