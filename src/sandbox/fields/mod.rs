//! Who owns which field: managedFields, and server-side apply.

pub mod apply;
pub mod managed;
pub mod set;
