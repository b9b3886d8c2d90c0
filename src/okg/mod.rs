//! OpenKruiseGame's words and rules, without any I/O: names, states, scaling order, reserved ids, update order.
//!
//! Each rule stands in one named place, imitating the controller it is named after, so that the sandbox acts by it
//! and the bindings can say beforehand what a cluster will do:
//!
//! ```
//! use okgscript::okg::scaling::{ScalePod, Strategy, Scaling};
//! let pods = [ScalePod::new(0).ops_state("Allocated"), ScalePod::new(1), ScalePod::new(2).ops_state("WaitToBeDeleted")];
//! let plan = Scaling { pods: &pods, target: 2, ..Scaling::default() }.plan();
//! assert_eq!(plan.dropped, vec![2]);
//! assert_eq!(plan.strategy(Strategy::General).ordinals(2), vec![0, 1]);
//! ```

pub mod game_server;
pub mod game_server_set;
pub mod gitops;
pub mod int_or_string;
pub mod kill;
pub mod names;
pub mod network;
pub mod object;
pub mod ops_state;
pub mod ordinals;
pub mod pod;
pub mod reserve;
pub mod scale_in;
pub mod scaler;
pub mod scaling;
pub mod state;
pub mod updates;
