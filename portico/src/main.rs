//! Portico's entry: reads the command line and runs what it asks for.

use std::process::ExitCode;

/// A request makes some thirty small allocations and frees them on the core that made them.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    portico::cli::run()
}
