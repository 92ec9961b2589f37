//! What Linux knows of this process, under the names that all client libraries of Prometheus use ("Writing client
//! libraries", "Process metrics").

use std::fmt;

use procfs::process::{LimitValue, Process};
use procfs::{ProcResult, WithCurrentSystemInfo};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;

use super::history::to_f64;
use super::registry::Metric;

const CPU_SECONDS: Metric = Metric(
    "process_cpu_seconds_total",
    "CPU time of the process, in seconds",
);
const RESIDENT_MEMORY_BYTES: Metric = Metric(
    "process_resident_memory_bytes",
    "Resident memory of the process, in bytes",
);
const VIRTUAL_MEMORY_BYTES: Metric = Metric(
    "process_virtual_memory_bytes",
    "Virtual memory of the process, in bytes",
);
const OPEN_FDS: Metric = Metric("process_open_fds", "Open file descriptors of the process");
const MAX_FDS: Metric = Metric("process_max_fds", "The limit of open file descriptors");
const START_TIME_SECONDS: Metric = Metric(
    "process_start_time_seconds",
    "Start of the process, in seconds since 1970",
);

/// Reads the figures anew for each scrape, and leaves them out if they cannot be read.
#[derive(Debug)]
pub(super) struct ProcessCollector;

impl Collector for ProcessCollector {
    fn encode(&self, mut encoder: DescriptorEncoder) -> fmt::Result {
        let Ok(figures) = Figures::read() else {
            return Ok(());
        };
        let Figures {
            cpu_seconds,
            resident_bytes,
            virtual_bytes,
            open_files,
            max_files,
            start_seconds,
        } = figures;
        let gauges = [
            (RESIDENT_MEMORY_BYTES, resident_bytes),
            (VIRTUAL_MEMORY_BYTES, virtual_bytes),
            (OPEN_FDS, open_files),
            (MAX_FDS, max_files),
            (START_TIME_SECONDS, start_seconds),
        ];
        for (metric, value) in gauges {
            add(&mut encoder, metric, &ConstGauge::new(value))?;
        }
        add(&mut encoder, CPU_SECONDS, &ConstCounter::new(cpu_seconds))
    }
}

fn add(
    encoder: &mut DescriptorEncoder,
    Metric(name, help): Metric,
    value: &dyn EncodeMetric,
) -> fmt::Result {
    let name = name.trim_end_matches("_total");
    let kind = value.metric_type();
    value.encode(encoder.encode_descriptor(name, &format!("{help}."), None, kind)?)
}

struct Figures {
    cpu_seconds: f64,
    resident_bytes: f64,
    virtual_bytes: f64,
    open_files: f64,
    max_files: f64,
    start_seconds: f64,
}

impl Figures {
    fn read() -> ProcResult<Self> {
        let process = Process::myself()?;
        let stat = process.stat()?;
        let seconds = |ticks| to_f64(ticks) / to_f64(procfs::ticks_per_second());
        let max_files = match process.limits()?.max_open_files.soft_limit {
            LimitValue::Value(limit) => to_f64(limit),
            LimitValue::Unlimited => f64::INFINITY,
        };
        Ok(Self {
            cpu_seconds: seconds(stat.utime.saturating_add(stat.stime)),
            resident_bytes: to_f64(stat.rss_bytes().get()),
            virtual_bytes: to_f64(stat.vsize),
            open_files: u32::try_from(process.fd_count()?).map_or(f64::NAN, f64::from),
            max_files,
            start_seconds: to_f64(procfs::boot_time_secs()?) + seconds(stat.starttime),
        })
    }
}
