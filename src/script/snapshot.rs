//! Copies of closures for branches that run side by side.

use rhai::{Array, Dynamic, FnPtr, Map};

/// Returns a closure whose captured values are copies, so that it shares no variable with the script it came from.
pub fn snapshot(closure: &FnPtr) -> FnPtr {
    let mut copy = closure.clone();
    copy.set_curry(closure.iter_curry().map(detach));
    copy
}

fn detach(value: &Dynamic) -> Dynamic {
    let value = value.flatten_clone();
    if let Ok(items) = value.as_array_ref() {
        return Dynamic::from_array(items.iter().map(detach).collect::<Array>());
    }
    if let Ok(entries) = value.as_map_ref() {
        return Dynamic::from_map(entries.iter().map(|(key, value)| (key.clone(), detach(value))).collect::<Map>());
    }
    let closure = value.read_lock::<FnPtr>().map(|closure| snapshot(&closure));
    closure.map_or(value, Dynamic::from)
}
