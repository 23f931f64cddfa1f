//! The service over a socket.
