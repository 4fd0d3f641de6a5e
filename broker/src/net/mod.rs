//! The one place where sockets are touched: three listeners, connections, frames.
