//! What the relay costs: CPU of the server per delivered copy against a bare loop of one send call per
//! copy, delay through the relay, what a stalled subscriber does to the others, memory per connection.
//!
//! `cargo bench --bench relay` (`make bench-relay`); `cargo bench --bench relay -- pairs 500 9` only compares, nine
//! times with 500 subscribers. The server is the real `conf-serve` in a process of
//! its own; so are the bare loop and the receivers, which do next to nothing, so that measuring
//! disturbs little. Bare loop and relay take turns, and the ratio is that of each pair of turns. Ends
//! non-zero only when it could not measure.
#![allow(clippy::print_stdout, clippy::print_stderr)]

mod bare;
mod process;
mod publisher;
mod receivers;
mod rtmp;

use std::time::Duration;

use anyhow::{Context, bail};
use process::{Child, Server};
use publisher::Publisher;
use receivers::Report;

/// Bytes of one picture.
pub(crate) const PICTURE: usize = 6_000;
/// Pictures per second.
pub(crate) const RATE: u64 = 30;

/// How long one turn is measured, and how long it runs before that.
const TURN: Duration = Duration::from_secs(4);
const WARM_UP: Duration = Duration::from_millis(1_500);
/// How often it is looked whether the receivers have read what was replayed to them as they joined.
const SETTLING: Duration = Duration::from_millis(500);
const SETTLED_WITHIN: u32 = 40;
/// Pairs of turns per number of subscribers.
const PAIRS: usize = 5;
/// Pairs of turns with and without a stalled subscriber.
const TURNS: usize = 3;

/// One measured turn.
#[derive(Debug, Clone, Copy)]
struct Turn {
    /// CPU of the sending process per delivered copy, in microseconds.
    cpu: f64,
    report: Report,
    /// Pictures that were sent and did not arrive.
    lost: i64,
}

fn main() -> anyhow::Result<()> {
    let args: Vec<String> = std::env::args().skip(1).filter(|arg| arg != "--bench").collect();
    match args.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["receivers", mode, address, room, count] => receivers::run(mode, address, room, count.parse()?),
        ["bare", count] => bare::run(count.parse()?),
        ["pairs", count, pairs] => {
            process::raise_descriptors()?;
            heading()?;
            compare(count.parse()?, pairs.parse()?)
        }
        // Test runners ask every target what tests it has.
        [] => measure(),
        _ => Ok(()),
    }
}

fn measure() -> anyhow::Result<()> {
    process::raise_descriptors()?;
    heading()?;
    for count in [100, 500] {
        compare(count, PAIRS)?;
    }
    stalled()?;
    memory()
}

fn heading() -> anyhow::Result<()> {
    let cores = std::thread::available_parallelism()?;
    println!("relay: {PICTURE}-byte pictures at {RATE}/s, loopback, no TLS, {cores} cores\n");
    println!("subscribers  sender      CPU/copy    p50       p99       max       lost");
    Ok(())
}

/// Bare loop and relay take turns.
fn compare(count: usize, pairs: usize) -> anyhow::Result<()> {
    let (mut ratios, mut of_peer) = (Vec::new(), Vec::new());
    let peer = rtmp::is_here();
    for _ in 0..pairs {
        let bare = bare_turn(count).context("bare loop")?;
        show(count, "bare loop", &bare);
        let relay = relay_turn(count, 0).context("relay")?;
        show(count, "conf-serve", &relay);
        ratios.push(relay.cpu / bare.cpu);
        if peer {
            let nginx = rtmp_turn(count).context("nginx-rtmp")?;
            show(count, "nginx-rtmp", &nginx);
            of_peer.push(relay.cpu / nginx.cpu);
        }
    }
    println!("{count:>11}  ratio       {} (goal: at most 1.3)", median_of(ratios));
    match peer {
        true => println!("{count:>11}  of nginx-rtmp: {}\n", median_of(of_peer)),
        false => println!("             nginx-rtmp is not here: apt install nginx-light libnginx-mod-rtmp\n"),
    }
    Ok(())
}

/// All of them in order, and the one in the middle.
fn median_of(mut ratios: Vec<f64>) -> String {
    ratios.sort_by(f64::total_cmp);
    let shown: Vec<String> = ratios.iter().map(|ratio| format!("{ratio:.2}")).collect();
    let median = ratios.get(ratios.len() / 2).copied().unwrap_or_default();
    format!("{}; median {median:.2}", shown.join(", "))
}

fn show(count: usize, sender: &str, turn: &Turn) {
    let ms = |us: u64| us as f64 / 1e3;
    println!(
        "{count:>11}  {sender:<10}  {:>5.2} us  {:>7.2} ms {:>7.2} ms {:>7.2} ms {:>6}",
        turn.cpu,
        ms(turn.report.p50),
        ms(turn.report.p99),
        ms(turn.report.max),
        turn.lost
    );
}

fn bare_turn(count: usize) -> anyhow::Result<Turn> {
    let mut sender = Child::start_self(&["bare", &count.to_string()])?;
    let address = sender.line()?;
    let mut receivers = Child::start_self(&["receivers", "raw", &address, "-", &count.to_string()])?;
    receivers.expect("ready")?;
    sender.expect("ready")?;
    std::thread::park_timeout(WARM_UP);
    turn(&mut receivers, sender.id(), count)
}

fn relay_turn(count: usize, stalled: usize) -> anyhow::Result<Turn> {
    let server = Server::start()?;
    let publisher = Publisher::start(server.address(), "bench")?;
    let mut receivers =
        Child::start_self(&["receivers", "read", server.address(), "bench", &count.to_string()])?;
    receivers.expect("ready")?;
    let mut idle = None;
    if stalled > 0 {
        let mut child =
            Child::start_self(&["receivers", "stall", server.address(), "bench", &stalled.to_string()])?;
        child.expect("ready")?;
        idle = Some(child);
    }
    std::thread::park_timeout(WARM_UP);
    let turn = turn(&mut receivers, server.id(), count)?;
    drop((publisher, idle));
    Ok(turn)
}

fn rtmp_turn(count: usize) -> anyhow::Result<Turn> {
    let nginx = rtmp::Nginx::start()?;
    let publisher = rtmp::Publisher::start(nginx.address())?;
    let mut receivers =
        Child::start_self(&["receivers", "rtmp", nginx.address(), "bench", &count.to_string()])?;
    receivers.expect("ready")?;
    std::thread::park_timeout(WARM_UP);
    let turn = turn(&mut receivers, nginx.id(), count)?;
    drop(publisher);
    Ok(turn)
}

/// Measures for [`TURN`]. A picture that is on its way at either end is not lost: the receivers count
/// gaps in the order of the pictures.
fn turn(receivers: &mut Child, sender: u32, count: usize) -> anyhow::Result<Turn> {
    settle(receivers)?;
    receivers.say("reset")?;
    let before = process::cpu_us(sender)?;
    std::thread::park_timeout(TURN);
    let used = process::cpu_us(sender)? - before;
    receivers.say("report")?;
    let report: Report = serde_json::from_str(&receivers.line()?)?;
    if report.pictures < count as u64 {
        bail!("only {} pictures arrived", report.pictures);
    }
    Ok(Turn { cpu: used / report.pictures as f64, report, lost: report.gaps as i64 })
}

/// Waits until nothing but the present arrives: a newcomer is sent the pictures since the last key, which
/// for hundreds of newcomers at once is much to send and to read, and is not what is measured.
fn settle(receivers: &mut Child) -> anyhow::Result<()> {
    for _ in 0..SETTLED_WITHIN {
        receivers.say("reset")?;
        std::thread::park_timeout(SETTLING);
        receivers.say("report")?;
        let report: Report = serde_json::from_str(&receivers.line()?)?;
        if report.replayed == 0 && report.pictures > 0 {
            return Ok(());
        }
    }
    bail!("the receivers did not get to the present within {:?}", SETTLING * SETTLED_WITHIN)
}

fn stalled() -> anyhow::Result<()> {
    println!("a stalled subscriber among 100");
    let mut shifts = Vec::new();
    for _ in 0..TURNS {
        let without = relay_turn(100, 0)?;
        show(100, "none", &without);
        let with = relay_turn(100, 1)?;
        show(100, "1 stalled", &with);
        shifts.push((with.report.p99 as f64 - without.report.p99 as f64) / 1e3);
    }
    shifts.sort_by(f64::total_cmp);
    let shown: Vec<String> = shifts.iter().map(|shift| format!("{shift:+.2}")).collect();
    println!("             shift of p99 in ms: {} (goal: at most 2)\n", shown.join(", "));
    Ok(())
}

fn memory() -> anyhow::Result<()> {
    const IDLE: usize = 1_000;
    const STALLED: usize = 50;
    println!("memory of the server (resident)");
    let server = Server::start()?;
    // What the allocator and the runtime take once is not a connection's.
    let mut first = Child::start_self(&["receivers", "idle", server.address(), "first", "10"])?;
    first.expect("ready")?;
    std::thread::park_timeout(WARM_UP);
    let before = process::resident(server.id())?;
    let mut idle = Child::start_self(&["receivers", "idle", server.address(), "idle", &IDLE.to_string()])?;
    idle.expect("ready")?;
    std::thread::park_timeout(WARM_UP);
    let each = (process::resident(server.id())? - before) as f64 / IDLE as f64;
    println!("  idle connection     {:>8.1} KiB of {IDLE} in one room (goal: at most 64)", each / 1024.0);
    drop((idle, first));

    let server = Server::start()?;
    let publisher = Publisher::start(server.address(), "bench")?;
    let mut reading = Child::start_self(&["receivers", "read", server.address(), "bench", "5"])?;
    reading.expect("ready")?;
    std::thread::park_timeout(WARM_UP);
    let before = process::resident(server.id())?;
    let mut stalled =
        Child::start_self(&["receivers", "stall", server.address(), "bench", &STALLED.to_string()])?;
    stalled.expect("ready")?;
    let mut most = 0;
    for _ in 0..16 {
        std::thread::park_timeout(Duration::from_millis(500));
        most = most.max(process::resident(server.id())? - before);
    }
    let each = most as f64 / STALLED as f64;
    println!("  stalled connection  {:>8.1} KiB of {STALLED} over 8 s (goal: at most 4096)", each / 1024.0);
    drop(publisher);
    Ok(())
}
