//! Faults of PostgreSQL and of the connection to it.

mod away;
mod crash;
mod failover;
mod link;
mod pooler;
