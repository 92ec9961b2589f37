//! Nothing: the benchmarks are beside this file.
