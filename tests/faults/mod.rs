//! Releases while the cluster fails on request: every run ends right, or with a clear error and a true receipt.

mod course;
mod release;
mod truth;
