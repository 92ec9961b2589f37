//! Shares the memory of the process. A stream waits for its share before it receives a message.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::error::{Error, Result};

const KIB: u64 = 1024;
const MIB: u64 = 1024 * KIB;
/// Memory of code, threads, the allocator's overhead and answers of the catalog.
const BASE_BYTES: u64 = 64 * MIB;
/// Number of lists of tables at a time: their memory is a part of the base.
const MAX_LISTS: usize = 4;
/// Memory of a COPY besides its message: chunks in transit, and the buffers of the driver and the socket.
const BYTES_PER_COPY: u64 = 2 * MIB;
/// Copies of a message in memory: the received bytes, the bytes aligned for Arrow, and the columns that are copied.
/// glibc's allocator also keeps about as much freed memory.
const COPIES_OF_A_MESSAGE: u64 = 4;
/// Memory of an empty message.
const BYTES_PER_MESSAGE: u64 = 16 * KIB;
/// Bytes in memory for each byte of a command: a receipt of 8 bytes in protobuf takes 192 in memory.
const COMMAND_GROWTH: u64 = 24;
/// Shorter commands do not wait for memory. Otherwise heartbeats and status calls would wait behind a commit with many
/// receipts.
const SHORT_COMMAND_BYTES: u64 = 4 * KIB;
/// The limits of a window: at least the default of HTTP/2, and at most a size that only matters over a long distance.
/// Throughput is the window divided by the round-trip time, so 4 MiB give 1 GiB/s at 4 ms.
const WINDOW_BYTES: std::ops::RangeInclusive<u64> = 64 * KIB..=4 * MIB;

/// A share of the memory, returned when it is dropped.
pub type Share = OwnedSemaphorePermit;

/// The memory of the process, divided by use.
///
/// A holder of decompressed memory never waits for memory of messages, so there is no deadlock. A stream holds memory
/// for its dictionaries until its end, and no stream waits for it. Control calls have their own memory: they return the
/// share for their bytes before they wait for the share of the parsed command.
#[derive(Debug, Clone)]
pub struct Budget {
    messages: Part,
    decompressed: Part,
    dictionaries: Part,
    control: Part,
    commands: Part,
    lists: Arc<Semaphore>,
    window_bytes: u64,
}

#[derive(Debug, Clone)]
struct Part {
    free: Arc<Semaphore>,
    byte_count: u64,
}

/// The limits that the memory must suffice for.
#[derive(Debug, Clone, Copy)]
pub struct BudgetConfig {
    /// Limit of the memory of the process, in bytes.
    pub memory_limit: u64,
    /// Largest gRPC message that the server accepts, in bytes.
    pub max_message_bytes: u64,
    /// Largest number of COPYs at a time.
    pub max_copies: u64,
    /// Largest number of client connections at a time. Each may have a window of bytes that the server has not read.
    pub max_connections: u64,
}

impl Budget {
    /// Divides the memory. Unread bytes of clients get a quarter, control calls a thirty-second, and their parsed
    /// commands as much. The base and the COPYs take a fixed part. Of the rest, messages get five eighths,
    /// decompression two eighths, and dictionaries one eighth.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidCommand`](crate::error::ErrorKind::InvalidCommand) when a message of the largest size does
    /// not fit.
    pub fn new(config: &BudgetConfig) -> Result<Self> {
        let limit = config.memory_limit;
        let fixed = BASE_BYTES + config.max_copies.saturating_mul(BYTES_PER_COPY);
        let rest = (limit - limit / 4 - limit / 16).saturating_sub(fixed);
        let needed = message_weight(config.max_message_bytes);
        let messages = rest / 8 * 5;
        if messages < needed {
            let least = (needed / 5 * 8 + fixed) / 11 * 16;
            return Err(Error::invalid_command(format!(
                "--memory-limit is too small for --max-message-size and --max-copies: {} MiB would do",
                least.div_ceil(MIB) + 1
            )));
        }
        let windows = limit / 4 / config.max_connections.max(1);
        Ok(Self {
            messages: Part::new(messages),
            decompressed: Part::new(rest / 4),
            dictionaries: Part::new(rest / 8),
            control: Part::new(limit / 32),
            commands: Part::new(limit / 32),
            lists: Arc::new(Semaphore::new(MAX_LISTS)),
            window_bytes: windows.clamp(*WINDOW_BYTES.start(), *WINDOW_BYTES.end()),
        })
    }

    /// Waits for the memory of a message of `byte_count` bytes, until its rows are in PostgreSQL.
    pub async fn message(&self, byte_count: u64) -> Option<Share> {
        self.messages.acquire(message_weight(byte_count)).await
    }

    /// Waits for the memory of a decompressed batch, or of its converted values.
    pub async fn decompressed(&self, byte_count: u64) -> Option<Share> {
        self.decompressed.acquire(byte_count).await
    }

    /// Takes memory for the converted values of a batch, without waiting, for a stream that holds memory for
    /// decompression.
    ///
    /// # Errors
    /// [`ErrorKind::Unavailable`](crate::error::ErrorKind::Unavailable) when not enough is free. Streams that hold some
    /// and wait for more could deadlock.
    pub fn decompressed_too(&self, byte_count: u64) -> Result<Share> {
        self.decompressed.try_acquire(byte_count).ok_or_else(|| {
            Error::unavailable("the memory for decompressed rows is full").with_hint(
                "try again later, raise --memory-limit, or send such columns uncompressed",
            )
        })
    }

    /// Takes the memory of a dictionary, without waiting, until the stream ends.
    ///
    /// # Errors
    /// [`ErrorKind::Unavailable`](crate::error::ErrorKind::Unavailable) when not enough is free. Streams that hold some
    /// and wait for more could deadlock.
    pub fn dictionary(&self, byte_count: u64) -> Result<Share> {
        self.dictionaries.try_acquire(byte_count).ok_or_else(|| {
            Error::unavailable("the memory for dictionaries is full").with_hint(
                "try again later, raise --memory-limit, or send such columns as plain values",
            )
        })
    }

    /// Waits for the memory of a call without rows. Only such calls share this part.
    pub async fn control(&self, byte_count: u64) -> Option<Share> {
        self.control.acquire(byte_count).await
    }

    /// Waits for the memory of a parsed command of `byte_count` bytes. Short commands take none.
    pub async fn command(&self, byte_count: u64) -> Option<Share> {
        if byte_count <= SHORT_COMMAND_BYTES {
            return None;
        }
        let memory = byte_count.saturating_mul(COMMAND_GROWTH);
        self.commands.acquire(memory).await
    }

    /// Waits for the memory of a list of tables, until it is sent.
    pub async fn list(&self) -> Option<Share> {
        Arc::clone(&self.lists).acquire_owned().await.ok()
    }

    /// Returns the largest size of a decompressed batch, in bytes.
    pub fn max_decompressed_bytes(&self) -> u64 {
        self.decompressed.byte_count
    }

    /// Returns the memory for the dictionaries of all streams, in bytes.
    pub fn max_dictionary_bytes(&self) -> u64 {
        self.dictionaries.byte_count
    }

    /// Returns the name, the used bytes and all bytes of each part.
    pub fn usage(&self) -> [(&'static str, u64, u64); 5] {
        [
            ("messages", &self.messages),
            ("decompressed", &self.decompressed),
            ("dictionaries", &self.dictionaries),
            ("control", &self.control),
            ("commands", &self.commands),
        ]
        .map(|(name, part)| (name, part.used(), part.byte_count))
    }

    /// Returns the number of bytes that a client may send on a connection before the server reads them.
    pub fn window_bytes(&self) -> u64 {
        self.window_bytes
    }
}

impl Part {
    fn new(byte_count: u64) -> Self {
        let permits = usize::try_from(byte_count / KIB).unwrap_or(usize::MAX);
        Self {
            free: Arc::new(Semaphore::new(permits.min(Semaphore::MAX_PERMITS))),
            byte_count,
        }
    }

    /// Waits for a share, first come, first served. A request that exceeds the part gets all of it. Never returns
    /// `None`, since the semaphore is never closed.
    async fn acquire(&self, byte_count: u64) -> Option<Share> {
        let permits = self.permits(byte_count);
        Arc::clone(&self.free)
            .acquire_many_owned(permits)
            .await
            .ok()
    }

    /// Takes a share if it is free.
    fn try_acquire(&self, byte_count: u64) -> Option<Share> {
        let permits = self.permits(byte_count);
        Arc::clone(&self.free).try_acquire_many_owned(permits).ok()
    }

    fn used(&self) -> u64 {
        let free = u64::try_from(self.free.available_permits()).unwrap_or(u64::MAX);
        (self.byte_count / KIB).saturating_sub(free) * KIB
    }

    fn permits(&self, byte_count: u64) -> u32 {
        u32::try_from(byte_count.min(self.byte_count) / KIB).unwrap_or(u32::MAX)
    }
}

fn message_weight(byte_count: u64) -> u64 {
    byte_count
        .saturating_mul(COPIES_OF_A_MESSAGE)
        .saturating_add(BYTES_PER_MESSAGE)
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::{Budget, BudgetConfig, MIB};

    const CONFIG: BudgetConfig = BudgetConfig {
        memory_limit: 1024 * MIB,
        max_message_bytes: 64 * MIB,
        max_copies: 16,
        max_connections: 512,
    };

    #[test]
    fn a_memory_limit_too_small_for_a_message_names_one_that_fits() {
        let with = |memory_limit| {
            Budget::new(&BudgetConfig {
                memory_limit,
                ..CONFIG
            })
        };
        for least in [256, 512] {
            let refusal = with(least * MIB).unwrap_err().to_string();
            let would_do: u64 = refusal
                .split(' ')
                .find_map(|word| word.parse().ok())
                .unwrap();
            assert!(with(would_do * MIB).is_ok(), "{refusal}");
            assert!(with((would_do - 8) * MIB).is_err(), "{refusal}");
        }
    }

    #[test]
    fn control_calls_never_wait_for_messages() {
        let budget = Budget::new(&CONFIG).unwrap();
        let mut held = Vec::new();
        while let Some(share) = budget.message(64 * MIB).now_or_never() {
            held.push(share.unwrap());
        }
        assert_eq!(held.len(), 1, "64 MiB four times over, into 380 MiB");
        assert!(budget.control(MIB).now_or_never().is_some());
        let large = budget.command(64 * MIB).now_or_never();
        assert!(large.is_some());
        assert!(budget.command(MIB).now_or_never().is_none());
        assert!(budget.command(1024).now_or_never().is_some(), "a heartbeat");
        drop(large);
        assert!(budget.command(MIB).now_or_never().is_some());
        assert!(budget.decompressed(MIB).now_or_never().is_some());
        held.pop();
        assert!(budget.message(64 * MIB).now_or_never().is_some());
    }
}
