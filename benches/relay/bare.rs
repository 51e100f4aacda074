//! The floor: one send call per copy in a loop, nothing else.

use std::io::Write;
use std::net::TcpListener;

use confkit::time;

use crate::publisher::{self, Pace};

/// Accepts `count` connections on a port that it prints, says `ready`, and sends every picture to each.
pub(crate) fn run(count: usize) -> anyhow::Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    println!("{}", listener.local_addr()?);
    let mut streams = Vec::with_capacity(count);
    for _ in 0..count {
        let (stream, _) = listener.accept()?;
        stream.set_nodelay(true)?;
        streams.push(stream);
    }
    println!("ready");
    let mut pace = Pace::start();
    for n in 0.. {
        pace.wait(n);
        let frame = publisher::picture(1, n, time::wall());
        for stream in &mut streams {
            if stream.write_all(&frame).is_err() {
                return Ok(());
            }
        }
    }
    Ok(())
}
