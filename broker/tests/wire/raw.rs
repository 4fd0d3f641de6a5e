//! A connection that sends what it is told to.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(20);

/// One connection; everything on it is given up after a while.
pub struct Raw {
    pub stream: TcpStream,
}

impl Raw {
    pub fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).expect("it listens");
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        stream.set_write_timeout(Some(PATIENCE)).expect("a timeout");
        Self { stream }
    }

    pub fn send(&mut self, request: &[u8]) {
        let length = i32::try_from(request.len()).expect("small");
        self.stream
            .write_all(&length.to_be_bytes())
            .expect("it is read");
        self.stream.write_all(request).expect("it is read");
    }

    /// The next answer, without its length.
    pub fn receive(&mut self) -> Vec<u8> {
        self.try_receive().expect("an answer")
    }

    pub fn try_receive(&mut self) -> std::io::Result<Vec<u8>> {
        let mut length = [0; 4];
        self.stream.read_exact(&mut length)?;
        let length = usize::try_from(i32::from_be_bytes(length)).expect("a length");
        let mut answer = vec![0; length];
        self.stream.read_exact(&mut answer)?;
        Ok(answer)
    }

    pub fn ask(&mut self, request: &[u8]) -> Vec<u8> {
        self.send(request);
        self.receive()
    }

    /// Whether the broker closes the connection without another answer.
    pub fn is_closed(&mut self) -> bool {
        match self.try_receive() {
            Ok(answer) => panic!("an answer instead: {}", crate::hex::show(&answer)),
            Err(error) => error.kind() != std::io::ErrorKind::WouldBlock,
        }
    }
}
