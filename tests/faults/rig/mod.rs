//! The rig: servers and PostgreSQL behind proxies, a job that writes through them, and an oracle of what must hold.

pub mod job;
pub mod oracle;
pub mod proxy;
pub mod world;
