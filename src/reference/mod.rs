//! Room `reference`.
