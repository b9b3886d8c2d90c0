//! Plans: shown, saved, carried out and kept to.

mod file;
mod shown;
