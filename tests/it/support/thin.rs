//! A thin line to the server: all connections through it share one queue and one rate, as they do behind a modem.
#![allow(clippy::disallowed_methods)] // A line is as slow as its clock.

use std::collections::VecDeque;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use confkit::time;
use socket2::SockRef;

/// Bytes that travel together.
const PACKET: usize = 1_460;

/// What waits on the line, in the order in which it came.
#[derive(Default)]
struct Queue {
    packets: VecDeque<(Arc<TcpStream>, Vec<u8>)>,
    bytes: usize,
}

/// See the module. It goes on for as long as the test.
pub struct Thin {
    pub address: SocketAddr,
}

impl Thin {
    /// From the server it takes `rate` bytes per second, of which `most` wait; to the server it is not thin.
    pub fn to(server: SocketAddr, rate: f64, most: usize) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        // What waits in sockets at the far end would be no queue of the line's.
        SockRef::from(&listener).set_send_buffer_size(4 * PACKET).unwrap();
        let address = listener.local_addr().unwrap();
        let queue = Arc::new((Mutex::new(Queue::default()), Condvar::new()));
        let line = Arc::clone(&queue);
        std::thread::spawn(move || run(&line, rate));
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                carry(client, server, &queue, most);
            }
        });
        Self { address }
    }
}

fn carry(client: TcpStream, server: SocketAddr, queue: &Arc<(Mutex<Queue>, Condvar)>, most: usize) {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    // As little as the window of a connection over such a line.
    socket.set_recv_buffer_size(8 * PACKET).unwrap();
    if socket.connect(&server.into()).is_err() {
        return;
    }
    let server: TcpStream = socket.into();
    let _ = (client.set_nodelay(true), server.set_nodelay(true));
    let (mut up_from, mut up_to) = (client.try_clone().unwrap(), server.try_clone().unwrap());
    std::thread::spawn(move || {
        let _ = std::io::copy(&mut up_from, &mut up_to);
        let _ = up_to.shutdown(Shutdown::Both);
    });
    let (queue, client) = (Arc::clone(queue), Arc::new(client));
    std::thread::spawn(move || {
        let (mut from, mut buffer) = (server, [0; PACKET]);
        while let Ok(count @ 1..) = from.read(&mut buffer) {
            let (line, changed) = &*queue;
            let mut line = line.lock().unwrap();
            while line.bytes + count > most {
                line = changed.wait(line).unwrap();
            }
            line.bytes += count;
            line.packets.push_back((Arc::clone(&client), buffer[..count].to_vec()));
            changed.notify_all();
        }
        let _ = client.shutdown(Shutdown::Both);
    });
}

fn run((line, changed): &(Mutex<Queue>, Condvar), rate: f64) {
    let mut due = time::now();
    loop {
        let (to, packet) = {
            let mut line = line.lock().unwrap();
            loop {
                if let Some(next) = line.packets.pop_front() {
                    break next;
                }
                line = changed.wait(line).unwrap();
            }
        };
        due = due.max(time::now()) + Duration::from_secs_f64(packet.len() as f64 / rate);
        std::thread::sleep(due.since(time::now()));
        let _ = (&*to).write_all(&packet);
        line.lock().unwrap().bytes -= packet.len();
        changed.notify_all();
    }
}
