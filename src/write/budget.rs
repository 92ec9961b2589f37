//! How the memory of the process is shared: streams wait for their part before they take a message.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::error::{Error, Result};

const KIB: u64 = 1024;
const MIB: u64 = 1024 * KIB;
/// Code, threads, the allocator's slack, the catalog's answers.
const BASE_BYTES: u64 = 64 * MIB;
/// What a COPY holds beside its message: chunks on their way, the driver's and the socket's buffers.
const BYTES_PER_COPY: u64 = 2 * MIB;
/// A message is there as it came, again aligned as Arrow needs it, and again in part where a column is
/// copied; and glibc's allocator keeps about as much of what was freed.
const COPIES_OF_A_MESSAGE: u64 = 4;
/// What even an empty message costs.
const BYTES_PER_MESSAGE: u64 = 16 * KIB;
/// Bytes in memory for each byte of a command: a receipt of 8 bytes in protobuf takes 192 in memory.
const COMMAND_GROWTH: u64 = 24;
/// Shorter commands wait for no memory, so that heartbeats and status calls do not wait behind a commit with many
/// receipts.
const SHORT_COMMAND_BYTES: u64 = 4 * KIB;
/// No window is smaller than HTTP/2's own, and more than this only matters far away: throughput is
/// window ÷ round trip, and this fills 1 GiB/s at 4 ms.
const WINDOW_BYTES: std::ops::RangeInclusive<u64> = 64 * KIB..=4 * MIB;

/// A share of the memory, given back when it is dropped.
pub type Share = OwnedSemaphorePermit;

/// The process's memory, by what it is for.
///
/// The kinds are taken in the order of this list: messages of rows, then what they decompress to. A holder
/// of one kind never waits for an earlier kind, so there is no deadlock. Dictionaries are held as long as
/// their stream, and no stream waits for them. Control calls have memory of their own: they return the part
/// for their bytes before they wait for the part of the parsed command.
#[derive(Debug, Clone)]
pub struct Budget {
    messages: Part,
    decompressed: Part,
    dictionaries: Part,
    control: Part,
    commands: Part,
    window_bytes: u64,
}

#[derive(Debug, Clone)]
struct Part {
    free: Arc<Semaphore>,
    byte_count: u64,
}

/// What the memory must suffice for.
#[derive(Debug, Clone, Copy)]
pub struct BudgetConfig {
    /// Bytes of memory that the process may take.
    pub memory_limit: u64,
    /// Largest gRPC message taken, in bytes.
    pub max_message_bytes: u64,
    /// COPYs that run at once.
    pub max_copies: u64,
    /// Connections of clients at once; each may have a window of bytes that the server has not read yet.
    pub max_connections: u64,
}

impl Budget {
    /// Divides the memory: a quarter for what is on its way from the clients, a thirty-second for control
    /// calls and as much for their parsed commands, and of what the copies leave, five eighths for messages, two for
    /// decompression and one for dictionaries.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidCommand`](crate::error::ErrorKind::InvalidCommand) when not even one message
    /// of the largest size would fit.
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
            window_bytes: windows.clamp(*WINDOW_BYTES.start(), *WINDOW_BYTES.end()),
        })
    }

    /// Waits for what a message of rows of so many bytes takes until its rows are with PostgreSQL.
    pub async fn message(&self, byte_count: u64) -> Option<Share> {
        self.messages.acquire(message_weight(byte_count)).await
    }

    /// Waits for what a batch takes once it is decompressed, or for what its rows become when they are written.
    pub async fn decompressed(&self, byte_count: u64) -> Option<Share> {
        self.decompressed.acquire(byte_count).await
    }

    /// Takes what the rows of a batch become, for a stream that holds memory for having decompressed it.
    ///
    /// # Errors
    /// As [`Budget::dictionary`], and for its reason.
    pub fn decompressed_too(&self, byte_count: u64) -> Result<Share> {
        self.decompressed.try_acquire(byte_count).ok_or_else(|| {
            Error::unavailable("the memory for decompressed rows is full").with_hint(
                "try again later, raise --memory-limit, or send such columns uncompressed",
            )
        })
    }

    /// Takes what a dictionary needs for as long as its stream lasts.
    ///
    /// # Errors
    /// [`ErrorKind::Unavailable`](crate::error::ErrorKind::Unavailable) when the streams that run hold
    /// all there is: to wait for it while holding some could be to wait for each other.
    pub fn dictionary(&self, byte_count: u64) -> Result<Share> {
        self.dictionaries.try_acquire(byte_count).ok_or_else(|| {
            Error::unavailable("the memory for dictionaries is full").with_hint(
                "try again later, raise --memory-limit, or send such columns as plain values",
            )
        })
    }

    /// Waits for what a call takes that carries no rows. Only such calls wait for each other here.
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

    /// Bytes that one batch may have once it is decompressed.
    pub fn max_decompressed_bytes(&self) -> u64 {
        self.decompressed.byte_count
    }

    /// Bytes that the dictionaries of all streams may have.
    pub fn max_dictionary_bytes(&self) -> u64 {
        self.dictionaries.byte_count
    }

    /// Each part by its name, the bytes of it that are in use, and those there are.
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

    /// Bytes that a client may have under way on one connection before they are taken.
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

    /// Waits for a share, first come first served. A request for more than there is gets all there is.
    /// Never `None`: the semaphore is never closed.
    async fn acquire(&self, byte_count: u64) -> Option<Share> {
        let permits = self.permits(byte_count);
        Arc::clone(&self.free)
            .acquire_many_owned(permits)
            .await
            .ok()
    }

    /// Takes it if it is free.
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
    fn a_limit_that_no_message_fits_in_is_refused_with_one_that_would_do() {
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
    fn messages_wait_for_each_other_and_control_calls_for_none_of_them() {
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
