//! Room `okg`.
