//! `nemesis-agent echo`: sends back what it is sent, on as many ports as wanted. It stands in for
//! a broker in the tests of the faults, where what matters is the network and the process.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::thread;

/// Serves until killed.
pub fn run(ports: &[u16]) -> io::Result<()> {
    let bind = |port: &u16| TcpListener::bind((Ipv4Addr::UNSPECIFIED, *port));
    let listeners = ports.iter().map(bind).collect::<io::Result<Vec<_>>>()?;
    println!("echo on ports {ports:?}, pid {}", std::process::id());
    thread::scope(|scope| {
        for listener in &listeners {
            scope.spawn(move || {
                for stream in listener.incoming().flatten() {
                    thread::spawn(move || answer(stream));
                }
            });
        }
    });
    Ok(())
}

fn answer(mut stream: TcpStream) {
    let mut buffer = [0; 16 << 10];
    while let Ok(got) = stream.read(&mut buffer) {
        if got == 0 || stream.write_all(&buffer[..got]).is_err() {
            return;
        }
    }
}
