//! Sockets as the rest of the broker sees them: the kernel's, or in a simulation the simulated
//! network's. Which it is, the thread decides: one that simulates a world has no other network.

use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

#[cfg(feature = "simulation")]
use crate::sim::net::{SimListener, SimReadHalf, SimStream, SimWriteHalf};

/// A connection.
pub enum TcpStream {
    /// The kernel's.
    Kernel(tokio::net::TcpStream),
    /// A simulated one.
    #[cfg(feature = "simulation")]
    Simulated(SimStream),
}

/// The receiving half of a connection.
pub enum OwnedReadHalf {
    /// The kernel's.
    Kernel(tokio::net::tcp::OwnedReadHalf),
    /// A simulated one.
    #[cfg(feature = "simulation")]
    Simulated(SimReadHalf),
}

/// The sending half of a connection; dropping it ends that direction.
pub enum OwnedWriteHalf {
    /// The kernel's.
    Kernel(tokio::net::tcp::OwnedWriteHalf),
    /// A simulated one.
    #[cfg(feature = "simulation")]
    Simulated(SimWriteHalf),
}

/// A listener.
pub enum TcpListener {
    /// The kernel's.
    Kernel(tokio::net::TcpListener),
    /// A simulated one.
    #[cfg(feature = "simulation")]
    Simulated(SimListener),
}

impl TcpStream {
    /// Both halves.
    #[must_use]
    pub fn into_split(self) -> (OwnedReadHalf, OwnedWriteHalf) {
        match self {
            Self::Kernel(stream) => {
                let (read, write) = stream.into_split();
                (OwnedReadHalf::Kernel(read), OwnedWriteHalf::Kernel(write))
            }
            #[cfg(feature = "simulation")]
            Self::Simulated(stream) => {
                let (read, write) = stream.into_split();
                (
                    OwnedReadHalf::Simulated(read),
                    OwnedWriteHalf::Simulated(write),
                )
            }
        }
    }
}

impl TcpListener {
    /// The next connection, and who made it.
    ///
    /// # Errors
    /// The operating system's.
    pub async fn accept(&self) -> io::Result<(TcpStream, SocketAddr)> {
        match self {
            Self::Kernel(listener) => {
                let (stream, peer) = listener.accept().await?;
                Ok((TcpStream::Kernel(stream), peer))
            }
            #[cfg(feature = "simulation")]
            Self::Simulated(listener) => {
                let (stream, peer) = listener.accept().await;
                Ok((TcpStream::Simulated(stream), peer))
            }
        }
    }

    /// Where it listens.
    ///
    /// # Errors
    /// The operating system's.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        match self {
            Self::Kernel(listener) => listener.local_addr(),
            #[cfg(feature = "simulation")]
            Self::Simulated(listener) => Ok(listener.local_addr()),
        }
    }
}

/// Hands one call to whichever socket it is.
macro_rules! either {
    ($socket:expr, $inner:ident => $call:expr) => {
        match $socket {
            Self::Kernel($inner) => $call,
            #[cfg(feature = "simulation")]
            Self::Simulated($inner) => $call,
        }
    };
}

macro_rules! reads {
    ($socket:ty) => {
        impl AsyncRead for $socket {
            fn poll_read(
                self: Pin<&mut Self>,
                context: &mut Context<'_>,
                buffer: &mut ReadBuf<'_>,
            ) -> Poll<io::Result<()>> {
                either!(self.get_mut(), inner => Pin::new(inner).poll_read(context, buffer))
            }
        }
    };
}

macro_rules! writes {
    ($socket:ty) => {
        impl AsyncWrite for $socket {
            fn poll_write(
                self: Pin<&mut Self>,
                context: &mut Context<'_>,
                bytes: &[u8],
            ) -> Poll<io::Result<usize>> {
                either!(self.get_mut(), inner => Pin::new(inner).poll_write(context, bytes))
            }

            fn poll_write_vectored(
                self: Pin<&mut Self>,
                context: &mut Context<'_>,
                pieces: &[IoSlice<'_>],
            ) -> Poll<io::Result<usize>> {
                either!(self.get_mut(), inner => {
                    Pin::new(inner).poll_write_vectored(context, pieces)
                })
            }

            fn is_write_vectored(&self) -> bool {
                either!(self, inner => inner.is_write_vectored())
            }

            fn poll_flush(
                self: Pin<&mut Self>,
                context: &mut Context<'_>,
            ) -> Poll<io::Result<()>> {
                either!(self.get_mut(), inner => Pin::new(inner).poll_flush(context))
            }

            fn poll_shutdown(
                self: Pin<&mut Self>,
                context: &mut Context<'_>,
            ) -> Poll<io::Result<()>> {
                either!(self.get_mut(), inner => Pin::new(inner).poll_shutdown(context))
            }
        }
    };
}

reads!(TcpStream);
writes!(TcpStream);
reads!(OwnedReadHalf);
writes!(OwnedWriteHalf);
