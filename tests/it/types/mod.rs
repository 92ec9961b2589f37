//! Values and types: the written value is the one that PostgreSQL itself would store.

mod conversions;
mod decimals;
mod every_type;
mod faithful;
mod floats;
mod pairs;
mod postgis;
mod random_types;
mod settings;
mod types_page;
mod undecodable;
mod zones;
