//! Arrow batches into PostgreSQL's binary COPY format: pure, no I/O.
