//! Faults of PostgreSQL and of the way to it.

mod away;
mod crash;
mod failover;
mod link;
mod pooler;
