//! The terminal: one file a command. This room alone prints.

/// Runs the command line and returns the process's exit code.
pub fn run() -> std::process::ExitCode {
    std::process::ExitCode::SUCCESS
}
