//! `lossless_release.rhai` as a user runs it: on the embedded cluster, by the real binary.

mod adopt;
mod bad_input;
mod block;
mod classic;
mod guards;
mod interrupt;
mod races;
mod selection;
mod waits;
