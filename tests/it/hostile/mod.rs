//! Clients that attack the server: with messages, with commands, with bytes, and all at once.

mod batches;
mod commands;
mod dictionaries;
mod expansion;
mod leftovers;
mod raw;
mod schemas;
mod siege;
pub mod wire;
