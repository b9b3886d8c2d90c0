//! The calls in a script's tree, with their literal arguments.
