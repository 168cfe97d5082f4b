//! System calls the standard library does not offer. `process` and `net` serve
//! the guest agent, `mount` the supervisor.
