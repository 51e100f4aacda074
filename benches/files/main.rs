//! How fast files go through a room, beside the tools that people would use instead.
//!
//! `cargo bench --bench files` (`make bench-files`). The real programs, each in a process of its own, over the
//! loopback, with their data on a real disk. What is compared takes turns, and a ratio is that of the turns of
//! one round. `CONF_BENCH_DIR` names another disk; `CONF_BENCH_ONLY` some of `large small resume again`;
//! sizes, below, are set for a short form. Ends non-zero only when it could not measure.
#![allow(clippy::print_stdout, clippy::print_stderr)]

mod peers;
mod place;
mod programs;
mod proxy;

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use confkit::{limits, time};
use peers::{PEERS, Serving};
use place::Place;
use programs::{Running, Server, recv, room, send, timed, watch};
use proxy::Proxy;

const MIB: f64 = 1_048_576.0;

fn main() -> anyhow::Result<()> {
    // Test runners ask every target what tests it has.
    if std::env::args().skip(1).any(|arg| arg != "--bench") {
        return Ok(());
    }
    let place = Place::make()?;
    let cores = std::thread::available_parallelism()?;
    println!("files: loopback, no TLS, {cores} cores, data on {}\n", place.file_system());
    let only = std::env::var("CONF_BENCH_ONLY").unwrap_or_else(|_| "large small resume again".into());
    for part in only.split([' ', ',']).filter(|part| !part.is_empty()) {
        match part {
            "large" => large(&place).context("one large file")?,
            "small" => small(&place).context("many small files")?,
            "resume" => resume(&place).context("going on")?,
            "again" => again(&place).context("what goes twice")?,
            other => bail!("CONF_BENCH_ONLY: there is no {other}; there are large, small, resume and again"),
        }
    }
    Ok(())
}

/// A number from the environment.
fn set(name: &str, otherwise: u64) -> anyhow::Result<u64> {
    match std::env::var(name) {
        Ok(text) => text.parse().with_context(|| format!("{name}: expected a whole number")),
        Err(_) => Ok(otherwise),
    }
}

/// What a measured value is beside its goal.
fn verdict(met: bool) -> &'static str {
    if met { "met" } else { "MISSED" }
}

fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = |at: usize| sorted.get(at).copied().unwrap_or(f64::NAN);
    f64::midpoint(middle(sorted.len() / 2), middle(sorted.len().saturating_sub(1) / 2))
}

/// A line of the table: rates of all rounds.
struct Line {
    name: &'static str,
    rates: Vec<f64>,
    /// Of md5sum's rate in the same round.
    goal: Option<f64>,
}

/// One large file: `CONF_BENCH_MIB` (1024), `CONF_BENCH_ROUNDS` (3).
fn large(place: &Place) -> anyhow::Result<()> {
    let (mib, rounds) = (set("CONF_BENCH_MIB", 1024)?, set("CONF_BENCH_ROUNDS", 3)?);
    let file = place.file("large", mib << 20)?;
    let line = |name, goal| Line { name, rates: Vec::new(), goal };
    let mut lines = vec![
        line("md5sum", None),
        line("conf-send alone", Some(0.6)),
        line("conf-recv alone", None),
        line("conf-send and conf-recv at once", Some(0.35)),
    ];
    let mut peers = Vec::new();
    let mut missing = Vec::new();
    for peer in &PEERS {
        match peer.start(place) {
            Ok(Some(serving)) => {
                lines.push(line(peer.name, None));
                peers.push((peer, serving));
            }
            Ok(None) => missing.push(format!("{} is not installed ({})", peer.name, peer.hint)),
            Err(error) => missing.push(format!("{} cannot be measured: {error:#}", peer.name)),
        }
    }
    for _ in 0..rounds {
        let [sent, received] = alone(place, &file)?;
        let own = [timed(Command::new("md5sum").arg(&file))?, sent, received, at_once(place, &file)?];
        let others = peers.iter().map(|(peer, serving)| carried(place, peer, serving, &file));
        for (line, took) in lines.iter_mut().zip(own.into_iter().map(Ok).chain(others)) {
            line.rates.push(mib as f64 / took.with_context(|| line.name)?.as_secs_f64());
        }
    }
    show(&lines, mib);
    let rate = |name: &str| lines.iter().find(|line| line.name == name).map(|line| median(&line.rates));
    if let (Some(wormhole), Some(ours)) = (rate("magic-wormhole"), rate("conf-send and conf-recv at once")) {
        let times = ours / wormhole;
        println!(
            "at once, it is {times:.1} times magic-wormhole (goal: at least 3): {}",
            verdict(times >= 3.0)
        );
    }
    missing.iter().for_each(|missing| println!("left out: {missing}"));
    println!();
    std::fs::remove_file(file)?;
    Ok(())
}

fn show(lines: &[Line], mib: u64) {
    println!("one file of {mib} MiB                 MiB/s, each round          of md5sum     goal");
    for line in lines {
        let rates = line.rates.iter().map(|rate| format!("{rate:>6.0}")).collect::<String>();
        let ratios: Vec<f64> = line.rates.iter().zip(&lines[0].rates).map(|(own, md5)| own / md5).collect();
        let ratio = median(&ratios);
        let goal = line.goal.map(|goal| format!("at least {goal}: {}", verdict(ratio >= goal)));
        println!("{:<32} {rates:<26} {ratio:>5.2}         {}", line.name, goal.unwrap_or_default());
    }
}

/// What uploading alone takes, and then downloading alone.
fn alone(place: &Place, file: &Path) -> anyhow::Result<[Duration; 2]> {
    let (home, into) = (place.fresh("home")?, place.fresh("in")?);
    let server = Server::start(&home, "127.0.0.1:0")?;
    let sent = timed(&mut send(&home, &server.room(), file))?;
    rustix::fs::sync();
    let other = place.fresh("other")?;
    let received = timed(&mut recv(&other, &server.room(), &["1"], &into))?;
    Ok([sent, received])
}

/// What it takes until all is sent and received, where both begin together.
fn at_once(place: &Place, file: &Path) -> anyhow::Result<Duration> {
    let (home, other, into) = (place.fresh("home")?, place.fresh("other")?, place.fresh("in")?);
    let server = Server::start(&home, "127.0.0.1:0")?;
    let mut receiver = watch(&other, &server.room(), &into)?;
    let mut said = receiver.stdout()?;
    let begun = time::now();
    let mut sender = Running::start(send(&home, &server.room(), file).stdout(std::process::Stdio::null()))?;
    said.next().context("conf-recv ended")??;
    sender.wait()?;
    Ok(time::now().since(begun))
}

fn carried(place: &Place, peer: &peers::Peer, serving: &Serving, file: &Path) -> anyhow::Result<Duration> {
    peer.carry(serving, file, &place.fresh("in")?)
}

/// Many small files: `CONF_BENCH_FILES` (10,000) of 4 KiB.
fn small(place: &Place) -> anyhow::Result<()> {
    let count = set("CONF_BENCH_FILES", 10_000)? as usize;
    let files = place.many("small", count, 4096)?;
    let (home, other, into) = (place.fresh("home")?, place.fresh("other")?, place.fresh("in")?);
    let server = Server::start(&home, "127.0.0.1:0")?;
    let sent = timed(&mut send(&home, &server.room(), &files))?;
    rustix::fs::sync();
    let received = timed(&mut recv(&other, &server.room(), &["1"], &into))?;
    let whole = place::same(&files, &into.join("small"))?;
    ensure!(whole == count, "{whole} of {count} files arrived");
    println!("{count} files of 4 KiB");
    for (name, took) in [("sent", sent), ("received", received)] {
        let rate = count as f64 / took.as_secs_f64();
        println!("{name:<32} {rate:>6.0} files/s (goal: at least 2000): {}", verdict(rate >= 2000.0));
    }
    for peer in PEERS.iter().filter(|peer| peer.name == "rsync daemon") {
        if let Ok(Some(serving)) = peer.start(place) {
            let rate = count as f64 / carried(place, peer, &serving, &files)?.as_secs_f64();
            println!("{:<32} {rate:>6.0} files/s", peer.name);
        }
    }
    println!();
    Ok(())
}

/// Going on with a large transfer that was killed in its middle: `CONF_BENCH_RESUME_MIB` (10,240).
fn resume(place: &Place) -> anyhow::Result<()> {
    /// More than what is said before the first chunk.
    const MOVES: u64 = 128 * 1024;
    let mib = set("CONF_BENCH_RESUME_MIB", 10 * 1024)?;
    let file = place.sparse("sparse", mib << 20)?;
    let (home, other, into) = (place.fresh("home")?, place.fresh("other")?, place.fresh("in")?);
    let server = Server::start(&home, "127.0.0.1:0")?;
    let proxy = Proxy::start(&server.address, false)?;
    let room = room(&proxy.address);
    let receiver = watch(&other, &room, &into)?;
    let sender = Running::start(&mut send(&home, &room, &file))?;
    proxy.down().reach(mib << 19)?;
    receiver.kill()?;
    sender.kill()?;
    rustix::fs::sync();
    println!("going on with {mib} MiB, killed in the middle");
    let moves = |direction: &proxy::Direction, mut command: Command| -> anyhow::Result<(Running, Duration)> {
        let (before, begun) = (direction.bytes(), time::now());
        let running = Running::start(&mut command)?;
        direction.reach(before + MOVES)?;
        Ok((running, time::now().since(begun)))
    };
    let (sender, first) = moves(proxy.up(), send(&home, &room, &file))?;
    tell("conf-send moves bytes after", first);
    // Some of it is there that the receiver has not.
    let before = proxy.up().bytes();
    proxy.up().reach(before + (64 << 20).min(mib << 17))?;
    sender.kill()?;
    let (receiver, first) = moves(proxy.down(), recv(&other, &room, &["1"], &into))?;
    tell("conf-recv moves bytes after", first);
    receiver.kill()?;
    drop(server);
    println!();
    std::fs::remove_file(file)?;
    for directory in [home, other, into] {
        std::fs::remove_dir_all(directory)?;
    }
    Ok(())
}

fn tell(what: &str, took: Duration) {
    let goal = Duration::from_secs(1);
    println!(
        "{what:<32} {:>6.0} ms (goal: at most 1000): {}",
        took.as_secs_f64() * 1e3,
        verdict(took <= goal)
    );
}

/// What goes twice when one of the programs is killed: `CONF_BENCH_AGAIN_MIB` (128), five times each.
fn again(place: &Place) -> anyhow::Result<()> {
    let mib = set("CONF_BENCH_AGAIN_MIB", 128)?;
    let file = place.file("again", mib << 20)?;
    println!("sent again after one kill -9, the most of five, {mib} MiB");
    for (name, who) in [("conf-send", Who::Sender), ("conf-serve", Who::Server), ("conf-recv", Who::Receiver)]
    {
        let mut most = 0;
        for part in 1..=5 {
            most = most.max(killed(place, &file, who, (mib << 20) * part / 6)?);
        }
        let met = verdict(most <= limits::UPLOAD_WINDOW as u64);
        println!("{name:<32} {:>6.2} MiB (goal: at most 8): {met}", most as f64 / MIB);
    }
    println!();
    std::fs::remove_file(file)?;
    Ok(())
}

/// Who is killed.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Who {
    Sender,
    Server,
    Receiver,
}

/// Bytes that went twice, where `who` is killed after so many.
fn killed(place: &Place, file: &Path, who: Who, after: u64) -> anyhow::Result<u64> {
    let (home, into) = (place.fresh("home")?, place.fresh("in")?);
    let mut server = Server::start(&home, "127.0.0.1:0")?;
    let proxy = Proxy::start(&server.address, true)?;
    let room = room(&proxy.address);
    let quiet = |mut command: Command| {
        command.stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null());
        Running::start(&mut command)
    };
    if who == Who::Receiver {
        timed(&mut send(&home, &server.room(), file))?;
        let other = place.fresh("other")?;
        let receive = || recv(&other, &room, &["1"], &into);
        let receiver = quiet(receive())?;
        proxy.down().reach(after)?;
        receiver.kill()?;
        quiet(receive())?.wait()?;
        let copy = into.join(file.file_name().context("a file has a name")?);
        ensure!(std::fs::read(file)? == std::fs::read(copy)?, "what arrived is not what was sent");
        return Ok(proxy.down().again());
    }
    let mut sender = quiet(send(&home, &room, file))?;
    proxy.up().reach(after)?;
    if who == Who::Sender {
        sender.kill()?;
        sender = quiet(send(&home, &room, file))?;
    } else {
        let address = server.address.clone();
        server.kill()?;
        server = Server::start(&home, &address)?;
    }
    sender.wait()?;
    drop(server);
    Ok(proxy.up().again())
}
