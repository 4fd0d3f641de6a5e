//! Measures connections: whether one comes about, how long it takes, whether anybody answers.
//!
//! A connection that comes about proves that packets go both ways; it does not prove that the
//! process behind the port is alive, because the kernel accepts on its behalf. Ask for an answer
//! to see that.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, SocketAddrV4, TcpStream};
use std::os::fd::AsRawFd;
use std::thread;
use std::time::{Duration, Instant};

use super::{Flood, Probe, ProbeResult};

/// Probes all addresses at once; the results are in the order of the addresses.
pub fn run(probe: &Probe) -> Vec<ProbeResult> {
    let timeout = Duration::from_millis(u64::from(probe.timeout_ms.max(1)));
    let say = probe.say.as_deref();
    thread::scope(|scope| {
        let start = |to: &SocketAddrV4| {
            let to = *to;
            scope.spawn(move || one(to, timeout, say))
        };
        let running: Vec<_> = probe.to.iter().map(start).collect();
        running
            .into_iter()
            .map(|thread| thread.join().expect("a probe does not panic"))
            .collect()
    })
}

fn one(to: SocketAddrV4, timeout: Duration, say: Option<&str>) -> ProbeResult {
    let mut result = ProbeResult {
        to,
        connect_us: None,
        answer_us: None,
        error: None,
    };
    let begin = Instant::now();
    let stream = match TcpStream::connect_timeout(&SocketAddr::V4(to), timeout) {
        Ok(stream) => stream,
        Err(error) => {
            result.error = Some(name(&error));
            return result;
        }
    };
    result.connect_us = Some(begin.elapsed().as_micros() as u64);
    if let Some(say) = say {
        match answer(stream, timeout, say) {
            Ok(took) => result.answer_us = Some(took.as_micros() as u64),
            Err(error) => result.error = Some(name(&error)),
        }
    }
    result
}

fn answer(mut stream: TcpStream, timeout: Duration, say: &str) -> std::io::Result<Duration> {
    stream.set_read_timeout(Some(timeout))?;
    stream.set_write_timeout(Some(timeout))?;
    let begin = Instant::now();
    stream.write_all(say.as_bytes())?;
    let mut byte = [0];
    match stream.read(&mut byte)? {
        0 => Err(ErrorKind::UnexpectedEof.into()),
        _ => Ok(begin.elapsed()),
    }
}

/// The announced length of the request that a flood begins: below what brokers take for hostile.
const ANNOUNCED: u32 = 900 << 10;
/// Between two questions to the kernel.
const PAUSE: Duration = Duration::from_millis(1);

/// Connects and sends so many bytes: the beginning of one request, so that a broker waits for the
/// rest. `answer_us` is the time until the kernel at the other end has them all.
pub fn flood(order: &Flood) -> ProbeResult {
    let timeout = Duration::from_millis(u64::from(order.timeout_ms.max(1)));
    let mut result = ProbeResult {
        to: order.to,
        connect_us: None,
        answer_us: None,
        error: None,
    };
    let begin = Instant::now();
    let stream = match TcpStream::connect_timeout(&SocketAddr::V4(order.to), timeout) {
        Ok(stream) => stream,
        Err(error) => {
            result.error = Some(name(&error));
            return result;
        }
    };
    result.connect_us = Some(begin.elapsed().as_micros() as u64);
    match until_sent(stream, order.bytes.min(ANNOUNCED), timeout) {
        Ok(took) => result.answer_us = Some(took.as_micros() as u64),
        Err(error) => result.error = Some(name(&error)),
    }
    result
}

fn until_sent(mut stream: TcpStream, bytes: u32, timeout: Duration) -> std::io::Result<Duration> {
    stream.set_write_timeout(Some(timeout))?;
    let begin = Instant::now();
    stream.write_all(&ANNOUNCED.to_be_bytes())?;
    stream.write_all(&vec![0; bytes as usize])?;
    loop {
        let mut unsent: libc::c_int = 0;
        // SAFETY: the descriptor is open, and TIOCOUTQ writes one integer.
        if unsafe { libc::ioctl(stream.as_raw_fd(), libc::TIOCOUTQ, &raw mut unsent) } != 0 {
            return Err(std::io::Error::last_os_error());
        }
        if unsent == 0 {
            return Ok(begin.elapsed());
        }
        if begin.elapsed() > timeout {
            return Err(ErrorKind::TimedOut.into());
        }
        thread::sleep(PAUSE);
    }
}

fn name(error: &std::io::Error) -> String {
    match error.kind() {
        ErrorKind::TimedOut | ErrorKind::WouldBlock => super::TIMEOUT.to_owned(),
        ErrorKind::ConnectionRefused => "refused".to_owned(),
        ErrorKind::ConnectionReset => "reset".to_owned(),
        ErrorKind::UnexpectedEof => "closed".to_owned(),
        _ => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, TcpListener};

    use super::*;

    fn local(port: u16) -> SocketAddrV4 {
        SocketAddrV4::new(Ipv4Addr::LOCALHOST, port)
    }

    #[test]
    fn tells_silence_from_refusal_from_an_answer() {
        let silent = TcpListener::bind(local(0)).unwrap();
        let speaking = TcpListener::bind(local(0)).unwrap();
        let closed = TcpListener::bind(local(0)).unwrap();
        let port = |l: &TcpListener| local(l.local_addr().unwrap().port());
        let to = vec![port(&silent), port(&speaking), port(&closed)];
        drop(closed);
        let server = thread::spawn(move || {
            let (mut stream, _) = speaking.accept().unwrap();
            let mut byte = [0];
            stream.read_exact(&mut byte).unwrap();
            stream.write_all(&byte).unwrap();
        });
        let probe = Probe {
            to,
            timeout_ms: 200,
            say: Some("x".to_owned()),
        };
        let results = run(&probe);
        server.join().unwrap();
        // The kernel accepts for the silent one: a connection, but no answer.
        assert!(results[0].connect_us.is_some() && results[0].answer_us.is_none());
        assert_eq!(results[0].error.as_deref(), Some("timeout"));
        assert!(results[1].answer_us.is_some() && results[1].error.is_none());
        assert!(results[2].connect_us.is_none());
        assert_eq!(results[2].error.as_deref(), Some("refused"));
    }
}
