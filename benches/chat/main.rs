//! What a chat costs: one room of 100 members of whom each says something in turn. CPU of the server per
//! delivered message, delay from sending to arrival, delay of the acknowledgements `relayed` and `stored`,
//! memory of an idle member, delay of a key in conf-chat while the room talks; beside ngircd and the publish/subscribe of redis-server, where these are
//! installed, with the same members and the same text.
//!
//! `cargo bench --bench chat` (`make bench-chat`). Every server is a process of its own; the members are
//! one more, which does as little as it can. The servers take turns. Ends non-zero only when it could
//! not measure.
#![allow(clippy::print_stdout, clippy::print_stderr)]

mod keys;
mod members;
#[path = "../relay/process.rs"]
mod process;
mod servers;
mod speech;

use std::time::Duration;

use anyhow::Context;
use members::Report;
use process::Child;
use servers::{Kind, Running};

/// Members of the room.
const MEMBERS: usize = 100;
/// Messages per second to the room, of all members together. The first is what the goals are about.
const RATES: [u64; 3] = [1_000, 2_000, 4_000];
/// How often the first rate is measured with each server.
const TURNS: usize = 3;
/// A conversation that is lively but not a flood.
const CALM: u64 = 50;
/// How long one turn is measured, and how long it runs before that.
const TURN: Duration = Duration::from_secs(3);
const WARM_UP: Duration = Duration::from_secs(1);
/// What is on its way at the end of a turn arrives within this time, or is lost.
const DRAIN: Duration = Duration::from_secs(1);

/// One measured turn.
struct Turn {
    /// CPU of the server per delivered message, in microseconds.
    cpu: f64,
    report: Report,
}

fn main() -> anyhow::Result<()> {
    let args: Vec<String> = std::env::args().skip(1).filter(|arg| arg != "--bench").collect();
    match args.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["members", speech, address, count] => members::run(speech.parse()?, address, count.parse()?),
        // Parts alone, for profiling.
        ["only", kind, rate] => {
            let turn = turn(kind.parse()?, rate.parse()?)?;
            show(rate.parse()?, kind.parse()?, &turn);
            Ok(())
        }
        ["keys"] => typing(),
        ["memory"] => memory(),
        // Test runners ask every target what tests it has.
        [] => measure(),
        _ => Ok(()),
    }
}

fn measure() -> anyhow::Result<()> {
    process::raise_descriptors()?;
    let cores = std::thread::available_parallelism()?;
    println!(
        "chat: one room, {MEMBERS} members, {} bytes of text, loopback, no TLS, {cores} cores",
        speech::TEXT
    );
    let kinds: Vec<Kind> = Kind::ALL.into_iter().filter(|kind| kind.is_here()).collect();
    for missing in Kind::ALL.into_iter().filter(|kind| !kind.is_here()) {
        println!("{missing} is not installed, and skipped");
    }
    println!(
        "\nmessages/s  server                 delivered/s  CPU/delivered  per core   arrival p50, p99        \
         relayed p99   stored p99   lost"
    );
    let mut first: Vec<(Kind, Turn)> = Vec::new();
    for (rate, turns) in RATES.into_iter().zip([TURNS, 1, 1]) {
        for _ in 0..turns {
            for kind in &kinds {
                let turn = turn(*kind, rate).with_context(|| kind.to_string())?;
                show(rate, *kind, &turn);
                if rate == RATES[0] {
                    first.push((*kind, turn));
                }
            }
        }
    }
    let calm = turn(Kind::Stored, CALM)?;
    show(CALM, Kind::Stored, &calm);
    judge(&kinds, &first, &calm);
    memory()?;
    typing()
}

fn show(rate: u64, kind: Kind, turn: &Turn) {
    let Report { delivered, arrival, relayed, stored, lost, .. } = turn.report;
    let ms = |us: u64| us as f64 / 1e3;
    let acked = |ack: Option<members::Delays>| {
        ack.map_or("         -".into(), |delays| format!("{:>7.2} ms", ms(delays.p99)))
    };
    println!(
        "{rate:>10}  {kind:<22} {:>10.0}  {:>10.2} us  {:>9.0}  {:>7.2} ms {:>8.2} ms  {}   {}  {lost:>5}",
        delivered as f64 / TURN.as_secs_f64(),
        turn.cpu,
        1e6 / turn.cpu,
        ms(arrival.p50),
        ms(arrival.p99),
        acked(relayed),
        acked(stored),
    );
}

/// The goals, each with what was measured: the median of the turns.
fn judge(kinds: &[Kind], turns: &[(Kind, Turn)], calm: &Turn) {
    let median = |kind: Kind, of: &dyn Fn(&Turn) -> f64| {
        let mut values: Vec<f64> =
            turns.iter().filter(|(k, _)| *k == kind).map(|(_, turn)| of(turn)).collect();
        values.sort_by(f64::total_cmp);
        values[values.len() / 2]
    };
    let ms = |delays: Option<members::Delays>| delays.map_or(f64::NAN, |delays| delays.p99 as f64 / 1e3);
    let said = |met: bool| if met { "met" } else { "missed" };
    println!("\ngoals, at {} messages/s to {MEMBERS} members (medians of {TURNS} turns)", RATES[0]);
    for kind in [Kind::Ephemeral, Kind::Stored] {
        let each = 1e6 / median(kind, &|turn| turn.cpu);
        let relayed = median(kind, &|turn| ms(turn.report.relayed));
        println!("  {kind:<22} {each:>8.0} delivered/s and core (goal: 100000): {}", said(each >= 1e5));
        println!("  {kind:<22} relayed p99 {relayed:.2} ms (goal: below 20): {}", said(relayed < 20.0));
        for peer in kinds.iter().filter(|kind| kind.is_peer()) {
            let cost = median(kind, &|turn| turn.cpu) / median(*peer, &|turn| turn.cpu);
            let delay = |kind| median(kind, &|turn| turn.report.arrival.p99 as f64 / 1e3);
            println!(
                "  {kind:<22} CPU {cost:.2} times that of {peer} (goal: at most 1): {}; arrival p99 {:.2} ms, there {:.2} ms",
                said(cost <= 1.0),
                delay(kind),
                delay(*peer),
            );
        }
    }
    for (rate, stored) in
        [(RATES[0], median(Kind::Stored, &|turn| ms(turn.report.stored))), (CALM, ms(calm.report.stored))]
    {
        println!(
            "  stored p99 at {rate} messages/s: {stored:.2} ms (goal: below 25): {}",
            said(stored < 25.0)
        );
    }
}

fn turn(kind: Kind, rate: u64) -> anyhow::Result<Turn> {
    let server = Running::start(kind)?;
    let mut members = members(&server, MEMBERS)?;
    members.say(&format!("go {rate}"))?;
    std::thread::park_timeout(WARM_UP);
    members.say("reset")?;
    let before = process::cpu_us(server.id())?;
    std::thread::park_timeout(TURN);
    members.say("stop")?;
    let used = process::cpu_us(server.id())? - before;
    std::thread::park_timeout(DRAIN);
    members.say("report")?;
    let report: Report = serde_json::from_str(&members.line()?)?;
    Ok(Turn { cpu: used / report.delivered.max(1) as f64, report })
}

fn members(server: &Running, count: usize) -> anyhow::Result<Child> {
    let args = ["members", server.kind().speech().name(), server.address(), &count.to_string()];
    let mut members = Child::start_self(&args)?;
    members.expect("ready")?;
    Ok(members)
}

fn typing() -> anyhow::Result<()> {
    println!("\na key in the real conf-chat, 120x40, until it is on the screen (goal: below 16 ms)");
    for rate in [0, 1_000, 10_000] {
        let delays = keys::measure(rate)?;
        let ms = |us: u64| us as f64 / 1e3;
        println!(
            "  while {rate:>5} messages/s come   p50 {:>6.2} ms   p99 {:>6.2} ms   max {:>6.2} ms",
            ms(delays.p50),
            ms(delays.p99),
            ms(delays.max)
        );
    }
    Ok(())
}

fn memory() -> anyhow::Result<()> {
    const IDLE: usize = 900;
    println!("\nmemory of the server per idle member ({IDLE} in one room, resident)");
    for kind in [Kind::Ephemeral, Kind::Stored] {
        let server = Running::start(kind)?;
        // What the allocator and the runtime take once is not a member's.
        let first = members(&server, 10)?;
        let before = process::resident(server.id())?;
        let idle = members(&server, IDLE)?;
        std::thread::park_timeout(WARM_UP);
        let each = (process::resident(server.id())? - before) as f64 / IDLE as f64 / 1024.0;
        println!("  {kind:<22} {each:>6.1} KiB (goal: at most 64)");
        drop((idle, first));
    }
    Ok(())
}
