//! Glass to glass: from the capture of a picture to its hand-over to the window, through the real
//! programs on the loopback.
//!
//! `cargo bench --bench latency` (`make bench-latency`). `conf-cam --video test:clock` burns the time of
//! capture into each picture; `conf-view --stats=json` reads it back from what it has decoded. Ends
//! non-zero only when it could not measure.
#![allow(clippy::print_stdout, clippy::print_stderr)]

use std::io::{BufRead, BufReader, Lines};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::Duration;

use anyhow::{Context, bail};

/// Seconds of meeting, of which the first are left out: connecting, first pictures, playout settling.
const SECONDS: usize = 20;
const SETTLE: usize = 5;

/// A program of the pipeline; it ends when this is dropped.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn main() -> anyhow::Result<()> {
    // Test runners ask every target what tests it has.
    if std::env::args().skip(1).any(|arg| arg != "--bench") {
        return Ok(());
    }
    println!("latency: test:clock through conf-cam | conf-send, conf-serve, conf-view on the loopback\n");
    println!("pictures         p50        p99        pictures/s");
    for (size, fps) in [("640x480", "30"), ("1280x720", "30")] {
        let [p50, p99, rate] = measure(size, fps).with_context(|| format!("{size} at {fps}/s"))?;
        println!("{size:<9} {fps}/s  {p50:>6.1} ms  {p99:>6.1} ms  {rate:>8.1}");
    }
    println!("\ngoals at 640x480 and 30/s: p50 below 50 ms, p99 below 80 ms");
    Ok(())
}

/// Medians over the seconds measured of p50 and of the rate, and the worst second's p99.
fn measure(size: &str, fps: &str) -> anyhow::Result<[f64; 3]> {
    let dir = tempfile::tempdir()?;
    let mut server =
        program(env!("CARGO_BIN_EXE_conf-serve"), &["--quiet", "--ephemeral", "127.0.0.1:0"], dir.path())
            .stdout(Stdio::piped())
            .spawn()
            .map(Running)?;
    let room = address(&mut server)?;
    let mut cam = program(
        env!("CARGO_BIN_EXE_conf-cam"),
        &["--quiet", "--video", "test:clock", "--size", size, "--fps", fps],
        dir.path(),
    )
    .stdout(Stdio::piped())
    .spawn()
    .map(Running)?;
    let pipe = cam.0.stdout.take().context("stdout is piped")?;
    let _send =
        program(env!("CARGO_BIN_EXE_conf-send"), &["--quiet", "--room", &room, "--name", "a"], dir.path())
            .env("CONF_IDENTITY_FILE", dir.path().join("sender"))
            .stdin(pipe)
            .spawn()
            .map(Running)?;
    let seconds = SECONDS.to_string() + "s";
    let view = ["--quiet", "--room", &room, "--name", "b", "--no-window", "--stats=json", "-t", &seconds];
    let mut view = program(env!("CARGO_BIN_EXE_conf-view"), &view, dir.path())
        .env("CONF_IDENTITY_FILE", dir.path().join("viewer"))
        .stdout(Stdio::piped())
        .spawn()
        .map(Running)?;
    let lines = within(BufReader::new(view.0.stdout.take().context("stdout is piped")?).lines());
    let (mut p50, mut p99, mut rate) = (Vec::new(), Vec::new(), Vec::new());
    while let Ok(line) = lines.recv_timeout(Duration::from_secs(SECONDS as u64 + 15)) {
        let Ok(report) = serde_json::from_str::<serde_json::Value>(&line) else { continue };

        if let (Some(half), Some(most)) =
            (report["latency_ms"]["p50"].as_f64(), report["latency_ms"]["p99"].as_f64())
        {
            p50.push(half);
            p99.push(most);
            rate.push(report["fps"].as_f64().unwrap_or_default());
        }
    }
    if p50.len() <= SETTLE + 1 {
        bail!("conf-view reported a latency in {} seconds only", p50.len());
    }
    let settled = |all: Vec<f64>| {
        let mut settled = all[SETTLE..].to_vec();
        settled.sort_by(f64::total_cmp);
        settled
    };
    let (p50, p99, rate) = (settled(p50), settled(p99), settled(rate));
    Ok([p50[p50.len() / 2], p99[p99.len() - 1], rate[rate.len() / 2]])
}

fn program(path: &str, args: &[&str], dir: &std::path::Path) -> Command {
    let mut command = Command::new(path);
    command.args(args).env("XDG_STATE_HOME", dir).env_remove("CONF_ROOM").stdin(Stdio::null());
    command
}

/// The lines as they come, so that waiting for one has a limit.
fn within(lines: Lines<BufReader<ChildStdout>>) -> Receiver<String> {
    let (to, from) = sync_channel(64);
    std::thread::spawn(move || {
        lines.map_while(Result::ok).take_while(|line| to.send(line.clone()).is_ok()).count()
    });
    from
}

fn address(server: &mut Running) -> anyhow::Result<String> {
    let lines = within(BufReader::new(server.0.stdout.take().context("stdout is piped")?).lines());
    while let Ok(line) = lines.recv_timeout(Duration::from_secs(10)) {
        if let Some((_, rest)) = line.split_once("conf://") {
            return Ok(format!("conf://{rest}").trim().to_owned());
        }
    }
    bail!("conf-serve did not print its address")
}
